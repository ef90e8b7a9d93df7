"""Shared memory of a worker and the process that started it; it can be read after the worker has died.

It holds what the worker runs, how it came to its end, and what it wrote last. Output on its way to the hub is lost
with the process; from here it can be read after any kind of death. Writing takes no system call.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from nbfn.runtime.output_channels import CLEAR, DISPLAY, FAILURE, LOG, NESTED

#: Which number is what: the lease that runs; bytes that the worker and its children may hold, 0 for any number; the
#: signal that ended it; 1 if it exited normally; bytes read of its two log files.
LEASE, MEMORY_LIMIT, ENDED_BY, FINISHED, READ_OF_STDOUT, READ_OF_STDERR = range(6)

_NUMBERS = 64
#: Bytes of each half of the journal; the older half is overwritten when the newer one is full.
HALF = 256 * 1024
#: Bytes of all of it.
SIZE = _NUMBERS + 2 * HALF

_HEADER = struct.Struct("=QQIB")  # number, lease, length, kind
#: Bytes of the largest text that is kept whole; of a larger one the end is.
LARGEST = HALF - _HEADER.size
_SPAN = struct.Struct("=QQ")  # first byte in a log file, and the byte after the last

#: What is kept; the first two may be log files as well.
CHANNELS = (
    *("stdout", "stderr", f"{NESTED}stdout", f"{NESTED}stderr", FAILURE),
    *(LOG, DISPLAY, CLEAR),
)
#: Those whose pieces are of use only as a whole.
PACKED = frozenset({LOG, DISPLAY, CLEAR})
_FILE = len(CHANNELS)  # added to the place of a channel, for a part of a log file


class Piece(NamedTuple):
    """A piece of output: text, or a span of the log file that descriptor 1 or 2 of the worker is."""

    number: int
    lease: int
    channel: str
    text: bytes
    span: tuple[int, int] | None = None


class WorkerState:
    """The worker's end.

    Args:
        memory: `SIZE` bytes; None if no other process reads them.

    Attributes:
        numbers: See `LEASE` and the others.
    """

    def __init__(self, memory: Any = None) -> None:
        self._memory = memoryview(bytearray(SIZE) if memory is None else memory)
        self.shared = memory is not None
        self.numbers = self._memory[:_NUMBERS].cast("Q")
        self._number = 0
        self._at = _NUMBERS  # where the next piece goes
        self._end = _NUMBERS + HALF

    def add_text(self, lease: int, channel: int, text: bytes) -> int:
        """Keep a text; return its number. Not for several threads at once."""
        return self._add(lease, channel, text)

    def add_span(self, lease: int, channel: int, first: int, end: int) -> int:
        """Keep that the worker has seen a part of a log file; return its number."""
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
        # A signal handler may print between any two of these lines; it finds the place taken.
        self._at = at + size
        self._number = number = self._number + 1
        self._memory[at : at + size] = _HEADER.pack(number, lease, len(data), kind) + data
        return number


def numbers_of(memory: Any) -> memoryview:
    """Return the numbers of a worker's memory. Release it before the memory is closed."""
    return memoryview(memory)[:_NUMBERS].cast("Q")


def pieces(memory: Any) -> list[Piece]:
    """Return what a worker that has ended wrote last, in order; what is not whole ends the search."""
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
