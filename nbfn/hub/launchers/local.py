"""Workers on this machine, started by one server process for each Python.

The server is a fork server where forking is safe, which is on Linux. Elsewhere, and where the setting `launcher` asks
for it, it starts each worker as a subprocess.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from nbfn.config import FORKSERVER, SUBPROCESS, Places, Settings
from nbfn.hub.launchers import processes, procfs, stderr_tail
from nbfn.hub.launchers.base import Capacity, Exit, Failed, Ref, Report, Started, WorkerSpec
from nbfn.protocol.transport import Wakeup

#: The module that a server runs, by the setting `launcher`, with which the name of its log begins.
MODULES = {
    FORKSERVER: "nbfn.hub.launchers.forkserver",
    SUBPROCESS: "nbfn.hub.launchers.subprocess_server",
}
#: Logs of workers and servers that did not end well are kept; the oldest above this number go.
MAX_LOGS = 100
#: Number of such ends after which `_prune` runs again.
COUNT_LOGS_AFTER = 20

_log = logging.getLogger("nbfn.hub")


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
    specs = [importlib.util.find_spec(name) for name in ("nbfn", "nbfn_kernel")]
    places = [Path(spec.origin).parent.parent for spec in specs if spec and spec.origin]
    installed = {"site-packages", "dist-packages"}
    found = [str(place) for place in places if place.name not in installed]
    if given := environment.get("PYTHONPATH"):
        found.append(given)
    return {"PYTHONPATH": os.pathsep.join(found)} if found else {}


class AdoptedWorker:
    """Watches and ends one such worker.

    Args:
        worker: Its id.
        pid: Its process.
        on_end: Called by another thread when it has ended.

    Raises:
        psutil.Error: If there is no such process.
    """

    def __init__(self, worker: str, pid: int, on_end: Callable[[AdoptedWorker], None]) -> None:
        self._worker = worker
        self._process = psutil.Process(
            pid
        )  # compares start times, so a reused pid is not mistaken for it
        self._stop_requested = False
        self._kill_at = float("inf")
        self._on_end = on_end
        threading.Thread(target=self._wait, name="nbfn-adopted", daemon=True).start()

    def _wait(self) -> None:
        with contextlib.suppress(psutil.Error):
            self._process.wait()
        self._on_end(self)

    def pid(self, _worker: str) -> int:
        """Return its pid."""
        return int(self._process.pid)

    def stop(self, _worker: str, grace: float) -> None:
        """See `Launcher.stop`."""
        self._stop_requested = True
        self._kill_at = min(self._kill_at, time.monotonic() + grace)
        with contextlib.suppress(psutil.Error):
            self._process.terminate()

    def kill_if_overdue(self, now: float) -> None:
        """Kill it when its grace period is over."""
        if now >= self._kill_at:
            self._kill_at = float("inf")
            with contextlib.suppress(psutil.Error):
                self._process.kill()

    def report(self) -> Exit:
        """Return what is known of its end."""
        return Exit(self._worker, ordered=self._stop_requested)


class LocalLauncher:
    """Starts workers on this machine.

    Args:
        places: Of the hub.
        settings: Of the hub.
        hub_endpoint: What workers connect to.
    """

    def __init__(self, places: Places, settings: Settings, hub_endpoint: str) -> None:
        self._places = places
        self._endpoint = hub_endpoint
        self._kind = settings.worker_launcher
        self._servers: dict[str, ServerProcess] = {}  # by executable
        self._holders: dict[str, ServerProcess | AdoptedWorker] = {}  # by worker
        self._reports: list[Report] = []
        self._failed_workers = 0  # since the last `_prune`
        # Filled by the threads that read reports and wait for adopted workers.
        self._events: queue.SimpleQueue[tuple[ServerProcess, ServerReport] | AdoptedWorker]
        self._events = queue.SimpleQueue()
        self._wakeup = Wakeup()
        if self._kind == SUBPROCESS and not procfs.exists():
            _log.info("memory that workers share with their children does not count towards limits")
        ours = _processes_of(places)
        _prune(places, ours, at_start=True)
        _kill_leftovers(ours)

    def submit(self, spec: WorkerSpec) -> Ref:
        """See `Launcher.submit`."""
        if spec.worker in self._holders:
            return Ref(spec.worker, self._holders[spec.worker].pid(spec.worker))
        try:
            server = self._server(spec.executable)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            reason = f"{spec.executable!r} cannot be started: {why}."
            self._reports.append(Failed(spec.worker, reason))
            self._wakeup.set()
        else:
            self._holders[spec.worker] = server
            server.start(spec)
        return Ref(spec.worker)

    def ready(self, executable: str) -> None:
        """See `Launcher.ready`."""
        with contextlib.suppress(OSError, ValueError):  # the first submit will say so
            self._server(executable)

    def _note_end(self, report: Report) -> None:
        if isinstance(report, Exit | Failed):
            self._holders.pop(report.worker, None)
        if isinstance(report, Exit) and not report.ordered and report.exit_code != 0:
            self._failed_workers += 1

    def poll(self) -> list[Report]:
        """See `Launcher.poll`; also does what is due, so call it at least once a second."""
        self._wakeup.clear()
        with contextlib.suppress(queue.Empty):
            while True:
                self._handle(self._events.get_nowait())
        now = time.monotonic()
        for server in self._servers.values():
            server.flush()
        for source in self._holders.values():
            if isinstance(source, AdoptedWorker):
                source.kill_if_overdue(now)
        for report in (reports := self._reports):
            self._note_end(report)
        if self._failed_workers >= COUNT_LOGS_AFTER:
            self._failed_workers = 0
            _prune(self._places, _processes_of(self._places))
        self._reports = []
        return reports

    def _handle(self, event: tuple[ServerProcess, ServerReport] | AdoptedWorker) -> None:
        if isinstance(event, AdoptedWorker):
            self._reports.append(event.report())
            return
        server, report = event
        if report is not None:
            self._reports += server.reports(report)
            return
        self._reports += server.ended()
        server.close()
        if self._servers.get(server.executable) is server:
            del self._servers[server.executable]

    def stop(self, ref: Ref, grace: float) -> None:
        """See `Launcher.stop`; a worker that is gone is none to stop."""
        source = self._holders.get(ref.worker)
        if source is None and ref.pid:
            source = self._adopt(ref)
        if source is not None:
            source.stop(ref.worker, grace)

    def list(self) -> Sequence[Ref]:
        """See `Launcher.list`."""
        for ref in _find_workers(self._places):
            if ref.worker not in self._holders:
                self._adopt(ref)
        return [Ref(worker, source.pid(worker)) for worker, source in self._holders.items()]

    def capacity(self) -> Capacity:
        """See `Launcher.capacity`; cores and memory as cgroups and affinity allow."""
        from loky import cpu_count  # slow to import, and needed once

        return Capacity(cpu=float(cpu_count()), memory=machine_memory(), gpus=machine_gpus())

    def sources(self) -> Sequence[int]:
        """See `Launcher.sources`."""
        return [self._wakeup.fileno()]

    def close(self) -> None:
        """See `Launcher.close`."""
        for server in self._servers.values():
            server.close()
        self._holders.clear()
        self._servers.clear()

    def _server(self, executable: str) -> ServerProcess:
        server = self._servers.get(executable)
        if server is None:
            log = self._places.logs / f"{self._kind}-{uuid.uuid4().hex[:8]}.log"
            environment = os.environ | {
                "NBFN_HOME": str(self._places.home),
                "NBFN_HUB": self._endpoint,
            }
            server = ServerProcess(
                executable, MODULES[self._kind], environment, log, self._on_report
            )
            self._servers[executable] = server
        return server

    def _on_report(self, server: ServerProcess, report: ServerReport) -> None:
        self._events.put((server, report))
        self._wakeup.set()

    def _on_adopted_end(self, worker: AdoptedWorker) -> None:
        self._events.put(worker)
        self._wakeup.set()

    def _adopt(self, ref: Ref) -> AdoptedWorker | None:
        """Watch a worker that an earlier hub's server started."""
        try:
            worker = AdoptedWorker(ref.worker, ref.pid, self._on_adopted_end)
        except psutil.Error:
            return None
        self._holders[ref.worker] = worker
        return worker


