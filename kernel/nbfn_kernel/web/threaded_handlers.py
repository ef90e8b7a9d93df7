"""`ThreadedHandlers`: plain functions that answer a web request, in threads that a framework has for them.

A thread cannot be stopped from outside, but an exception can be raised in it. It takes effect when the thread runs
Python code again, so not while it waits in C code.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from nbfn.exception import InputCancellation


class ThreadedHandlers:
    """The functions that answer one request; made on the worker's loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._threads: set[int] = set()
        self._left = asyncio.Event()

    def __enter__(self) -> None:
        with self._lock:
            self._threads.add(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads.discard(threading.get_ident())
            _raise(threading.get_ident(), None)  # what came too late is not for who has it next
        self._loop.call_soon_threadsafe(self._left.set)

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a function, in its thread."""
        with self:
            return function(*args)

    async def interrupt(self, within: float) -> bool:
        """Raise `InputCancellation` in all that run; return whether they have ended ``within`` seconds."""
        with self._lock:
            for thread in self._threads:
                _raise(thread, InputCancellation)
        try:
            async with asyncio.timeout(within):
                while self._threads:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            return False
        return True


def _raise(thread: int, what: type[BaseException] | None) -> None:
    """Have something raised in a thread as soon as it runs Python code; None takes that back."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if what is None else ctypes.py_object(what)
    )


#: Of the request that is answered; threads that anyio and a2wsgi have for it know it, too.
threaded_handlers: ContextVar[ThreadedHandlers] = ContextVar("nbfn_threaded_handlers")


@functools.cache
def note_threads() -> None:
    """Note what runs in threads of anyio, which FastAPI and Starlette have for plain functions."""
    try:
        from anyio import to_thread
    except ImportError:
        return
    run_sync = to_thread.run_sync

    @functools.wraps(run_sync)
    async def noted(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if (mine := threaded_handlers.get(None)) is None:
            return await run_sync(function, *args, **options)
        return await run_sync(mine.run, function, *args, **options)

    to_thread.run_sync = noted  # type: ignore[assignment] # in a few words


def noted_wsgi(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterator[bytes]]:
    """Note what a WSGI app does, from its call to the end of its body."""

    def noted(environ: Any, start_response: Any) -> Iterator[bytes]:
        with threaded_handlers.get():
            body = app(environ, start_response)
            try:
                yield from body
            finally:
                getattr(body, "close", lambda: None)()

    return noted
