"""The loop of a process that starts the workers of one Python. It reads orders and writes reports, as lines of JSON.

Subclasses define how a worker is started. The server is the parent of its workers, so it can report why each one ended
and end what it has started. When the hub is lost, the server runs until its last worker has ended: workers end by
themselves, and are killed if no hub comes back.
"""

from __future__ import annotations

import abc
import contextlib
import json
import math
import mmap
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from nbfn.config import Places, Settings
from nbfn.hub.launchers import stderr_tail
from nbfn.hub.launchers.memory import MemoryUse
from nbfn.protocol import worker_state
from nbfn.protocol.worker_state import (
    CHANNELS,
    ENDED_BY,
    FINISHED,
    LEASE,
    MEMORY_LIMIT,
    PACKED,
    READ_OF_STDOUT,
    Piece,
)
from nbfn.runtime.output_channels import LOG
from nbfn.runtime.peak_memory import peak_memory

#: Seconds between checks for a hub once the control channel is closed.
HUB_CHECK_INTERVAL = 0.5
#: Seconds that resource trackers have to clean up after a worker has ended.
TRACKER_TIMEOUT = 2.0
#: Seconds between measurements of workers that have a memory limit.
MEMORY_CHECK_INTERVAL = 0.1

#: What the loop returns in a forked child; `None` where workers are not forks.
Forked = TypeVar("Forked")


@dataclass(slots=True)
class Child:
    """A worker that this server started."""

    worker: str
    pid: int
    shared: mmap.mmap  # see `worker_state`
    memory: MemoryUse  # measured only where there is a limit
    ordered: bool = False
    kill_at: float = float("inf")
    exceeded_limit: int = 0  # bytes of the limit that it exceeded, or 0

    @property
    def limit(self) -> int:
        """Bytes that it and its descendants may hold; 0 means no limit."""
        return self.number(MEMORY_LIMIT)

    def number(self, which: int) -> int:
        """Return one of the numbers in its shared memory."""
        return int.from_bytes(self.shared[8 * which : 8 * which + 8], sys.byteorder)


