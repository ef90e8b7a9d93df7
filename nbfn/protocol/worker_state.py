"""Stores the state of a worker in memory that it shares with the process that started it.

The memory holds the running lease, the cause of the exit and the most recent output. If the worker dies, output in
transit to the hub is lost; the starting process reads it from this memory instead. Writing needs no system call.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from nbfn.runtime.output_channels import CLEAR, DISPLAY, FAILURE, LOG, NESTED

#: The indices of the numbers: the running lease; the memory limit of the worker and its children in bytes, 0 for no
#: limit; the signal that ended the worker; 1 if it exited normally; the bytes read from its two log files.
LEASE, MEMORY_LIMIT, ENDED_BY, FINISHED, READ_OF_STDOUT, READ_OF_STDERR = range(6)

_NUMBERS = 64
#: Bytes of each half of the journal. When the newer half is full, the older half is overwritten.
HALF = 256 * 1024
#: Bytes of the whole memory.
SIZE = _NUMBERS + 2 * HALF

_HEADER = struct.Struct("=QQIB")  # number, lease, length, kind
#: The most bytes of a text that is stored; only the end of a longer text is stored.
LARGEST = HALF - _HEADER.size
_SPAN = struct.Struct("=QQ")  # first byte in a log file, and the byte after the last

#: The channels whose output is stored. The first two may be log files as well.
CHANNELS = (
    *("stdout", "stderr", f"{NESTED}stdout", f"{NESTED}stderr", FAILURE),
    *(LOG, DISPLAY, CLEAR),
)
#: Channels whose pieces cannot be truncated.
PACKED = frozenset({LOG, DISPLAY, CLEAR})
_FILE = len(CHANNELS)  # added to the index of a channel for a span of a log file


class Piece(NamedTuple):
    """A piece of output: text, or a span of the log file at descriptor 1 or 2 of the worker."""

    number: int
    lease: int
    channel: str
    text: bytes
    span: tuple[int, int] | None = None


class WorkerState:
    """Writes the state of a worker to shared memory.

    Args:
        memory: A buffer of `SIZE` bytes; None if no other process reads the state.

    Attributes:
        shared: Whether another process reads the state.
        numbers: The numbers; `LEASE` and the following constants are the indices.
    """

    def __init__(self, memory: Any = None) -> None:
        self._memory = memoryview(bytearray(SIZE) if memory is None else memory)
        self.shared = memory is not None
        self.numbers = self._memory[:_NUMBERS].cast("Q")
        self._number = 0
        self._at = _NUMBERS  # the position of the next piece
        self._end = _NUMBERS + HALF

    def add_text(self, lease: int, channel: int, text: bytes) -> int:
        """Store a text and return the number of the piece. Only one thread at a time may call this."""
        return self._add(lease, channel, text)

    def add_span(self, lease: int, channel: int, first: int, end: int) -> int:
        """Record that the worker has read a span of a log file, and return the number of the piece."""
        number = self._add(lease, _FILE + channel, _SPAN.pack(first, end))
        self.numbers[READ_OF_STDOUT + channel] = end
        return number

    def _add(self, lease: int, kind: int, data: bytes) -> int:
        if len(data) > LARGEST:
            data = data[-LARGEST:]
        size = _HEADER.size + len(data)
        at = self._at
        if at + size > self._end:
            at = _NUMBERS + HALF if self._end == _NUMBERS + HALF else _NUMBERS
            self._end = at + HALF
        # A signal handler may print between any two of these lines: reserve the space first.
        self._at = at + size
        self._number = number = self._number + 1
        self._memory[at : at + size] = _HEADER.pack(number, lease, len(data), kind) + data
        return number


def numbers_of(memory: Any) -> memoryview:
    """Return the numbers in the memory of a worker; release the view before the memory is closed."""
    return memoryview(memory)[:_NUMBERS].cast("Q")


def pieces(memory: Any) -> list[Piece]:
    """Return the most recent output of a worker that has ended, in order.

    Reading a half of the journal stops at the first incomplete piece.
    """
    first, second = (list(_chain(memory, _NUMBERS + half * HALF)) for half in (0, 1))
    if first and second and second[0].number < first[0].number:
        first, second = second, first
    return first + second


def _chain(memory: Any, at: int) -> Iterator[Piece]:
    end, expected = at + HALF, 0
    while at + _HEADER.size <= end:
        number, lease, length, kind = _HEADER.unpack_from(memory, at)
        at += _HEADER.size
        if not number or number != (expected or number) or at + length > end or kind > _FILE + 1:
            return
        data = bytes(memory[at : at + length])
        if kind < _FILE:
            yield Piece(number, lease, CHANNELS[kind], data)
        else:
            yield Piece(number, lease, CHANNELS[kind - _FILE], b"", _SPAN.unpack(data))
        at, expected = at + length, number + 1
