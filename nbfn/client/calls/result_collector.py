"""`CollectedResults`: results of a map that are collected in the background and can be read any number of times."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from nbfn.client.calls.active_call import settle
from nbfn.client.calls.failed_inputs import size_of
from nbfn.client.calls.spill_buffer import SpillBuffer
from nbfn.protocol.messages import Output
from nbfn.runtime.stream import Stream
from nbfn.runtime.sync import run, wait

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
