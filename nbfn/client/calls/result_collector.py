"""`CollectedResults`: results that are collected in the background and kept, to be read as often as one likes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from nbfn.client.calls.failed_inputs import size_of
from nbfn.client.calls.spill_buffer import SpillBuffer
from nbfn.client.connection import settle
from nbfn.protocol.messages import Output
from nbfn.runtime.stream import Stream
from nbfn.runtime.sync import run, wait

T = TypeVar("T")

#: Seconds between two looks whether a full disk has room again.
LOOK_AGAIN = 1.0
#: Results that a reader is given at once.
PAGE = 128


class CollectedResults(Generic[T]):
    """Results in the order in which they are handed out.

    Args:
        first: The place, among all results, of the first one that is here: those before it were
            given to a loop that has been left.
        folder: On a disk, where results go that are too much for memory.
    """

    def __init__(self, first: int, folder: Path) -> None:
        self.first = first
        self._values: SpillBuffer[T] = SpillBuffer(folder)
        self.error: BaseException | None = None
        self.ended = False
        self._lock = threading.Lock()
        self._news: Future[None] | None = None

    def add(self, values: list[T], size: int) -> None:
        """Keep more; ``size`` is that of their pickles."""
        with self._lock:
            self._values.append(values, size)
        self._tell()

    def settle(self) -> bool:
        """Free memory; False when that needs more room on the disk than there is."""
        with self._lock:
            return self._values.settle()

    def __len__(self) -> int:
        return len(self._values)

    def end(self, error: BaseException | None = None) -> None:
        """Note that there will be no more, because of an error perhaps."""
        with self._lock:
            self.ended, self.error = True, error
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            news, self._news = self._news, None
        if news is not None:
            settle(news)

    def put(self, place: int, value: T) -> None:
        """Put a result in the place of another."""
        with self._lock:
            self._values.put(place - self.first, value)

    async def after(self, start: int) -> list[T]:
        """Return results from a place on, waiting for the next one; empty at the end.

        Raises:
            Exception: What ended it, after the results before that.
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
    """What is collected, as far as that matters here."""

    #: Why no results are taken now; "" where they are.
    stuck: str
    #: Is resolved when it has ended.
    over: Future[None]

    def abandon(self) -> None:
        """Give up."""


def gather(
    gathered: CollectedResults[T],
    due: Callable[[], Coroutine[Any, Any, tuple[list[T], int]]],
    call: Collectable,
) -> None:
    """Collect results until there are no more.

    Args:
        gathered: Where they go.
        due: Returns the next ones and the size of their pickles; raises StopAsyncIteration at the end.
        call: What they are of.
    """
    try:
        while True:
            gathered.add(*run(due()))
            if not gathered.settle():
                run(_await_disk(gathered, call))
    except StopAsyncIteration:
        gathered.end()
    except BaseException as error:  # noqa: BLE001 - for whoever reads the results
        gathered.end(error)
        call.abandon()


async def _await_disk(gathered: CollectedResults[Any], call: Collectable) -> None:
    """Take no results, and so have no more inputs sent, until they can be kept or the call has ended."""
    call.stuck = "no room on the disk for its results: iterate over them, or free some"
    while not call.over.done() and not gathered.settle():
        with contextlib.suppress(TimeoutError):
            await wait(call.over, LOOK_AGAIN)
    call.stuck = ""


def mean_weight(outputs: Sequence[Output]) -> float:
    """Return the mean bytes of the pickles of outcomes."""
    weights = [size_of(o.payload) for o in outputs if o.payload is not None]
    return sum(weights) / max(1, len(outputs))


class Reader(Stream[Any]):
    """One iteration over what is gathered.

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
