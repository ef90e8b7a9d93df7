"""A worker server (`worker_server`), seen from the launcher: sends it orders, and reads its reports on a thread."""

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
Said = dict[str, Any] | None


class ServerProcess:
    """One worker server.

    Args:
        executable: The Python of its workers.
        module: What it runs.
        environment: Its variables.
        log: Takes its stderr.
        heard: Called with each report, by another thread.

    Raises:
        OSError: If it cannot be started.
    """

    def __init__(
        self,
        executable: str,
        module: str,
        environment: Mapping[str, str],
        log: Path,
        heard: Callable[[ServerProcess, Said], None],
    ) -> None:
        self.executable = executable
        self._module = module
        self._log = log
        self._heard = heard
        self._mark = uuid.uuid4().hex
        self._pids: dict[str, int] = {}  # of workers, 0 before they are started
        self._ordered: set[str] = set()
        self._output = b""
        self._ready = False
        self._socket, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = self._started(theirs.fileno(), environment)
        except (OSError, ValueError):
            self._socket.close()
            raise
        threading.Thread(target=self._read, name="nbfn-reports", daemon=True).start()

    def _started(self, control: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
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
                if line.endswith(b"\n"):  # else it was killed meanwhile
                    self._heard(self, json.loads(line))
        self._heard(self, None)

    def pid(self, worker: str) -> int:
        """Return the pid of a worker; 0 while it is not known."""
        return self._pids.get(worker, 0)

    def start(self, spec: WorkerSpec) -> None:
        """Order a worker."""
        self._pids[spec.worker] = 0
        environment = {**spec.environment, "NBFN_WORKER": spec.worker}
        self._send({
            "do": "start", "worker": spec.worker, "environment": environment, "cwd": spec.cwd or "/",
        })  # fmt: skip

    def stop(self, worker: str, grace: float) -> None:
        """See `Launcher.stop`."""
        self._ordered.add(worker)
        self._send({"do": "stop", "worker": worker, "grace": grace})

    def _send(self, order: dict[str, Any]) -> None:
        self._output += json.dumps(order).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Send what the server had no room for; does not block."""
        while self._output:
            try:
                sent = self._socket.send(self._output, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                sent = len(self._output)  # it is gone; its end of file tells the rest
            self._output = self._output[sent:]

    def reports(self, said: dict[str, Any]) -> list[Report]:
        """Return what a report of the server means."""
        if "started" in said:
            self._pids[said["started"]] = said["pid"]
            return [Started(said["started"], said["pid"])]
        if "exit" in said:
            self._pids.pop(said["exit"], None)
            pieces = [(n, lease, c, text.encode()) for n, lease, c, text in said.pop("output")]
            return [Exit(said.pop("exit"), **said, output=pieces)]
        if "failed" in said:
            self._pids.pop(said["failed"], None)
            return [Failed(said["failed"], said["reason"])]
        self._ready = True
        return []

    def ended(self) -> list[Report]:
        """Kill what its workers had started, and return how each worker ended; for when the server has ended."""
        marks = {processes.MARK: self._mark}
        processes.kill_all(lambda: processes.with_variables(marks))
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        tail = stderr_tail.tail(self._log)
        reports: list[Report] = []
        for worker, pid in self._pids.items():
            if pid or self._ready:
                reports.append(Exit(worker, stderr_tail=tail, ordered=worker in self._ordered))
            else:
                why = tail.splitlines()[-1] if tail else f"exit code {self._process.returncode}"
                reports.append(Failed(worker, f"{self.executable} cannot run workers: {why}"))
        self._pids.clear()
        return reports

    def close(self) -> None:
        """Let go of it; it lives on with its workers, and ends after the last of them."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # the thread that reads it ends
        self._socket.close()
        if self._process.poll() is None:
            self._process.returncode = 0  # nobody here will wait for it
        else:
            self._log.unlink(missing_ok=True)


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
