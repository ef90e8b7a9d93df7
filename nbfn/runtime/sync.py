"""Provides a blocking and an asynchronous form of each operation from one coroutine.

An operation is a coroutine that awaits only `wait` and `callers_loop`. The blocking form steps the
coroutine on the thread of the caller, so it needs no event loop, works while a loop runs, and
handles Ctrl-C. The asynchronous form, ``.aio``, steps the same coroutine from the running asyncio
loop.

Blocking forms are meant for notebook cells: the kernel's event loop waits for the cell anyway. In
the coroutine of a program they block every other task, so they issue an `AsyncUsageWarning` there.
"""

from __future__ import annotations

import asyncio
import builtins
import concurrent.futures
import contextlib
import functools
import inspect
import sys
import threading
import types
import warnings
import weakref
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from nbfn.config import Settings
from nbfn.context import is_local
from nbfn.exception import AsyncUsageWarning, InvalidError
from nbfn.runtime import traceback_filter

S = TypeVar("S")
Q = ParamSpec("Q")
T = TypeVar("T")


#: The exception of a future that is done, or None if it has a result.
Ended = tuple[BaseException | None]

#: Identifiers of the threads that receive answers from the hub. They must not block on an answer.
answering: set[int] = set()


class wait(Generic[T]):  # noqa: N801 - reads as a verb: ``await wait(future)``
    """Await a `concurrent.futures.Future`.

    Args:
        future: The future. Other code may wait for it too; a waiter that gives up does not cancel it.
        timeout: Seconds to wait at most; None for no limit.

    Returns:
        The result of the future.

    Raises:
        builtins.TimeoutError: If the future is not done after ``timeout`` seconds.
        BaseException: The exception of the future, if it has one.
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
            raise error  # not by future.result(), which adds frames of concurrent.futures
        return future.result()


class callers_loop:  # noqa: N801 - reads as a noun: ``await callers_loop()``
    """Await the asyncio event loop that runs the operation.

    Returns:
        The loop; None in the blocking form, which has no loop.
    """

    __slots__ = ()

    def __await__(self) -> Generator[callers_loop, Any, asyncio.AbstractEventLoop | None]:
        return (yield self)  # type: ignore[no-any-return]


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to completion and block this thread meanwhile.

    An exception that interrupts the wait, such as KeyboardInterrupt, is raised inside the coroutine,
    which may handle it.

    Args:
        coroutine: A coroutine that awaits only `wait` and `callers_loop`.

    Returns:
        The result of the coroutine.
    """
    __tracebackhide__ = True
    try:
        waiting = coroutine.send(None)
        while True:
            try:
                ended = None if isinstance(waiting, callers_loop) else _block(waiting)
            except BaseException as interrupt:  # noqa: BLE001 - usually KeyboardInterrupt
                waiting = coroutine.throw(interrupt)
            else:
                waiting = coroutine.send(ended)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def raisable(error: BaseException, source: str) -> BaseException:
    """Return an exception that a coroutine or generator can raise in place of an error of user code.

    Python does not let a coroutine or generator raise StopIteration or StopAsyncIteration. Those are
    wrapped in a RuntimeError; any other error is returned unchanged.

    Args:
        error: The error.
        source: The code that raised it, as the subject of the message.

    Returns:
        The error, or a RuntimeError whose ``__cause__`` is the error.
    """
    if not isinstance(error, (StopIteration, StopAsyncIteration)):
        return error
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    stand_in = RuntimeError(f"{source} raised {text}")
    stand_in.__cause__ = error
    stand_in.__dict__["_stands_in"] = True
    return stand_in


def original(error: BaseException) -> BaseException:
    """Return the error that `raisable` wrapped; an error that it did not wrap is returned unchanged."""
    stands_in = error.__dict__.get("_stands_in", False)
    return error.__cause__ if stands_in and error.__cause__ is not None else error


def _block(waiting: wait[Any]) -> Ended | None:
    """Wait for a future on this thread.

    Returns:
        A tuple with the exception of the future, or with None if it has a result. None instead of a
        tuple after a time-out or a cancellation; `wait` then checks whether the future is done.
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
        return None  # `wait` checks the future


async def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to completion from an asyncio event loop.

    An exception that interrupts the wait, such as CancelledError, is raised inside the coroutine,
    which may handle it.

    Args:
        coroutine: A coroutine that awaits only `wait` and `callers_loop`.

    Returns:
        The result of the coroutine.
    """
    __tracebackhide__ = True
    try:
        waiting = coroutine.send(None)
        while True:
            if isinstance(waiting, callers_loop):
                waiting = coroutine.send(asyncio.get_running_loop())
                continue
            try:
                await _arrival(waiting)
            except BaseException as interrupt:  # noqa: BLE001 - usually CancelledError
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


