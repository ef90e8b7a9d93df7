"""A worker that is not a fork of our fork server: a subprocess, or one taken over from an earlier hub process.

It starts in half a second instead of ten milliseconds, and nobody knows which lease it ran when it died.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from nbfn.hub.launchers import procfs
from nbfn.hub.launchers.base import Exit, Report, WorkerSpec

#: Marks all that descends from one plain worker. Not the worker's id: who chose that may have
#: chosen the same for a worker of another hub.
MARK = "NBFN_PLAIN"


class Plain:
    """A worker without a fork server of ours: a subprocess, or one taken over from an earlier hub process."""

    def __init__(
        self,
        worker: str,
        descriptor: int,
        pid: int,
        process: subprocess.Popen[bytes] | None = None,
        mark: str = "",
    ) -> None:
        self.worker = worker
        self.descriptor = descriptor
        self._pid = pid
        self._process = process
        self._mark = mark
        self._ordered = False
        self._kill_at = float("inf")

    @classmethod
    def start(cls, spec: WorkerSpec, environment: Mapping[str, str]) -> Plain:
        """Start a worker as `Launcher.submit` does."""
        mark = uuid.uuid4().hex
        process = subprocess.Popen(
            spec.argv or (spec.executable, "-P", "-m", "nbfn_kernel"),
            stdin=subprocess.DEVNULL,
            cwd=spec.cwd if spec.cwd and Path(spec.cwd).is_dir() else "/",
            env={
                **environment,
                **python_path(spec.executable, environment),
                **spec.environment,
                "NBFN_WORKER": spec.worker,
                MARK: mark,
            },
            start_new_session=True,
        )
        return cls(spec.worker, os.pidfd_open(process.pid), process.pid, process, mark)

    def pid(self, _worker: str) -> int:
        """Return its pid."""
        return self._pid

    def stop(self, _worker: str, grace: float) -> None:
        """See `Launcher.stop`."""
        self._ordered = True
        self._kill_at = min(self._kill_at, time.monotonic() + grace)
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.descriptor, signal.SIGTERM)

    def look_at_clock(self, now: float) -> None:
        """Kill it when its grace is over."""
        if now >= self._kill_at:
            self._kill_at = float("inf")
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)

    def handle(self, reports: list[Report]) -> bool:
        """The process has ended."""
        code, memory = None, None
        if self._process is not None:
            _, status, usage = os.wait4(self._pid, 0)
            code = self._process.returncode = os.waitstatus_to_exitcode(status)
            memory = usage.ru_maxrss * 1024
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
            procfs.kill_marked(MARK, self._mark)
        reports.append(
            Exit(
                self.worker,
                exit_code=code if code is not None and code >= 0 else None,
                signal=-code if code is not None and code < 0 else None,
                memory_peak=memory,
                ordered=self._ordered,
            )
        )
        return True

    def close(self) -> None:
        """Let go of it; it lives on."""
        os.close(self.descriptor)
        if self._process is not None and self._process.returncode is None:
            self._process.returncode = 0  # it lives on; nobody here will wait for it


def python_path(executable: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Let another Python find a development install of nbfn; an installed one it must have itself."""
    if executable == sys.executable:
        return {}
    found = []
    for name in ("nbfn", "nbfn_kernel"):
        spec = importlib.util.find_spec(name)
        where = Path(spec.origin).parent.parent if spec is not None and spec.origin else None
        if where is not None and where.name not in {"site-packages", "dist-packages"}:
            found.append(str(where))
    if given := environment.get("PYTHONPATH"):
        found.append(given)
    return {"PYTHONPATH": os.pathsep.join(found)} if found else {}
