"""The loop of a process that starts workers of one Python: orders of the launcher in, reports out, as lines of JSON.

How it starts a worker is for subclasses. It is the parent of its workers, so it can tell why each one ended and leave
nothing behind. When the hub goes it stays until its last worker is gone; they end by themselves, or are killed when no
hub comes back.
"""

from __future__ import annotations

import abc
import contextlib
import json
import mmap
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from nbfn.config import Places, Settings
from nbfn.hub.launchers import last_output
from nbfn.hub.launchers.memory import MemoryUse
from nbfn.protocol.worker_state import ENDED_BY, FINISHED, LEASE, MEMORY_LIMIT
from nbfn.runtime.peak_memory import peak_memory

#: Seconds between looks for a hub once the control channel is closed.
LOOK = 0.5
#: Seconds that resource trackers have to clean up when a worker has ended.
TRACKERS_END = 2.0
#: Seconds between looks at the memory of workers that have a limit.
WATCH = 0.1

#: What a child is given that returns from the loop to become a worker; `None` where no child does.
Birth = TypeVar("Birth")


@dataclass(slots=True)
class Child:
    """A worker that was started here."""

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


class WorkerServer(abc.ABC, Generic[Birth]):
    """Starts and ends workers.

    Args:
        control: Connected to the launcher.
        places: Of the hub.
        settings: Workers wait `hub_grace` for a lost hub and have `kill_grace` more to end by themselves.
    """

    def __init__(self, control: socket.socket, places: Places, settings: Settings) -> None:
        self._control: socket.socket | None = control
        self._places = places
        self._patience = settings.hub_grace + settings.kill_grace
        self._children: dict[int, Child] = {}
        self._input = b""
        self._unheard_since = 0.0
        self._wake_out, self._wake_in = os.pipe()
        for descriptor in (self._wake_out, self._wake_in):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_in, warn_on_full_buffer=False)

    def serve(self) -> Birth | None:
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

    # --- how workers are started and ended ---

    @abc.abstractmethod
    def _make(self, order: dict[str, Any], out: int, err: int) -> Child | Birth:
        """Start a worker that writes to these log files.

        Raises:
            OSError: If no process can be made.
        """

    @abc.abstractmethod
    def _kill(self, pid: int) -> None:
        """Kill a worker with its process group, but for resource trackers: they end by themselves, soon."""

    @abc.abstractmethod
    def _kill_rest(self, ended: Sequence[Child]) -> None:
        """Kill what workers that ended have left behind in other process groups."""

    @abc.abstractmethod
    def _hub_is_back(self) -> bool:
        """Whether a hub has this home's lock."""

    # --- orders and reports ---

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

    def _obey(self, order: dict[str, Any]) -> Birth | None:
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

    def _start(self, order: dict[str, Any]) -> Birth | None:
        out, err = (self._log(order["worker"], end) for end in ("out", "err"))
        server = os.getpid()
        try:
            made = self._make(order, out, err)
        finally:
            if os.getpid() == server:
                os.close(out)
                os.close(err)
        if not isinstance(made, Child):
            return made
        self._children[made.pid] = made
        self._tell({"started": made.worker, "pid": made.pid})
        return None

    def _log(self, worker: str, end: str) -> int:
        path = self._places.logs / f"{worker}.{end}"
        flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, 0o600)

    # --- the end of workers ---

    def _reap(self) -> None:
        ended = list(self._ended())
        for child, _, _ in ended:
            self._kill(child.pid)
        self._kill_rest([child for child, _, _ in ended])
        for child, status, memory in ended:
            self._report(child, status, memory)

    def _ended(self) -> list[tuple[Child, int, int]]:
        found = []
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if not pid:
                    break
                if (child := self._children.pop(pid, None)) is not None:
                    found.append((child, status, peak_memory(usage)))
        return found

    def _report(self, child: Child, status: int, memory: int) -> None:
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
                self._kill(child.pid)

    def _look_at_clock(self, now: float) -> None:
        for child in self._children.values():
            if now >= child.kill_at:
                child.kill_at = float("inf")
                self._kill(child.pid)
        if self._control is None and self._children:
            if self._hub_is_back():
                self._unheard_since = now
            elif now >= self._unheard_since + self._patience:
                for child in self._children.values():
                    self._kill(child.pid)
