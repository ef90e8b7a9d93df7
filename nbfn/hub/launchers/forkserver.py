"""The fork server: one process per Python environment that has imported what workers need; a worker is a fork of it.

It starts no thread and opens no ZeroMQ context, so forking is safe. It is the parent of its workers and the foster
parent of all that these start and leave, so it can tell why each worker ended and leave nothing behind. Workers die
with it. When the hub goes it stays until its last worker is gone; they end by themselves, or are killed when no hub
comes back.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import json
import mmap
import os
import select
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from nbfn.config import Places, Settings
from nbfn.hub.launchers import last_output, procfs
from nbfn.hub.launchers.memory import MemoryUse
from nbfn.protocol import worker_state
from nbfn.protocol.worker_state import ENDED_BY, FINISHED, LEASE, MEMORY_LIMIT

#: Its `preload` runs here, its `main` in each worker. Imported by name: it is no part of this package.
ENTRY = "nbfn_kernel.worker.main"
#: Seconds between looks for a hub once the control channel is closed.
LOOK = 0.5
#: Seconds that resource trackers have to clean up when a worker has ended.
TRACKERS_END = 2.0
#: Seconds between looks at the memory of workers that have a limit.
WATCH = 0.1

_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


@dataclass(slots=True)
class _Child:
    """A worker that was forked here."""

    worker: str
    pid: int
    shared: mmap.mmap  # see `worker_state`
    memory: MemoryUse  # measured only where there is a limit
    ordered: bool = False
    kill_at: float = float("inf")
    over: int = 0  # the limit that it broke

    @property
    def limit(self) -> int:
        """Bytes that it may hold, with its descendants; 0 for any number."""
        return self.number(MEMORY_LIMIT)

    def number(self, which: int) -> int:
        """Return one of the numbers that it shares."""
        return int.from_bytes(self.shared[8 * which : 8 * which + 8], sys.byteorder)


@dataclass(slots=True)
class _Birth:
    """What a forked child needs to become a worker."""

    order: dict[str, Any]
    parent: int
    shared: mmap.mmap
    out: int
    err: int


class ForkServer:
    """The loop: orders in, reports out, as lines of JSON.

    Args:
        control: Connected to the launcher.
        places: Of the hub.
        settings: Workers wait `hub_grace` for a lost hub and have `kill_grace` more to end by themselves.
    """

    def __init__(self, control: socket.socket, places: Places, settings: Settings) -> None:
        self._control: socket.socket | None = control
        self._places = places
        self._patience = settings.hub_grace + settings.kill_grace
        self._children: dict[int, _Child] = {}
        self._input = b""
        self._unheard_since = 0.0
        self._wake_out, self._wake_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_in, warn_on_full_buffer=False)

    def serve(self) -> _Birth | None:
        """Work; returns in the child after each fork, and in the server when its work is over."""
        self._tell({"ready": os.getpid()})
        while self._control is not None or self._children:
            readable = self._wait()
            if self._wake_out in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_out, 4096)
                self._reap()
            if self._control is not None and self._control.fileno() in readable:
                for order in self._orders():
                    if (birth := self._obey(order)) is not None:
                        return birth
            self._look_at_memory()
            self._look_at_clock(time.monotonic())
        return None

    def forget(self) -> None:
        """Let go, in a child, of what is the server's."""
        signal.set_wakeup_fd(-1)
        os.close(self._wake_in)
        os.close(self._wake_out)
        if self._control is not None:
            self._control.close()
        for child in self._children.values():
            child.shared.close()

    def _wait(self) -> list[int]:
        sources = [self._wake_out]
        if self._control is not None:
            sources.append(self._control.fileno())
        until = min((child.kill_at for child in self._children.values()), default=float("inf"))
        timeout = max(0.0, until - time.monotonic()) if until != float("inf") else None
        if any(child.limit for child in self._children.values()):
            timeout = WATCH if timeout is None else min(WATCH, timeout)
        if self._control is None:
            timeout = LOOK if timeout is None else min(LOOK, timeout)
        return select.select(sources, [], [], timeout)[0]

    def _orders(self) -> list[dict[str, Any]]:
        assert self._control is not None
        try:
            data = self._control.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            self._control.close()
            self._control = None
            self._unheard_since = time.monotonic()
            return []
        *lines, self._input = (self._input + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def _tell(self, report: dict[str, Any]) -> None:
        if self._control is not None:
            with contextlib.suppress(OSError):  # a lost launcher shows as end of file
                self._control.sendall(json.dumps(report).encode() + b"\n")

    def _obey(self, order: dict[str, Any]) -> _Birth | None:
        if order["do"] == "start":
            try:
                return self._start(order)
            except OSError as error:
                self._tell(
                    {"failed": order["worker"], "reason": f"No process could be made: {error}."}
                )
        elif order["do"] == "stop":
            for child in self._children.values():
                if child.worker == order["worker"]:
                    child.ordered = True
                    child.kill_at = min(child.kill_at, time.monotonic() + order["grace"])
                    os.kill(child.pid, signal.SIGTERM)
        return None

    def _start(self, order: dict[str, Any]) -> _Birth | None:
        out, err = (self._log(order["worker"], end) for end in ("out", "err"))
        try:
            shared, parent = mmap.mmap(-1, worker_state.SIZE), os.getpid()
            if not (pid := os.fork()):
                return _Birth(order, parent, shared, out, err)
        finally:
            if os.getpid() == parent:
                os.close(out)
                os.close(err)
        self._children[pid] = _Child(order["worker"], pid, shared, MemoryUse(pid))
        self._tell({"started": order["worker"], "pid": pid})
        return None

    def _log(self, worker: str, end: str) -> int:
        path = self._places.logs / f"{worker}.{end}"
        flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, 0o600)

    # --- the end of workers ---

    def _reap(self) -> None:
        ended = list(self._ended())
        for child, _, _ in ended:
            procfs.kill_group(child.pid)
        self._kill_strays()
        for child, status, memory in ended:
            self._report(child, status, memory)

    def _ended(self) -> list[tuple[_Child, int, int]]:
        found = []
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if not pid:
                    break
                if (child := self._children.pop(pid, None)) is not None:
                    found.append((child, status, usage.ru_maxrss * 1024))
        return found

    def _kill_strays(self) -> None:
        """End children that are not workers: what workers that ended have left behind."""
        trackers_until = time.monotonic() + TRACKERS_END
        for _ in range(10):
            strays = self._strays()
            while strays and all(map(procfs.is_tracker, strays)):
                if time.monotonic() >= trackers_until:
                    break
                strays = [pid for pid in strays if not _is_over(pid)]
                time.sleep(0.001)
            if not strays:
                return
            if time.monotonic() < trackers_until:
                strays = [pid for pid in strays if not procfs.is_tracker(pid)]
            procfs.kill(*strays)
            # Their own children come to us as soon as they are gone. One that the kernel holds back is left for later.
            deadline = time.monotonic() + 0.2
            while strays and time.monotonic() < deadline:
                strays = [pid for pid in strays if not _is_over(pid)]
                time.sleep(0.001)

    def _strays(self) -> list[int]:
        me = os.getpid()
        table = procfs.processes().values()
        return [p.pid for p in table if p.parent == me and p.pid not in self._children]

    def _report(self, child: _Child, status: int, memory: int) -> None:
        out, err = (self._places.logs / f"{child.worker}.{end}" for end in ("out", "err"))
        code = os.waitstatus_to_exitcode(status)
        last = last_output.read(child.shared, (out, err))
        if child.ordered or code == 0:
            for log in (out, err):
                log.unlink(missing_ok=True)
        self._tell({
            "exit": child.worker,
            "exit_code": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "running_lease": child.number(LEASE),
            "memory_peak": max(memory, child.memory.peak),
            "stderr_tail": last.stderr,
            "ordered": child.ordered,
            "memory_limit": child.over,
            "finished": bool(child.number(FINISHED)),
            "ended_by": child.number(ENDED_BY),
            "output": last.pieces,
        })  # fmt: skip
        child.shared.close()

    def _look_at_memory(self) -> None:
        for child in self._children.values():
            if (limit := child.limit) and not child.over and child.memory.exceeds(limit):
                child.over = limit
                procfs.kill_group(child.pid)

    def _look_at_clock(self, now: float) -> None:
        for child in self._children.values():
            if now >= child.kill_at:
                child.kill_at = float("inf")
                procfs.kill_group(child.pid)
        if self._control is None and self._children:
            if procfs.is_locked(self._places.lock_file):
                self._unheard_since = now
            elif now >= self._unheard_since + self._patience:
                for child in self._children.values():
                    procfs.kill_group(child.pid)