class WorkerServer(abc.ABC, Generic[Forked]):
    """Starts and ends workers.

    Args:
        control: Connected to the launcher.
        places: Of the hub.
        settings: Workers wait `hub_grace` for a lost hub and have `kill_grace` more to end by themselves.
    """

    def __init__(self, control: socket.socket, places: Places, settings: Settings) -> None:
        self._control: socket.socket | None = control
        self._places = places
        self._orphan_timeout = settings.hub_grace + settings.kill_grace
        self._children: dict[int, Child] = {}
        self._input = b""
        self._hub_lost_at = 0.0
        self._wakeup_read, self._wakeup_write = os.pipe()
        for descriptor in (self._wakeup_read, self._wakeup_write):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)

    def serve(self) -> Forked | None:
        """Run until there is no hub and no worker. Where workers are forks, this also returns in each child."""
        self._send({"ready": os.getpid()})
        while self._control is not None or self._children:
            readable = self._wait()
            if self._wakeup_read in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wakeup_read, 4096)
                self._reap()
            if self._control is not None and self._control.fileno() in readable:
                for order in self._orders():
                    if (forked := self._execute(order)) is not None:
                        return forked
            self._check_memory()
            self._check_deadlines(time.monotonic())
        return None

    # --- how workers are started and ended ---

    @abc.abstractmethod
    def _start_process(self, order: dict[str, Any], out: int, err: int) -> Child | Forked:
        """Start a worker that writes to these log files.

        Raises:
            OSError: If no process can be made.
        """

    @abc.abstractmethod
    def _kill(self, pid: int) -> None:
        """Kill a worker and its process group, except for resource trackers, which end by themselves."""

    @abc.abstractmethod
    def _kill_descendants(self, ended: Sequence[Child]) -> None:
        """Kill what these workers started and left running in other process groups."""

    @abc.abstractmethod
    def _hub_is_back(self) -> bool:
        """Whether a hub holds the lock of this home."""

    # --- orders and reports ---

    def _wait(self) -> list[int]:
        sources = [self._wakeup_read]
        if self._control is not None:
            sources.append(self._control.fileno())
        children, now = self._children.values(), time.monotonic()
        limits = [max(0.0, child.kill_at - now) for child in children]
        if any(child.limit for child in children):
            limits.append(MEMORY_CHECK_INTERVAL)
        if self._control is None:
            limits.append(HUB_CHECK_INTERVAL)
        timeout = min(limits, default=math.inf)
        return select.select(sources, [], [], None if timeout == math.inf else timeout)[0]

    def _orders(self) -> list[dict[str, Any]]:
        assert self._control is not None
        try:
            data = self._control.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            self._control.close()
            self._control = None
            self._hub_lost_at = time.monotonic()
            return []
        *lines, self._input = (self._input + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def _send(self, report: dict[str, Any]) -> None:
        if self._control is not None:
            with contextlib.suppress(OSError):  # a lost launcher is noticed by end of file
                self._control.sendall(json.dumps(report).encode() + b"\n")

    def _execute(self, order: dict[str, Any]) -> Forked | None:
        if order["do"] == "start":
            try:
                return self._start(order)
            except OSError as error:
                self._send(
                    {"failed": order["worker"], "reason": f"No process could be made: {error}."}
                )
        elif order["do"] == "stop":
            for child in self._children.values():
                if child.worker == order["worker"]:
                    child.ordered = True
                    child.kill_at = min(child.kill_at, time.monotonic() + order["grace"])
                    os.kill(child.pid, signal.SIGTERM)
        return None

    def _start(self, order: dict[str, Any]) -> Forked | None:
        out, err = (self._log(order["worker"], end) for end in ("out", "err"))
        server = os.getpid()
        try:
            made = self._start_process(order, out, err)
        finally:
            if os.getpid() == server:
                os.close(out)
                os.close(err)
        if not isinstance(made, Child):
            return made
        self._children[made.pid] = made
        self._send({"started": made.worker, "pid": made.pid})
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
        self._kill_descendants([child for child, _, _ in ended])
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
        last = read(child.shared, (out, err))
        if child.ordered or code == 0:
            for log in (out, err):
                log.unlink(missing_ok=True)
        self._send({
            "exit": child.worker,
            "exit_code": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "running_lease": child.number(LEASE),
            "memory_peak": max(memory, child.memory.peak),
            "stderr_tail": last.stderr,
            "ordered": child.ordered,
            "memory_limit": child.exceeded_limit,
            "finished": bool(child.number(FINISHED)),
            "ended_by": child.number(ENDED_BY),
            "output": last.pieces,
        })  # fmt: skip
        child.shared.close()

    def _check_memory(self) -> None:
        for child in self._children.values():
            if (limit := child.limit) and not child.exceeded_limit and child.memory.exceeds(limit):
                child.exceeded_limit = limit
                self._kill(child.pid)

    def _check_deadlines(self, now: float) -> None:
        for child in self._children.values():
            if now >= child.kill_at:
                child.kill_at = float("inf")
                self._kill(child.pid)
        if self._control is None and self._children:
            if self._hub_is_back():
                self._hub_lost_at = now
            elif now >= self._hub_lost_at + self._orphan_timeout:
                for child in self._children.values():
                    self._kill(child.pid)


# --- last output ---------------------------------------------------------------------------------

#: Bytes that are read; what is older is passed over. Of a worker that ended well, only its last words are missing.
MOST, MOST_AFTER_GOOD_END = 1024 * 1024, 64 * 1024


class LastOutput(NamedTuple):
    """What a worker wrote last.

    Attributes:
        pieces: In order, as (number, lease, channel, text).
        stderr: The last lines that the input which ran wrote to stderr, or those of the worker.
    """

    pieces: list[tuple[int, int, str, str]]
    stderr: str


def read(memory: Any, logs: tuple[Path, Path]) -> LastOutput:
    """Return what a worker that has ended wrote last.

    Args:
        memory: What it shared; see `worker_state`.
        logs: Its log files: of stdout and of stderr.
    """
    found: list[tuple[int, int, str, str]] = []
    numbers = worker_state.numbers_of(memory)
    try:
        left = MOST_AFTER_GOOD_END if numbers[FINISHED] else MOST
        lease = numbers[LEASE]
        kept = worker_state.pieces(memory)
        for piece in reversed([*kept, *_rests(numbers, kept, logs)]):
            text = _text(piece, logs, left)
            left -= len(text)
            if text:
                found.append((piece.number, piece.lease, piece.channel, text))
    finally:
        numbers.release()
    found.reverse()
    return LastOutput(found, _stderr(found, lease))


def _rests(numbers: memoryview, kept: list[Piece], logs: tuple[Path, Path]) -> list[Piece]:
    """Return the parts of the log files that the worker has not seen, as if it had."""
    number, rests = kept[-1].number if kept else 0, []
    for place, log in enumerate(logs):
        first, size = numbers[READ_OF_STDOUT + place], _size(log)
        if size > first:
            rest = Piece(number + place + 1, numbers[LEASE], CHANNELS[place], b"", (first, size))
            rests.append(rest)
    return rests


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0


def _text(piece: Piece, logs: tuple[Path, Path], most: int) -> str:
    """Return the text of a piece, or the last bytes of it; of a crash only the lines about user code."""
    data = piece.text[max(0, len(piece.text) - most) :]
    if piece.channel in PACKED and len(data) < len(piece.text):
        return ""
    if piece.span is None:
        return data.decode("utf-8", "replace")
    text = _read_log(logs[CHANNELS.index(piece.channel)], *piece.span, most)
    return stderr_tail.without_own_frames(text) if stderr_tail.CRASH in text else text


def _read_log(log: Path, first: int, end: int, most: int) -> str:
    """Return the last characters of a part of a log; "" if the log cannot be read."""
    first = max(first, end - most)
    try:
        with log.open("rb") as file:
            file.seek(first)
            return file.read(end - first).decode("utf-8", "replace")
    except OSError:
        return ""


def _stderr(found: list[tuple[int, int, str, str]], lease: int) -> str:
    began = next((n for n, piece in enumerate(found) if piece[1] == lease), 0) if lease else 0
    texts = []
    for _, _, channel, text in found[began:]:
        if channel in {"stderr", LOG}:
            texts.append(text.partition("\0")[0])  # what follows are the fields of a record
    return stderr_tail.last_lines("".join(texts))
