"""Workers on this machine: forks of one fork server per Python environment.

Where there is no `fork`, and for a `WorkerSpec` with its own command line, a worker is a plain subprocess (`plain`).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from nbfn.config import Places, Settings
from nbfn.hub.launchers import host_resources, procfs
from nbfn.hub.launchers.base import Capacity, Exit, Failed, Ref, Report, Started, WorkerSpec
from nbfn.hub.launchers.subprocess_worker import Plain, python_path

#: Logs of workers and fork servers that did not end well are kept; the oldest above this number go.
MAX_LOGS = 100
#: Such ends after which the logs are counted again.
COUNT_LOGS_AFTER = 20
#: Marks all that descends from one fork server, so that it can be found when the server is gone.
MARK = "NBFN_FORKSERVER"

_Source = TypeVar("_Source", "_Server", "Plain")


class LocalLauncher:
    """Starts workers on this machine.

    Args:
        places: Of the hub.
        settings: Of the hub.
        hub_endpoint: What workers connect to.
    """

    def __init__(self, places: Places, settings: Settings, hub_endpoint: str) -> None:
        self._places = places
        self._settings = settings
        self._endpoint = hub_endpoint
        self._epoll = select.epoll()
        self._servers: dict[str, _Server] = {}  # by executable
        self._by_descriptor: dict[int, _Server | Plain] = {}
        self._where: dict[str, _Server | Plain] = {}  # by worker
        self._reports: list[Report] = []
        self._ill = 0  # workers that did not end well, since their logs were counted
        _prune(places.logs, begun=True)
        _kill_leftovers(places.home)

    def submit(self, spec: WorkerSpec) -> Ref:
        """See `Launcher.submit`."""
        if spec.worker in self._where:
            return Ref(spec.worker, self._where[spec.worker].pid(spec.worker))
        try:
            if spec.argv or not hasattr(os, "fork"):
                self._where[spec.worker] = self._watch(Plain.start(spec, self._environment()))
                self._reports.append(
                    Started(spec.worker, self._where[spec.worker].pid(spec.worker))
                )
            else:
                server = self._server(spec.executable)
                self._where[spec.worker] = server
                server.start(spec)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            reason = f"{spec.executable!r} cannot be started: {why}."
            self._reports.append(Failed(spec.worker, reason))
            self._where.pop(spec.worker, None)
        return Ref(spec.worker)

    def ready(self, executable: str) -> None:
        """See `Launcher.ready`."""
        with contextlib.suppress(OSError, ValueError):  # the first submit will say so
            self._server(executable)

    def poll(self) -> list[Report]:
        """See `Launcher.poll`; also does what is due, so call it at least once a second."""
        for descriptor, _ in self._epoll.poll(0):
            source = self._by_descriptor.get(descriptor)
            if source is not None and source.handle(self._reports):
                self._unwatch(descriptor, source)
        for source in self._where.values():
            if isinstance(source, Plain):
                source.look_at_clock(time.monotonic())
        for report in (reports := self._reports):
            if isinstance(report, Exit | Failed):
                self._where.pop(report.worker, None)
                self._ill += (
                    isinstance(report, Exit) and not report.ordered and report.exit_code != 0
                )
        if self._ill >= COUNT_LOGS_AFTER:
            self._ill = 0
            _prune(self._places.logs)
        self._reports = []
        return reports

    def stop(self, ref: Ref, grace: float) -> None:
        """See `Launcher.stop`; a worker that is gone is none to stop."""
        source = self._where.get(ref.worker)
        if source is None and ref.pid:
            source = self._adopt(ref)
        if source is not None:
            source.stop(ref.worker, grace)

    def list(self) -> Sequence[Ref]:
        """See `Launcher.list`."""
        for ref in _find_workers(self._places.logs):
            if ref.worker not in self._where:
                self._adopt(ref)
        return [Ref(worker, source.pid(worker)) for worker, source in self._where.items()]

    def capacity(self) -> Capacity:
        """See `Launcher.capacity`; cores and memory as cgroups and affinity allow."""
        from loky import cpu_count  # slow to import, and needed once

        return Capacity(
            cpu=float(cpu_count()), memory=host_resources.memory(), gpus=host_resources.gpus()
        )

    def sources(self) -> Sequence[int]:
        """See `Launcher.sources`: one epoll descriptor that stands for all."""
        return [self._epoll.fileno()]

    def close(self) -> None:
        """See `Launcher.close`."""
        for source in set(self._by_descriptor.values()):
            source.close()
        self._by_descriptor.clear()
        self._where.clear()
        self._servers.clear()
        self._epoll.close()

    def _environment(self) -> dict[str, str]:
        return os.environ | {"NBFN_HOME": str(self._places.home), "NBFN_HUB": self._endpoint}

    def _server(self, executable: str) -> _Server:
        server = self._servers.get(executable)
        if server is None:
            log = self._places.logs / f"forkserver-{uuid.uuid4().hex[:8]}.log"
            server = _Server(executable, self._environment(), log, self._epoll)
            self._servers[executable] = self._watch(server)
        return server

    def _watch(self, source: _Source) -> _Source:
        self._by_descriptor[source.descriptor] = source
        self._epoll.register(source.descriptor, select.EPOLLIN)
        return source

    def _unwatch(self, descriptor: int, source: _Server | Plain) -> None:
        with contextlib.suppress(OSError):
            self._epoll.unregister(descriptor)
        del self._by_descriptor[descriptor]
        source.close()
        if isinstance(source, _Server) and self._servers.get(source.executable) is source:
            del self._servers[source.executable]

    def _adopt(self, ref: Ref) -> Plain | None:
        """Watch a worker that an earlier hub's fork server started."""
        try:
            plain = Plain(ref.worker, os.pidfd_open(ref.pid), ref.pid)
        except OSError:
            return None
        self._where[ref.worker] = self._watch(plain)
        return plain


