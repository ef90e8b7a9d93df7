"""`InputIterator`: makes the argument tuples of a map from the caller's iterables, one at a time.

All of it runs on the thread that pulls, but for `stop`, which any thread may call.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
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

#: Seconds that an async generator's ``finally`` may take on the caller's loop, which may have ended.
CLOSING = 10.0
#: Seconds between two looks whether the caller's loop was closed: what waits for its turn there is told of nothing.
LOOK = 0.25

_END: Any = object()


class InputIterator:
    """The argument tuples of one call.

    Args:
        iterables: One for each argument, or for `starmap` one of whole argument tuples. Each may be
            async: those are awaited on the caller's loop, if it can run meanwhile (see `begin`).
        spread: Whether it is one of whole tuples.
    """

    def __init__(
        self, iterables: tuple[Iterable[Any] | AsyncIterable[Any], ...], *, spread: bool = False
    ) -> None:
        self._iterables = iterables
        self._spread = spread
        self._iterators: list[Any] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # the caller's
        self._own: asyncio.AbstractEventLoop | None = None
        self._interrupt: Callable[[], object] | None = None  # ends what is awaited now
        self._stopped = False

    def known(self) -> int | None:
        """Return how many there will be, or None if an iterable does not know its length."""
        try:
            return min((len(iterable) for iterable in self._iterables), default=0)  # type: ignore[arg-type]
        except Exception:  # noqa: BLE001 - a generator; or a __len__ of the user's that raises
            return None

    def begin(self, loop: asyncio.AbstractEventLoop | None) -> Iterator[tuple[Any, ...]]:
        """Return the tuples' iterator; single use.

        Args:
            loop: The caller's event loop, None when the caller blocks it or has none: async
                iterables get a loop of their own then.
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
        """Zip iterators of which some are async."""
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
        """Wait for something async, on the caller's loop or on one that this thread runs."""
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
        """Have no more wanted: end what is awaited, and the results of other calls among the iterables."""
        self._stopped = True
        if (interrupt := self._interrupt) is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended
                interrupt()
        for iterable in self._iterables:
            if isinstance(iterable, Stream):
                _quietly(iterable.close)

    def close(self) -> None:
        """Let generators among them run their ``finally``."""
        for iterator in self._iterators:
            if isinstance(iterator, AsyncGenerator):
                _quietly(self._await, iterator.aclose, CLOSING)
            elif isinstance(iterator, Generator):  # nothing else: an open file is to be read on
                _quietly(iterator.close)
        self._iterators = []
        self._interrupt = None
        if self._own is not None:
            _quietly(self._own.run_until_complete, self._own.shutdown_asyncgens())
            self._own.close()
            self._own = None


def _quietly(close: Callable[..., object], *args: object) -> None:
    """Close something of the caller's, who may have left: trouble is logged."""
    try:
        close(*args)
    except (concurrent.futures.CancelledError, asyncio.CancelledError):
        pass  # its loop has ended, and with it what ran there
    except Exception:
        logger.exception("An iterable of inputs could not be closed")


def _only_async(iterable: object) -> bool:
    """Whether it can only be iterated with ``async for``; a map's results can be both ways."""
    kind = type(iterable)
    return hasattr(kind, "__aiter__") and not hasattr(kind, "__iter__")


async def _next(iterator: AsyncIterator[Any]) -> Any:
    return await anext(iterator, _END)


class _Lazy(Coroutine[Any, Any, T]):
    """A coroutine that is made when its loop begins it: a loop that ends before that is nobody's mistake to warn of."""

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
