"""`SpillBuffer`: results that nobody has taken yet, in bounded memory: what is too much goes to a file without a name.

Memory is bounded for all of a process together (`MEMORY`), the disk by the room that has to stay
free on it (`SPARE`). The file is gone with the list, or with the process, whatever ends it.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import pickle
import tempfile
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

from nbfn.serialization import pickler

T = TypeVar("T")

#: About what a small value weighs beside its pickle.
OVERHEAD = 100
#: Bytes, and values, of one page of the file.
PAGE_BYTES, PAGE_VALUES = 1024 * 1024, 1024
#: Bytes that stay free on the disk.
SPARE = 512 * 1024 * 1024
#: Exceptions that stay in memory: a pickle would lose their tracebacks.
ERRORS = 10_000


class MemoryBudget:
    """Bytes of memory that results may take, shared by all lists of them.

    Args:
        size: How many.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0
        self._lock = threading.Lock()

    def take(self, amount: int) -> bool:
        """Take some; False when there is not enough."""
        with self._lock:
            if self.taken + amount > self.size:
                return False
            self.taken += amount
            return True

    def give(self, amount: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self.taken -= amount


#: Of this process.
MEMORY = MemoryBudget(64 * 1024 * 1024)


class SpillBuffer(Generic[T]):
    """A list that grows at its end; whoever has it sees to it that threads take turns.

    Args:
        folder: On a disk, where what is too much for memory goes.
        memory: The bytes that it shares with others.
    """

    def __init__(self, folder: Path, memory: MemoryBudget | None = None) -> None:
        self._folder = folder
        self._memory = memory or MEMORY
        self._taken = [0]  # of it
        self._ends = contextlib.ExitStack()
        self._ends.callback(_give_back, self._memory, self._taken)
        weakref.finalize(self, self._ends.close)
        self._first: list[T] = []  # what is in memory for good
        self._file: BinaryIO | None = None
        self._starts: list[int] = []  # the place of the first value of each page of the file
        self._pages: list[tuple[int, int]] = []  # where it lies, and its length
        self._end = 0  # of the file
        self._written = 0  # the place of the first value that is not in the file
        self._last: list[T] = []  # what is to be written next
        self._last_size = 0
        self._apart: dict[
            int, T
        ] = {}  # by their places: errors, and what took the place of another
        self._errors = 0

    def append(self, values: Sequence[T], size: int) -> None:
        """Add values.

        Args:
            values: What to add.
            size: The bytes of their pickles.
        """
        size += OVERHEAD * len(values)
        if self._file is None and self._memory.take(size):
            self._taken[0] += size
            self._first += values
            return
        if self._file is None:
            file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - as long as this
            self._file = self._ends.enter_context(file)
            self._written = len(self._first)
        self._last += values
        self._last_size += size

    def settle(self) -> bool:
        """Write what is too much for memory; False when the disk has no room for it now."""
        while self._last_size >= PAGE_BYTES or len(self._last) >= PAGE_VALUES:
            each = max(1, self._last_size // len(self._last))
            count = max(1, min(PAGE_VALUES, PAGE_BYTES // each))
            if not self._write(count, count * each):
                return False
        return True

    def _write(self, count: int, size: int) -> bool:
        assert self._file is not None
        stats = os.fstatvfs(self._file.fileno())
        if stats.f_bavail * stats.f_frsize < SPARE + size:
            return False
        data = self._pickled(self._last[:count])
        try:
            os.pwrite(self._file.fileno(), data, self._end)
        except OSError:
            return False
        self._pages.append((self._end, len(data)))
        self._starts.append(self._written)
        self._end += len(data)
        self._written += count
        self._last = self._last[count:]
        self._last_size = self._last_size - size if self._last else 0
        return True

    def _pickled(self, values: list[T]) -> bytes:
        page: list[T | None] = list(values)
        for n, value in enumerate(values):
            if isinstance(value, BaseException) and self._errors < ERRORS:
                self._errors += 1
                self._set_apart(page, n)
        try:
            return pickler.dumps(page)
        except Exception:  # noqa: BLE001 - the user's types: what cannot be pickled again stays
            for n, value in enumerate(values):
                try:
                    pickler.dumps(value)
                except Exception:  # noqa: BLE001 - as above
                    self._set_apart(page, n)
            return pickler.dumps(page)

    def _set_apart(self, page: list[T | None], n: int) -> None:
        if (value := page[n]) is not None:
            self._apart.setdefault(self._written + n, value)
            page[n] = None

    def put(self, place: int, value: T) -> None:
        """Put a value in the place of another."""
        if place < len(self._first):
            self._first[place] = value
        else:
            self._apart[place] = value

    def page(self, start: int, most: int) -> list[T]:
        """Return values from a place on, as many as are at hand: at least one, where there is one."""
        if start < len(self._first):
            return self._first[start : start + most]
        if start >= self._written:
            found = self._last[start - self._written :][:most]
        else:
            number = bisect.bisect_right(self._starts, start) - 1
            found = self._read(number)[start - self._starts[number] :][:most]
        if self._apart:
            return [self._apart.get(start + n, value) for n, value in enumerate(found)]
        return found

    def _read(self, number: int) -> list[T]:
        assert self._file is not None
        at, length = self._pages[number]
        page: list[Any] = pickle.loads(os.pread(self._file.fileno(), length, at))  # noqa: S301 - our own
        return page

    def __len__(self) -> int:
        return (self._written if self._file is not None else len(self._first)) + len(self._last)


def _give_back(memory: MemoryBudget, taken: list[int]) -> None:
    memory.give(taken[0])
