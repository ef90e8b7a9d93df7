"""One body for the blocking and the async form of an operation.

An operation is written once, as a coroutine that awaits nothing but `wait(future)`. The blocking
form steps that coroutine by hand on the caller's own thread, so it needs no event loop, works
inside a running one and handles Ctrl-C; ``.aio`` steps the same coroutine from the caller's asyncio
loop. Nothing here knows what is being waited for.

Blocking forms are welcome in a notebook's cell, whose loop waits for it anyway. In a program's own
coroutine they hold up everything else, so there they warn (`AsyncUsageWarning`).
"""

from __future__ import annotations

import asyncio
import builtins
import concurrent.futures
import contextlib
import functools
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from nbfn.config import Settings
from nbfn.context import is_local
from nbfn.exception import AsyncUsageWarning, InvalidError
from nbfn.runtime import traceback_filter
from nbfn.runtime.bound import BoundMethod

S = TypeVar("S")
Q = ParamSpec("Q")
T = TypeVar("T")


#: The exception that a future ended with, or None.
Ended = tuple[BaseException | None]

#: Threads that receive what others wait for.
answering: set[int] = set()


class wait(Generic[T]):  # noqa: N801 - reads as a verb: ``await wait(future)``
    """Await a `concurrent.futures.Future`.

    Args:
        future: What to wait for. It may have other waiters: none of them cancels it.
        timeout: Seconds after which the builtin ``TimeoutError`` is raised.
    """

    __slots__ = ("future", "timeout")

    def __init__(self, future: concurrent.futures.Future[T], timeout: float | None = None) -> None:
        self.future = future
        self.timeout = timeout

    def __await__(self) -> Generator[wait[T], Ended | None, T]:
        __tracebackhide__ = True
        future, ended = self.future, None
        if not future.done():
            ended = yield self
            if ended is None and not future.done():
                raise builtins.TimeoutError
        error = future.exception() if ended is None else ended[0]
        if error is not None:
            raise error  # here, so that no frame of concurrent.futures is in the traceback
        return future.result()


class callers_loop:  # noqa: N801 - reads as a noun: ``await callers_loop()``
    """Await the event loop that the caller leaves free meanwhile; None in a blocking form."""

    __slots__ = ()

    def __await__(self) -> Generator[callers_loop, Any, asyncio.AbstractEventLoop | None]:
        return (yield self)  # type: ignore[no-any-return]


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on this thread, blocking; an interrupt is raised inside it first."""
    __tracebackhide__ = True
    try:
        waiting = coroutine.send(None)
        while True:
            try:
                ended = None if isinstance(waiting, callers_loop) else _block(waiting)
            except BaseException as interrupt:  # noqa: BLE001 - KeyboardInterrupt above all
                waiting = coroutine.throw(interrupt)
            else:
                waiting = coroutine.send(ended)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def raisable(error: BaseException, source: str) -> BaseException:
    """Return what a coroutine or generator can raise in place of an error of the user's.

    Python lets neither raise StopIteration or StopAsyncIteration, which would end a loop silently.

    Args:
        error: The error.
        source: What raised it, as the beginning of a sentence.
    """
    if not isinstance(error, (StopIteration, StopAsyncIteration)):
        return error
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    stand_in = RuntimeError(f"{source} raised {text}")
    stand_in.__cause__ = error
    stand_in.__dict__["_stands_in"] = True
    return stand_in


def original(error: BaseException) -> BaseException:
    """Return the error that a `raisable` one stands for."""
    stands_in = error.__dict__.get("_stands_in", False)
    return error.__cause__ if stands_in and error.__cause__ is not None else error


def _block(waiting: wait[Any]) -> Ended | None:
    """Wait for a future on this thread.

    Returns:
        Its exception, in a tuple; None if it is perhaps not done.
    """
    __tracebackhide__ = True
    if threading.get_ident() in answering:
        raise InvalidError(
            "A blocking method of nbfn was called on the thread that receives its answers, as a logging handler does "
            "that gets records of remote code. Call it in a thread of your own (logging.handlers.QueueListener)."
        )
    try:
        return (waiting.future.exception(waiting.timeout),)
    except (builtins.TimeoutError, concurrent.futures.CancelledError):
        return None  # `wait` looks at the future itself


async def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end from an asyncio loop; a cancellation is raised inside it first."""
    __tracebackhide__ = True
    try:
        waiting = coroutine.send(None)
        while True:
            if isinstance(waiting, callers_loop):
                waiting = coroutine.send(asyncio.get_running_loop())
                continue
            try:
                await _arrival(waiting)
            except BaseException as interrupt:  # noqa: BLE001 - CancelledError above all
                waiting = coroutine.throw(interrupt)
            else:
                waiting = coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def _arrival(waiting: wait[Any]) -> None:
    loop = asyncio.get_running_loop()
    arrived = loop.create_future()

    def resolve() -> None:
        if not arrived.done():
            arrived.set_result(None)

    def tell(_: object) -> None:
        try:
            loop.call_soon_threadsafe(resolve)
        except RuntimeError:
            pass  # the loop was closed, so nothing waits for the result

    waiting.future.add_done_callback(tell)
    with _hearing(loop):
        await asyncio.wait([arrived], timeout=waiting.timeout)


