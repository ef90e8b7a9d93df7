"""`InputIterator`: makes the argument tuples of a map from the caller's iterables, one at a time.

All of it runs on the helper thread of the map, except `stop`, which any thread may call.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import logging
import math
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from typing import Any, TypeVar

from nbfn.runtime.stream import Stream

logger = logging.getLogger("nbfn.client")

T = TypeVar("T")

#: Seconds to wait for the ``finally`` of an async generator on the caller's loop, which may have ended.
CLOSING = 10.0
#: Seconds between two checks whether the caller's loop was closed, which resolves no pending future.
LOOK = 0.25

_END: Any = object()


class InputIterator:
    """The argument tuples of one call.

    Args:
        iterables: One for each argument, or for `starmap` one of argument tuples. Async ones are awaited on the
            caller's loop, if it can run meanwhile (see `begin`).
        spread: Whether there is one iterable of argument tuples.
    """

    def __init__(
        self, iterables: tuple[Iterable[Any] | AsyncIterable[Any], ...], *, spread: bool = False
    ) -> None:
        self._iterables = iterables
        self._spread = spread
        self._iterators: list[Any] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # the caller's
        self._own: asyncio.AbstractEventLoop | None = None
        self._interrupt: Callable[[], object] | None = None  # cancels the current await
        self._stopped = False

    def known(self) -> int | None:
        """Return how many tuples there will be; None if an iterable does not know its length."""
        try:
            return min((len(iterable) for iterable in self._iterables), default=0)  # type: ignore[arg-type]
        except Exception:  # noqa: BLE001 - a generator; or a __len__ of the user's that raises
            return None

    @property
    def repeatable(self) -> bool:
        """Whether `repeated` can make the tuples again: each iterable has a length and can be iterated repeatedly."""
        return self.known() is not None and not any(
            isinstance(iterable, Iterator) for iterable in self._iterables
        )

    def repeated(self, first: int) -> Iterator[tuple[Any, ...]]:
        """Yield the tuples from an index on, by iterating from the beginning again."""
        __tracebackhide__ = True
        again = InputIterator(self._iterables, spread=self._spread)
        return itertools.islice(again.begin(None), first, None)

    def begin(self, loop: asyncio.AbstractEventLoop | None) -> Iterator[tuple[Any, ...]]:
        """Return an iterator over the tuples. May be called once.

        Args:
            loop: The caller's event loop; None if the caller blocks it or has none, so that async iterables need a
                loop of their own.
        """
        __tracebackhide__ = True
        self._loop = loop
        for iterable in self._iterables:
            self._iterators.append(
                aiter(iterable) if _only_async(iterable) else iter(iterable)  # type: ignore[arg-type]
            )
        if any(map(_only_async, self._iterators)):
            rows = self._rows()
            return (tuple(row[0]) for row in rows) if self._spread else rows
        if self._spread:
            return map(tuple, self._iterators[0])
        return zip(*self._iterators, strict=False)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        """Zip iterators, some of which are async."""
        __tracebackhide__ = True
        while True:
            row = []
            for iterator in self._iterators:
                row.append(self._next(iterator))
                if row[-1] is _END:
                    return
            yield tuple(row)

    def _next(self, iterator: Any) -> Any:
        __tracebackhide__ = True
        if _only_async(iterator):
            return self._await(lambda: _next(iterator))
        return next(iterator, _END)

    def _await(self, make: Callable[[], Coroutine[Any, Any, T]], timeout: float | None = None) -> T:
        """Run a coroutine on the caller's loop, or on a loop of this thread, and return its result."""
        __tracebackhide__ = True
        if self._loop is not None:
            return self._on_callers_loop(self._loop, make, timeout)
        if self._own is None:
            self._own = asyncio.new_event_loop()
        own, task = self._own, self._own.create_task(make())
        self._interrupt = lambda: own.call_soon_threadsafe(task.cancel)
        if self._stopped and timeout is None:
            task.cancel()
        return own.run_until_complete(task)

    def _on_callers_loop(
        self,
        loop: asyncio.AbstractEventLoop,
        make: Callable[[], Coroutine[Any, Any, T]],
        timeout: float | None,
    ) -> T:
        __tracebackhide__ = True
        try:
            future = asyncio.run_coroutine_threadsafe(_Lazy(make), loop)
        except RuntimeError:  # it was closed
            raise concurrent.futures.CancelledError from None
        self._interrupt = future.cancel
        if self._stopped and timeout is None:
            future.cancel()
        ends = math.inf if timeout is None else time.monotonic() + timeout
        while not future.done():
            try:
                future.exception(LOOK)
            except TimeoutError:  # of this look
                if loop.is_closed():
                    raise concurrent.futures.CancelledError from None
                if time.monotonic() > ends:
                    raise
        return future.result()

    def stop(self) -> None:
        """Stop iterating: cancel the current await, and close the results of other maps among the iterables."""
        self._stopped = True
        if (interrupt := self._interrupt) is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended
                interrupt()
        for iterable in self._iterables:
            if isinstance(iterable, Stream):
                _quietly(iterable.close)

    def close(self) -> None:
        """Close the generators among the iterables, so that their ``finally`` runs."""
        for iterator in self._iterators:
            if isinstance(iterator, AsyncGenerator):
                _quietly(self._await, iterator.aclose, CLOSING)
            elif isinstance(iterator, Generator):
                _quietly(iterator.close)  # nothing else: the caller may read on in an open file
        self._iterators = []
        self._interrupt = None
        if self._own is not None:
            _quietly(self._own.run_until_complete, self._own.shutdown_asyncgens())
            self._own.close()
            self._own = None


def _quietly(close: Callable[..., object], *args: object) -> None:
    """Close an iterable of the caller's; log an error."""
    try:
        close(*args)
    except (concurrent.futures.CancelledError, asyncio.CancelledError):
        pass  # its loop has ended, and with it what ran there
    except Exception:
        logger.exception("An iterable of inputs could not be closed")


def _only_async(iterable: object) -> bool:
    """Return whether it can only be iterated with ``async for``. The results of a map support both."""
    kind = type(iterable)
    return hasattr(kind, "__aiter__") and not hasattr(kind, "__iter__")


async def _next(iterator: AsyncIterator[Any]) -> Any:
    return await anext(iterator, _END)


class _Lazy(Coroutine[Any, Any, T]):
    """A coroutine that is created when its loop starts it, so that a loop which ends before causes no warning."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._make = make
        self._made: Coroutine[Any, Any, T] | None = None

    def _coroutine(self) -> Coroutine[Any, Any, T]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def send(self, value: Any) -> Any:
        __tracebackhide__ = True
        return self._coroutine().send(value)

    def throw(self, *error: Any) -> Any:
        __tracebackhide__ = True
        return self._coroutine().throw(*error)

    def close(self) -> None:
        if self._made is not None:
            self._made.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine().__await__()
