"""The launcher's side of a worker server (`worker_server`): sends orders, and reads reports on a thread."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nbfn.hub.launchers import processes, stderr_tail
from nbfn.hub.launchers.base import Exit, Failed, Report, Started, WorkerSpec

#: A report of the server, or None when it has ended.
ServerReport = dict[str, Any] | None


class ServerProcess:
    """One worker server.

    Args:
        executable: The Python of its workers.
        module: What it runs.
        environment: Its variables.
        log: Takes its stderr.
        on_report: Called with each report, by another thread.

    Raises:
        OSError: If it cannot be started.
    """

    def __init__(
        self,
        executable: str,
        module: str,
        environment: Mapping[str, str],
        log: Path,
        on_report: Callable[[ServerProcess, ServerReport], None],
    ) -> None:
        self.executable = executable
        self._module = module
        self._log = log
        self._on_report = on_report
        self._mark = uuid.uuid4().hex
        self._pids: dict[str, int] = {}  # of workers, 0 before they are started
        self._stop_requested: set[str] = set()
        self._unsent = b""
        self._ready = False
        self._socket, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = self._start_process(theirs.fileno(), environment)
        except (OSError, ValueError):
            self._socket.close()
            raise
        threading.Thread(target=self._read, name="nbfn-reports", daemon=True).start()

    def _start_process(
        self, control: int, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        marked = {**environment, processes.MARK: self._mark}
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [self.executable, "-m", self._module, str(control)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**marked, **python_path(self.executable, environment)},
                pass_fds=(control,),
                start_new_session=True,
            )

    def _read(self) -> None:
        with contextlib.suppress(OSError), self._socket.makefile("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):  # else it was killed while it wrote this
                    self._on_report(self, json.loads(line))
        self._on_report(self, None)

    def pid(self, worker: str) -> int:
        """Return the pid of a worker; 0 while it is not known."""
        return self._pids.get(worker, 0)

    def start(self, spec: WorkerSpec) -> None:
        """Tell the server to start a worker."""
        self._pids[spec.worker] = 0
        environment = {**spec.environment, "NBFN_WORKER": spec.worker}
        self._send({
            "do": "start", "worker": spec.worker, "environment": environment, "cwd": spec.cwd or "/",
        })  # fmt: skip

    def stop(self, worker: str, grace: float) -> None:
        """See `Launcher.stop`."""
        self._stop_requested.add(worker)
        self._send({"do": "stop", "worker": worker, "grace": grace})

    def _send(self, order: dict[str, Any]) -> None:
        self._unsent += json.dumps(order).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Send orders that the socket had no room for. Does not block."""
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                sent = len(self._unsent)  # it has ended, which the reading thread reports
            self._unsent = self._unsent[sent:]

    def reports(self, report: dict[str, Any]) -> list[Report]:
        """Convert a report of the server."""
        if "started" in report:
            self._pids[report["started"]] = report["pid"]
            return [Started(report["started"], report["pid"])]
        if "exit" in report:
            self._pids.pop(report["exit"], None)
            pieces = [(n, lease, c, text.encode()) for n, lease, c, text in report.pop("output")]
            return [Exit(report.pop("exit"), **report, output=pieces)]
        if "failed" in report:
            self._pids.pop(report["failed"], None)
            return [Failed(report["failed"], report["reason"])]
        self._ready = True
        return []

    def ended(self) -> list[Report]:
        """Called when the server has ended: kill what its workers started, and return how each worker ended."""
        marks = {processes.MARK: self._mark}
        processes.kill_all(lambda: processes.with_variables(marks))
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        tail = stderr_tail.tail(self._log)
        reports: list[Report] = []
        for worker, pid in self._pids.items():
            if pid or self._ready:
                reports.append(
                    Exit(worker, stderr_tail=tail, ordered=worker in self._stop_requested)
                )
            else:
                why = tail.splitlines()[-1] if tail else f"exit code {self._process.returncode}"
                reports.append(Failed(worker, f"{self.executable} cannot run workers: {why}"))
        self._pids.clear()
        return reports

    def close(self) -> None:
        """Close the connection. The server ends after its last worker."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # ends the reading thread
        self._socket.close()
        if self._process.poll() is None:
            self._process.returncode = 0  # this process will not wait for it
        else:
            self._log.unlink(missing_ok=True)


def python_path(executable: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the PYTHONPATH by which another Python finds a development install of nbfn."""
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