#: Seconds between two looks of a main thread's loop while something of ours is awaited on it.
PULSE = 0.25

_awaiting: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, int] = weakref.WeakKeyDictionary()
_beating: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


@contextlib.contextmanager
def _hearing(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Wake a loop for an interrupt: ipykernel's handler cancels the cell's task without waking its loop."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled elsewhere
        return
    _awaiting[loop] = _awaiting.get(loop, 0) + 1
    if loop not in _beating:
        _beating.add(loop)
        loop.call_later(PULSE, _beat, loop)
    try:
        yield
    finally:
        _awaiting[loop] -= 1


def _beat(loop: asyncio.AbstractEventLoop) -> None:
    if _awaiting.get(loop):
        loop.call_later(PULSE, _beat, loop)
    else:
        _beating.discard(loop)


def _tell_of_the_loop(name: str) -> None:
    """Warn of blocking an event loop; in a notebook's cell, where one always runs, that is what is meant."""
    ipython = sys.modules.get("IPython")
    # A worker has an IPython shell for its displays, and is no notebook.
    if is_local() and ipython is not None and ipython.get_ipython():
        return
    if not Settings.load().async_warnings:
        return
    warnings.warn(
        f".{name}(...) blocks the event loop that runs here: write 'await ….{name}.aio(...)' instead "
        "(NBFN_ASYNC_WARNINGS=0 for no such warnings).",
        AsyncUsageWarning,
        stacklevel=3,
    )


class Blocking(BoundMethod, Generic[Q, T]):
    """A callable that blocks; its ``aio`` does the same without blocking the running event loop."""

    if TYPE_CHECKING:

        def __init__(
            self,
            function: Callable[Q, Coroutine[Any, Any, T]],
            instance: object = None,
            owner: type | None = None,
        ) -> None:
            self.raw: Callable[Q, Coroutine[Any, Any, T]] = function

    def __call__(self, /, *args: Q.args, **kwargs: Q.kwargs) -> T:
        """Do it and return when it is done."""
        __tracebackhide__ = True
        if asyncio._get_running_loop() is not None:
            _tell_of_the_loop(self.__name__)
        try:
            return run(self.raw(*args, **kwargs))
        except BaseException as error:
            traceback_filter.hide(error)
            if (own := original(error)) is not error:
                raise own from own.__cause__
            raise

    async def aio(self, /, *args: Q.args, **kwargs: Q.kwargs) -> T:
        """Do it, awaited."""
        __tracebackhide__ = True
        try:
            return await drive(self.raw(*args, **kwargs))
        except BaseException as error:
            traceback_filter.hide(error)
            own = original(error)
            if isinstance(own, StopAsyncIteration):
                raise own from own.__cause__
            raise


class blocking(Generic[S, Q, T]):  # noqa: N801 - a decorator
    """Make an ``async def`` method a blocking one with an ``.aio`` twin, on instances and on the class.

    Examples:
        >>> class Clock:
        ...     @blocking
        ...     async def tick(self, times: int) -> str:
        ...         return "tick" * times
        >>> Clock().tick(2)
        'ticktick'
    """

    def __init__(self, method: Callable[Concatenate[S, Q], Coroutine[Any, Any, T]]) -> None:
        self._method = method
        functools.update_wrapper(self, method)  # type: ignore[arg-type]

    @overload
    def __get__(self, instance: None, owner: type) -> Blocking[Concatenate[S, Q], T]: ...
    @overload
    def __get__(self, instance: S, owner: type) -> Blocking[Q, T]: ...
    def __get__(self, instance: S | None, owner: type) -> Any:
        if instance is None:
            return Blocking(self._method, owner=owner)
        return Blocking(self._method, instance)