def _is_over(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _become(birth: _Birth) -> NoReturn:
    """Turn a fork of the server into a worker; never returns to the server's code."""
    code = 1
    try:
        os.setsid()
        if not procfs.die_with_parent(birth.parent):
            os._exit(1)
        procfs.take_orphans()
        procfs.set_name(procfs.WORKER)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        _rewire(birth)
        with contextlib.suppress(
            OSError
        ):  # short of memory, the kernel takes a worker, not the hub or the notebook
            Path("/proc/self/oom_score_adj").write_text("500")
        sys.argv[:] = [""]
        order = birth.order
        os.environ.update(order["environment"])
        with contextlib.suppress(OSError):
            os.chdir(order["cwd"])
        faulthandler.enable(all_threads=False)  # the other thread would fill the tail that is told
        importlib.import_module(ENTRY).main(birth.shared)
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may unwind into the server's frames
        traceback.print_exc(file=sys.__stderr__)
    finally:
        for stream in (sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(Exception):
                stream.flush()  # type: ignore[union-attr]
        os._exit(code)


def _rewire(birth: _Birth) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for source, target in ((nothing, 0), (birth.out, 1), (birth.err, 2)):
        os.dup2(source, target)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers are all that is needed
        if int(name) > 2:
            with contextlib.suppress(OSError):
                os.close(int(name))


def main(descriptor: int) -> None:
    """Be a fork server, controlled through a socket that the launcher passed on.

    Args:
        descriptor: Of that socket.
    """
    control = socket.socket(fileno=descriptor)
    os.set_inheritable(descriptor, False)
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(Path.cwd()))]
    procfs.set_name(procfs.FORK_SERVER)
    procfs.take_orphans()
    importlib.import_module(ENTRY).preload()
    server = ForkServer(control, Places.of(), Settings.load())
    del control
    gc.collect()
    gc.freeze()
    birth = server.serve()
    if birth is not None:
        server.forget()
        del server
        _become(birth)


if __name__ == "__main__":
    main(int(sys.argv[1]))