#: Seconds between two wake-ups of the main thread's event loop while an operation is awaited on it.
PULSE = 0.25

_awaiting: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, int] = weakref.WeakKeyDictionary()
_beating: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


@contextlib.contextmanager
def _hearing(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Wake the main thread's loop periodically, so that it processes an interrupt.

    The signal handler of ipykernel cancels the task of the cell, but does not wake its loop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread handles signals
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
    """Warn that a blocking form blocks the running event loop, except in a notebook cell.

    A notebook cell always runs inside an event loop, and blocking it there is intended.
    """
    ipython = sys.modules.get("IPython")
    # A worker also has an IPython shell, for displays, but it is not a notebook.
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


#: Attributes that describe the parameters of a callable. They are read from the wrapped function.
_DESCRIPTIVE = frozenset({"__annotations__", "__globals__", "__type_params__"})


class BoundMethod:
    """Base of callables that are copied, pickled, compared and inspected like bound methods.

    Other attributes of the function are not visible here: the function may be a coroutine function,
    and inspection must not take this callable for one.

    Args:
        function: The function to call, with ``instance`` as the first argument if there is one.
        instance: The object that the method was looked up on; None for a lookup on the class.
        owner: The class that the method was looked up on, if it was not looked up on an instance.

    Attributes:
        raw: The function, bound to the instance if there is one. Other operations await it directly.
    """

    def __init__(
        self, function: Callable[..., Any], instance: object = None, owner: type | None = None
    ) -> None:
        self.__func__ = function
        self.__self__ = instance
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__module__ = function.__module__
        self.raw: Any = function if instance is None else types.MethodType(function, instance)
        self._owner = owner

    def __set_name__(self, owner: type, name: str) -> None:
        """Use the name of the class attribute that holds this callable."""
        self._owner = owner
        self.__name__ = name
        self.__qualname__ = f"{owner.__qualname__}.{name}"
        self.__module__ = owner.__module__

    def __getattr__(self, name: str) -> Any:
        if name == "__signature__":
            return self._signature()
        if name in _DESCRIPTIVE:
            return getattr(self._described() or self.__func__, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _described(self) -> Callable[..., Any] | None:
        """Return the function that receives the parameters unchanged; None if there is no such function."""
        if self.__func__.__annotations__.get("args") == "P.args":
            return getattr(self.__self__, "__wrapped__", None)
        return None

    def _signature(self) -> inspect.Signature:
        own = inspect.signature(self.__func__)
        described = self._described()
        if described is None:
            skipped = 0 if self.__self__ is None else 1
            return own.replace(parameters=list(own.parameters.values())[skipped:])
        theirs = inspect.signature(described)
        if own.return_annotation == "R":  # the return type of the wrapped function
            return theirs
        return theirs.replace(return_annotation=own.return_annotation)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundMethod):
            return NotImplemented
        return self.__func__ is other.__func__ and self.__self__ is other.__self__

    def __hash__(self) -> int:
        return hash((self.__func__, id(self.__self__)))

    def __reduce__(self) -> str | tuple[Any, ...]:
        holder = self._owner if self.__self__ is None else self.__self__
        return self.__qualname__ if holder is None else (getattr, (holder, self.__name__))

    def __repr__(self) -> str:
        if self.__self__ is None:
            return f"<function {self.__qualname__}>"
        return f"<method {type(self.__self__).__name__}.{self.__name__} of {self.__self__!r}>"


class Blocking(BoundMethod, Generic[Q, T]):
    """A callable that blocks; its ``aio`` method does the same without blocking the event loop."""

    if TYPE_CHECKING:

        def __init__(
            self,
            function: Callable[Q, Coroutine[Any, Any, T]],
            instance: object = None,
            owner: type | None = None,
        ) -> None:
            self.raw: Callable[Q, Coroutine[Any, Any, T]] = function

    def __call__(self, /, *args: Q.args, **kwargs: Q.kwargs) -> T:
        """Run the operation, block until it is done, and return its result."""
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
        """Run the operation without blocking the running event loop, and return its result."""
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
    """Decorate an ``async def`` method: calling it blocks, and its ``.aio`` form is awaited.

    Both forms exist on instances and on the class.

    Args:
        method: A coroutine function that awaits only `wait` and `callers_loop`.

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