def _processes_of(places: Places) -> set[int]:
    """Return servers and workers of this home, with all that they started; none where no server has a log."""
    if not any(path for kind in MODULES for path in places.logs.glob(f"{kind}-*.log")):
        return set()
    return processes.with_variables({"NBFN_HOME": str(places.home)})


def _logs_in_use(places: Places, ours: set[int]) -> dict[int, Path]:
    """Return the processes whose standard error is a log of this home, with these logs."""
    found = {pid: processes.stderr_of(pid) for pid in ours}
    return {pid: log for pid, log in found.items() if log.parent == places.logs.resolve()}


def _is_of_server(log: Path) -> bool:
    return log.suffix == ".log" and log.name.partition("-")[0] in MODULES


def _find_workers(places: Places) -> list[Ref]:
    """Find the workers of this home: children of a server that write to a worker's log."""
    logs = _logs_in_use(places, _processes_of(places))
    found = []
    for pid, log in logs.items():
        above = processes.parents(pid)
        if log.suffix == ".err" and above and _is_of_server(logs.get(above[0], Path())):
            found.append(Ref(log.stem, pid))
    return found


def _kill_leftovers(ours: set[int]) -> None:
    """Kill what workers of this home started, for when hub and server were killed at the same time."""
    for pid in ours - {os.getpid()}:
        family = [pid, *processes.parents(pid)]
        if processes.is_marked(pid) and not any(
            _is_of_server(processes.stderr_of(one)) for one in family
        ):
            processes.kill(pid)


def _prune(places: Places, ours: set[int], *, at_start: bool = False) -> None:
    """Delete the oldest logs of processes that have ended, and at the start of a hub empty logs of servers."""
    used = {log.stem for log in _logs_in_use(places, ours).values()}
    patterns = ("wk-*.*", *(f"{kind}-*.log" for kind in MODULES))
    with contextlib.suppress(OSError):
        found = [path for pattern in patterns for path in places.logs.glob(pattern)]
        ended = [path for path in found if path.stem not in used]
        ended.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        empty = {path for path in ended if path.suffix == ".log" and not path.stat().st_size}
        kept = [path for path in ended if not (at_start and path in empty)]
        for path in {*ended} - {*kept[:MAX_LOGS]}:
            path.unlink(missing_ok=True)


# --- what this machine has -----------------------------------------------------------------------

#: Where control groups say how much memory there may be; version 2, then 1.
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def machine_memory() -> int:
    """Return the bytes of memory that processes here may have together."""
    total = int(psutil.virtual_memory().total)
    for path in _MEMORY_LIMITS:
        try:
            said = Path(path).read_text().strip()
        except OSError:
            continue
        if said.isdigit():
            total = min(total, int(said))
    return total


def machine_gpus(devices: Path = Path("/dev")) -> tuple[str, ...]:
    """Return what each GPU is called in CUDA_VISIBLE_DEVICES; that variable may have hidden some."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = (name.strip() for name in visible.split(","))
        return tuple(itertools.takewhile(lambda name: name not in {"", "-1"}, names))
    numbers = (path.name.removeprefix("nvidia") for path in devices.glob("nvidia*"))
    return tuple(sorted((number for number in numbers if number.isdecimal()), key=int))