class _Server:
    """One fork server, seen from the launcher."""

    def __init__(
        self, executable: str, environment: Mapping[str, str], log: Path, epoll: select.epoll
    ) -> None:
        self.executable = executable
        self._log = log
        self._epoll = epoll
        self._mark = uuid.uuid4().hex
        self._pids: dict[str, int] = {}  # of workers, 0 before they are forked
        self._ordered: set[str] = set()
        self._input, self._output = b"", b""
        self._ready = False
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        self.descriptor = self._socket.fileno()
        try:
            with theirs:
                self._process = self._started(theirs.fileno(), environment)
        except (OSError, ValueError):
            self._socket.close()
            raise

    def _started(self, control: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [self.executable, "-m", "nbfn.hub.launchers.forkserver", str(control)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**environment, MARK: self._mark, **python_path(self.executable, environment)},
                pass_fds=(control,),
                start_new_session=True,
            )

    def pid(self, worker: str) -> int:
        return self._pids.get(worker, 0)

    def start(self, spec: WorkerSpec) -> None:
        self._pids[spec.worker] = 0
        environment = {**spec.environment, "NBFN_WORKER": spec.worker}
        self._send({
            "do": "start", "worker": spec.worker, "environment": environment, "cwd": spec.cwd or "/",
        })  # fmt: skip

    def stop(self, worker: str, grace: float) -> None:
        self._ordered.add(worker)
        self._send({"do": "stop", "worker": worker, "grace": grace})

    def _send(self, order: dict[str, Any]) -> None:
        self._output += json.dumps(order).encode() + b"\n"
        self._flush()

    def _flush(self) -> None:
        try:
            self._output = self._output[self._socket.send(self._output) :] if self._output else b""
        except BlockingIOError:
            pass
        except OSError:
            self._output = b""  # it is gone; its end of file tells the rest
        with contextlib.suppress(OSError):
            wanted = select.EPOLLIN | (select.EPOLLOUT if self._output else 0)
            self._epoll.modify(self.descriptor, wanted)

    def handle(self, reports: list[Report]) -> bool:
        """Take what the server says; True when it has ended."""
        self._flush()
        try:
            data = self._socket.recv(1 << 20)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._ended(reports)
            return True
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line), reports)
        return False

    def _take(self, said: dict[str, Any], reports: list[Report]) -> None:
        if "ready" in said:
            self._ready = True
        elif "started" in said:
            self._pids[said["started"]] = said["pid"]
            reports.append(Started(said["started"], said["pid"]))
        elif "exit" in said:
            self._pids.pop(said["exit"], None)
            pieces = [(n, lease, c, text.encode()) for n, lease, c, text in said.pop("output")]
            reports.append(Exit(said.pop("exit"), **said, output=pieces))
        elif "failed" in said:
            self._pids.pop(said["failed"], None)
            reports.append(Failed(said["failed"], said["reason"]))

    def _ended(self, reports: list[Report]) -> None:
        """The fork server is gone, and its workers with it; see to what these had started."""
        procfs.kill_marked(MARK, self._mark)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        tail = procfs.tail(self._log)
        for worker, pid in self._pids.items():
            if pid or self._ready:
                reports.append(Exit(worker, stderr_tail=tail, ordered=worker in self._ordered))
            else:
                why = tail.splitlines()[-1] if tail else f"exit code {self._process.returncode}"
                reports.append(Failed(worker, f"{self.executable} cannot run workers: {why}"))
        self._pids.clear()

    def close(self) -> None:
        self._socket.close()
        if self._process.poll() is None:
            # It lives on with its workers, on purpose; nobody here will wait for it.
            self._process.returncode = 0
        else:
            self._log.unlink(missing_ok=True)


def _find_workers(logs: Path) -> list[Ref]:
    """Find the workers of this hub: children of a fork server that write to its log directory."""
    table = procfs.processes()
    found = []
    for process in table.values():
        parent = table.get(process.parent)
        if process.name != procfs.WORKER or process.state == "Z":
            continue
        if parent is None or parent.name != procfs.FORK_SERVER:
            continue
        log = _log_of(process.pid)
        if log.parent == logs and log.suffix == ".err":
            found.append(Ref(log.stem, process.pid))
    return found


def _log_of(pid: int) -> Path:
    """Return what a process has as its standard error."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/fd/2").readlink()
    return Path()


def _kill_leftovers(home: Path) -> None:
    """End what workers of this home had started, when hub and fork server were killed at one stroke."""
    table = procfs.processes()
    ours = procfs.with_variable("NBFN_HOME", str(home))
    for pid in procfs.with_variable(MARK).keys() & ours.keys():
        above: int | None = pid
        while above in table and table[above].name != procfs.FORK_SERVER:
            above = table[above].parent
        if above not in table and pid != os.getpid():
            procfs.kill(pid)


def _prune(logs: Path, *, begun: bool = False) -> None:
    """Delete the oldest logs of what has ended; at the ``begun`` of a hub the empty ones of fork servers, too."""
    kinds = (procfs.WORKER, procfs.FORK_SERVER)
    table = procfs.processes().values()
    used = {_log_of(process.pid).stem for process in table if process.name in kinds}
    with contextlib.suppress(OSError):
        found = [*logs.glob("wk-*.*"), *logs.glob("forkserver-*.log")]
        ended = [path for path in found if path.stem not in used]
        ended.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        telling = [
            path for path in ended if not begun or path.suffix != ".log" or path.stat().st_size
        ]
        for path in {*ended} - {*telling[:MAX_LOGS]}:
            path.unlink(missing_ok=True)
