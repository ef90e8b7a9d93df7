"""Interrupts plain functions that handle a web request in threads of a web framework.

A thread cannot be stopped from outside, but an exception can be raised in it. The exception takes effect when the
thread runs Python code, so not while it waits in C code.
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
    """The threads that handle one request; created on the worker's loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._threads: set[int] = set()
        self._thread_ended = asyncio.Event()

    def __enter__(self) -> None:
        with self._lock:
            self._threads.add(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads.discard(threading.get_ident())
            _raise(
                threading.get_ident(), None
            )  # a late exception must not hit the thread's next job
        self._loop.call_soon_threadsafe(self._thread_ended.set)

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a function in the calling thread, which `interrupt` can then interrupt."""
        with self:
            return function(*args)

    async def interrupt(self, within: float) -> bool:
        """Raise `InputCancellation` in all threads; return whether they have ended ``within`` seconds."""
        with self._lock:
            for thread in self._threads:
                _raise(thread, InputCancellation)
        try:
            async with asyncio.timeout(within):
                while self._threads:
                    self._thread_ended.clear()
                    await self._thread_ended.wait()
        except TimeoutError:
            return False
        return True


def _raise(thread: int, what: type[BaseException] | None) -> None:
    """Raise an exception in a thread as soon as it runs Python code; None clears a pending one."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if what is None else ctypes.py_object(what)
    )


#: The threads of the current request; also set in the threads of anyio and a2wsgi.
threaded_handlers: ContextVar[ThreadedHandlers] = ContextVar("nbfn_threaded_handlers")


@functools.cache
def track_anyio_threads() -> None:
    """Track functions that anyio runs in threads, as FastAPI and Starlette do for plain functions."""
    try:
        from anyio import to_thread
    except ImportError:
        return
    run_sync = to_thread.run_sync

    @functools.wraps(run_sync)
    async def tracked(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if (handlers := threaded_handlers.get(None)) is None:
            return await run_sync(function, *args, **options)
        return await run_sync(handlers.run, function, *args, **options)

    to_thread.run_sync = tracked  # type: ignore[assignment] # a simpler signature


def track_wsgi_app(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterator[bytes]]:
    """Wrap a WSGI app, to track its thread from the call to the end of the response body."""

    def tracked(environ: Any, start_response: Any) -> Iterator[bytes]:
        with threaded_handlers.get():
            body = app(environ, start_response)
            try:
                yield from body
            finally:
                getattr(body, "close", lambda: None)()

    return tracked
