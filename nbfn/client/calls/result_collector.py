"""`CollectedResults`: results of a map that are collected in the background and can be read any number of times."""

from __future__ import annotations

import bisect
import contextlib
import os
import pickle
import tempfile
import threading
import weakref
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

from nbfn.client.calls.active_call import settle
from nbfn.client.calls.failed_inputs import size_of
from nbfn.protocol.messages import Output
from nbfn.runtime.stream import Stream
from nbfn.runtime.sync import run, wait
from nbfn.serialization import pickler

T = TypeVar("T")

#: Seconds between two checks whether a full disk has room again.
LOOK_AGAIN = 1.0
#: Results that a reader gets at once.
PAGE = 128


class CollectedResults(Generic[T]):
    """Results in the order of iteration.

    Args:
        first: The index of the first one; those before it were consumed by a loop that was detached.
        folder: A folder on disk for results that are too large for memory.
    """

    def __init__(self, first: int, folder: Path) -> None:
        self.first = first
        self._values: SpillBuffer[T] = SpillBuffer(folder)
        self.error: BaseException | None = None
        self.ended = False
        self._lock = threading.Lock()
        self._news: Future[None] | None = None

    def add(self, values: list[T], size: int) -> None:
        """Append results, whose pickles have ``size`` bytes."""
        with self._lock:
            self._values.append(values, size)
        self._tell()

    def settle(self) -> bool:
        """Write what exceeds the memory to disk; return False if the disk has no room for it."""
        with self._lock:
            return self._values.settle()

    def __len__(self) -> int:
        return len(self._values)

    def end(self, error: BaseException | None = None) -> None:
        """Note that no more results will come, with the error that ended the map if there was one."""
        with self._lock:
            self.ended, self.error = True, error
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            news, self._news = self._news, None
        if news is not None:
            settle(news)

    def put(self, place: int, value: T) -> None:
        """Replace a result."""
        with self._lock:
            self._values.put(place - self.first, value)

    async def after(self, start: int) -> list[T]:
        """Wait for results from an index on and return them; an empty list at the end.

        Raises:
            Exception: The error that ended the map, after the results before it.
        """
        __tracebackhide__ = True
        while True:
            with self._lock:
                if found := self._values.page(start, PAGE):
                    return found
                if self.ended:
                    if self.error is not None:
                        raise self.error
                    return []
                if self._news is None:
                    self._news = Future()
                news = self._news
            await wait(news)


class Collectable(Protocol):
    """What the collector needs of a call."""

    #: Why no results are taken now; "" if they are.
    stuck: str
    #: Resolves when the call has ended.
    over: Future[None]

    def abandon(self) -> None:
        """Cancel the call."""


def collect_results(
    gathered: CollectedResults[T],
    due: Callable[[], Coroutine[Any, Any, tuple[list[T], int]]],
    call: Collectable,
) -> None:
    """Collect results until there are no more.

    Args:
        gathered: Where to put them.
        due: Returns the next results and the bytes of their pickles; raises StopAsyncIteration at the end.
        call: The call that they belong to.
    """
    try:
        while True:
            gathered.add(*run(due()))
            if not gathered.settle():
                run(_await_disk(gathered, call))
    except StopAsyncIteration:
        gathered.end()
    except BaseException as error:  # noqa: BLE001 - raised where the results are read
        gathered.end(error)
        call.abandon()


async def _await_disk(gathered: CollectedResults[Any], call: Collectable) -> None:
    """Wait until the disk has room or the call has ended. Meanwhile no results are taken, so no inputs are sent."""
    call.stuck = "no room on the disk for its results: iterate over them, or free some"
    while not call.over.done() and not gathered.settle():
        with contextlib.suppress(TimeoutError):
            await wait(call.over, LOOK_AGAIN)
    call.stuck = ""


def mean_weight(outputs: Sequence[Output]) -> float:
    """Return the mean size of the pickles of outcomes, in bytes."""
    weights = [size_of(o.payload) for o in outputs if o.payload is not None]
    return sum(weights) / max(1, len(outputs))


class ResultReader(Stream[Any]):
    """One iteration over collected results.

    Args:
        gathered: The results.
    """

    def __init__(self, gathered: CollectedResults[Any]) -> None:
        self._gathered = gathered
        self._next = 0

    async def _more(self) -> list[Any]:
        __tracebackhide__ = True
        found = await self._gathered.after(self._next)
        if not found:
            raise StopAsyncIteration
        self._next += len(found)
        return found


# --- results on disk -----------------------------------------------------------------------------

#: About the bytes of a small value besides its pickle.
OVERHEAD = 100
#: Bytes, and values, of one page of the file.
PAGE_BYTES, PAGE_VALUES = 1024 * 1024, 1024
#: Bytes that must stay free on the disk.
SPARE = 512 * 1024 * 1024
#: Most exceptions that stay in memory, since a pickle would lose their tracebacks.
ERRORS = 10_000


class MemoryBudget:
    """The bytes of memory that all lists of results together may take.

    Args:
        size: The limit.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0
        self._lock = threading.Lock()

    def take(self, amount: int) -> bool:
        """Take some bytes; return False if there are not enough."""
        with self._lock:
            if self.taken + amount > self.size:
                return False
            self.taken += amount
            return True

    def give(self, amount: int) -> None:
        """Give bytes back."""
        with self._lock:
            self.taken -= amount


#: The budget of this process.
MEMORY = MemoryBudget(64 * 1024 * 1024)


class SpillBuffer(Generic[T]):
    """A list that grows at its end. Not thread-safe.

    Args:
        folder: A folder on disk for values that are too large for memory.
        memory: The budget that it shares with other lists.
    """

    def __init__(self, folder: Path, memory: MemoryBudget | None = None) -> None:
        self._folder = folder
        self._memory = memory or MEMORY
        self._taken = [0]  # bytes of the budget
        self._ends = contextlib.ExitStack()
        self._ends.callback(_give_back, self._memory, self._taken)
        weakref.finalize(self, self._ends.close)
        self._first: list[T] = []  # values that stay in memory
        self._file: BinaryIO | None = None
        self._starts: list[int] = []  # the index of the first value of each page of the file
        self._pages: list[tuple[int, int]] = []  # the offset of each page and its length
        self._end = 0  # of the file
        self._written = 0  # the index of the first value that is not in the file
        self._last: list[T] = []  # values that are written next
        self._last_size = 0
        self._apart: dict[int, T] = {}  # by index: errors, and values that replaced others
        self._errors = 0

    def append(self, values: Sequence[T], size: int) -> None:
        """Append values.

        Args:
            values: The values.
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
        """Write what exceeds the memory; return False if the disk has no room for it now."""
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
        except Exception:  # noqa: BLE001 - of the user's types: such a value stays in memory
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
        """Replace a value."""
        if place < len(self._first):
            self._first[place] = value
        else:
            self._apart[place] = value

    def page(self, start: int, most: int) -> list[T]:
        """Return values from an index on: at least one, if there is one, and at most ``most``."""
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
