"""`Stream`: values that come in batches, for plain and for async loops; as `nbfn.runtime.sync` is for single ones."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from nbfn.runtime import traceback_filter
from nbfn.runtime.bound import BoundMethod
from nbfn.runtime.sync import drive, run

logger = logging.getLogger("nbfn.client")

S = TypeVar("S")
Q = ParamSpec("Q")
T = TypeVar("T")


class Stream(Generic[T]):
    """Values that come in batches, for ``for``, ``next()`` and ``async for``; single use.

    A subclass says where a batch comes from (`_more`) and how to give up (`_stop`). Leaving a loop
    over it early closes it.
    """

    #: What made it, for the warning that it was forgotten; empty where that does no harm.
    _made_by = ""
    _by_aio = False
    _touched = False
    _batch: Iterator[T] = iter(())
    _ended = False

    async def _more(self) -> list[T]:
        """Return the next values, at least one; raise StopAsyncIteration at the end."""
        raise NotImplementedError

    def _stop(self) -> None:
        """Give up: called once, by an early close. Must not block."""

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
        """End it: nothing more comes out, and what was under way for it is cancelled."""
        self._touched = True
        if not self._ended:
            self._ended = True
            self._stop()
        self._batch = iter(())

    async def aclose(self) -> None:
        """End it, as `close`."""
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
    """A callable whose result can be iterated with ``for`` and with ``async for``; ``aio`` is the same callable."""

    if TYPE_CHECKING:

        def __init__(
            self,
            function: Callable[Q, T],
            instance: object = None,
            owner: type | None = None,
        ) -> None:
            self.raw: Callable[Q, T] = function

    def __call__(self, /, *args: Q.args, **kwargs: Q.kwargs) -> T:
        """Return the lazy result."""
        return self.raw(*args, **kwargs)

    def aio(self, /, *args: Q.args, **kwargs: Q.kwargs) -> T:
        """Return the lazy result, for ``async for``."""
        made = self.raw(*args, **kwargs)
        if isinstance(made, Stream):
            made._by_aio = True
        return made


class streaming(Generic[S, Q, T]):  # noqa: N801 - a decorator
    """Give a method that returns a `Stream` an ``.aio`` twin."""

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
