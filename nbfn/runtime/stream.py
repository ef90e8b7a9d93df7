"""Provides `Stream`, an iterator for both ``for`` and ``async for`` whose values arrive in batches.

`nbfn.runtime.sync` does the same for operations with a single result.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from nbfn.runtime import traceback_filter
from nbfn.runtime.sync import BoundMethod, drive, run

logger = logging.getLogger("nbfn.client")

S = TypeVar("S")
Q = ParamSpec("Q")
T = TypeVar("T")


class Stream(Generic[T]):
    """An iterator for ``for``, ``next()`` and ``async for`` whose values arrive in batches.

    It can be iterated once. A subclass fetches a batch in `_more` and cancels in `_stop`. Leaving a
    loop over the stream early closes the stream.
    """

    #: The name of the method that returned this stream, for the warning that it was not consumed. Empty
    #: for no warning.
    _made_by = ""
    _by_aio = False
    _touched = False
    _batch: Iterator[T] = iter(())
    _ended = False

    async def _more(self) -> list[T]:
        """Return the next batch of values.

        Returns:
            At least one value.

        Raises:
            StopAsyncIteration: If there are no more values.
        """
        raise NotImplementedError

    def _stop(self) -> None:
        """Cancel the work of the stream. Called at most once, by an early close; must not block."""

    def __iter__(self) -> Iterator[T]:
        __tracebackhide__ = True
        try:
            yield from self._batch
            while run(self._refill()):
                yield from self._batch
        except BaseException as error:
            traceback_filter.hide(error)
            raise
        finally:
            self.close()

    def __next__(self) -> T:
        __tracebackhide__ = True
        while True:
            for value in self._batch:
                return value
            try:
                more = run(self._refill())
            except BaseException as error:
                traceback_filter.hide(error)
                raise
            if not more:
                raise StopIteration

    async def _refill(self) -> bool:
        __tracebackhide__ = True
        self._touched = True
        if self._ended:
            return False
        try:
            self._batch = iter(await self._more())
        except StopAsyncIteration:
            self._ended = True
            return False
        except BaseException:
            self.close()
            raise
        return True

    async def __aiter__(self) -> AsyncIterator[T]:
        __tracebackhide__ = True
        try:
            for value in self._batch:
                yield value
            while await drive(self._refill()):
                for value in self._batch:
                    yield value
        except BaseException as error:
            traceback_filter.hide(error)
            raise
        finally:
            self.close()

    async def __anext__(self) -> T:
        __tracebackhide__ = True
        while True:
            for value in self._batch:
                return value
            try:
                more = await drive(self._refill())
            except BaseException as error:
                traceback_filter.hide(error)
                raise
            if not more:
                raise StopAsyncIteration

    def close(self) -> None:
        """Close the stream: cancel its remaining work and drop the values that were not consumed."""
        self._touched = True
        if not self._ended:
            self._ended = True
            self._stop()
        self._batch = iter(())

    async def aclose(self) -> None:
        """Close the stream, like `close`."""
        self.close()

    def __del__(self) -> None:
        if self._touched:
            self.close()
        elif self._made_by:
            logger.warning(
                "The result of %s%s was not consumed, so the call will never be executed. "
                "Use a for loop or list(...).",
                self._made_by,
                ".aio" if self._by_aio else "",
            )


class Streaming(BoundMethod, Generic[Q, T]):
    """A callable that returns a `Stream`; ``aio`` returns one for ``async for``."""

    if TYPE_CHECKING:

        def __init__(
            self,
            function: Callable[Q, T],
            instance: object = None,
            owner: type | None = None,
        ) -> None:
            self.raw: Callable[Q, T] = function

    def __call__(self, /, *args: Q.args, **kwargs: Q.kwargs) -> T:
        """Return a stream of the results; nothing runs before it is iterated."""
        return self.raw(*args, **kwargs)

    def aio(self, /, *args: Q.args, **kwargs: Q.kwargs) -> T:
        """Return a stream of the results for ``async for``; nothing runs before it is iterated."""
        made = self.raw(*args, **kwargs)
        if isinstance(made, Stream):
            made._by_aio = True
        return made


class streaming(Generic[S, Q, T]):  # noqa: N801 - a decorator
    """Decorate a method that returns a `Stream`: add its ``.aio`` form.

    Args:
        method: The method.
    """

    def __init__(self, method: Callable[Concatenate[S, Q], T]) -> None:
        self._method = method
        functools.update_wrapper(self, method)  # type: ignore[arg-type]

    @overload
    def __get__(self, instance: None, owner: type) -> Streaming[Concatenate[S, Q], T]: ...
    @overload
    def __get__(self, instance: S, owner: type) -> Streaming[Q, T]: ...
    def __get__(self, instance: S | None, owner: type) -> Any:
        if instance is None:
            return Streaming(self._method, owner=owner)
        return Streaming(self._method, instance)
