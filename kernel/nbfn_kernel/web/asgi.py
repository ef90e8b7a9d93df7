"""Runs web endpoints in a worker: creates the ASGI app, runs its lifespan, and answers each request by a generator.

An input is a packed request, and its items are the events that the app sends. The rest of the request arrives through
`request_stream`, within the limit that this module sets. Web frameworks are imported only when an endpoint that needs
them is loaded.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import socket
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from nbfn.exception import ExecutionError, InputCancellation
from nbfn.protocol import web_events
from nbfn.protocol.messages import Endpoint, Payload
from nbfn.protocol.web_events import Event
from nbfn.serialization.remote_exception import format_exception
from nbfn_kernel.web.request_stream import RequestStream, request_stream

Scope = dict[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Event]], Callable[[Event], Awaitable[None]]], Any]

#: The largest number of sent events that have not been taken.
PENDING = 8
#: The number of threads of a WSGI app.
WSGI_THREADS = 10
#: Seconds between checks whether a server listens.
POLL_INTERVAL = 0.02
#: Seconds that an app has to end a request after its client has disconnected.
DISCONNECT_GRACE = 2.0
#: Seconds that plain functions have to end when their request is cancelled.
STOP_GRACE = 1.0
#: Seconds that an app's shutdown may take.
SHUTDOWN = 10.0


#: Packages that call a handler; their frames are removed from its tracebacks.
FRAMEWORKS = frozenset({"nbfn_kernel", "starlette", "fastapi", "anyio", "a2wsgi", "asyncio"})


class WebEndpoint:
    """A web endpoint that is loaded in a worker.

    Args:
        name: The name of the Function or method.
        endpoint: The endpoint's kind and options.
        function: The decorated function; for a method, bound.
    """

    def __init__(self, name: str, endpoint: Endpoint, function: Callable[..., Any]) -> None:
        #: Ends the worker at once; the hub runs its other inputs on other workers.
        self.abort: Callable[[], object] = lambda: None
        self._name = name
        self._endpoint = endpoint
        self._function = function
        self._app: App | None = None
        self._lifespan: _Lifespan | None = None

    def make(self) -> None:
        """Create the app by calling the function, or start the server; called on the main thread, outside of a loop.

        Raises:
            ExecutionError: If a package is missing, or the function returned no app.
            Exception: Any exception that the user's code raises.
        """
        track_anyio_threads()
        self._app = _MAKERS[self._endpoint.kind](self._name, self._endpoint, self._function)

    async def start(self) -> None:
        """Run the app's start-up, on the loop that will serve it.

        Raises:
            ExecutionError: If the app reports that its start-up failed.
        """
        assert self._app is not None
        self._lifespan = _Lifespan(self._name, self._app)
        await self._lifespan.start()

    async def stop(self) -> None:
        """Run the app's shutdown."""
        if self._lifespan is not None:
            await self._lifespan.stop()

    async def serve(self, data: bytes) -> AsyncIterator[Payload]:
        """Answer one request; yield the events that the app sends, packed.

        When it is cancelled, plain functions that handle the request in threads are interrupted. If one does not end,
        the worker is aborted.
        """
        handlers = ThreadedHandlers()
        threaded_handlers.set(handlers)
        request = web_events.unpack_request(data)
        exchange = _Exchange(request)
        assert self._app is not None
        assert self._lifespan is not None
        scope = _scope(request, self._lifespan.state)
        running = asyncio.create_task(_run(self._app, scope, exchange))
        cancelling = asyncio.create_task(_cancel_when_gone(request_stream.get(), running))
        try:
            while events := await exchange.next_events():
                yield web_events.pack_events(events)
            await asyncio.wait([running])
            if not running.cancelled():
                running.result()
        except (asyncio.CancelledError, GeneratorExit):
            running.cancel()
            if not await handlers.interrupt(STOP_GRACE):
                self.abort()
            raise
        finally:
            running.cancel()
            cancelling.cancel()
            await asyncio.gather(running, cancelling, return_exceptions=True)


async def _run(app: App, scope: Scope, exchange: _Exchange) -> None:
    try:
        await app(scope, exchange.receive, exchange.send)
    except Exception as error:
        # The client gets no more than a 500.
        sys.stderr.write(format_exception(error, hide=_frameworks(error)))
        raise
    except (SystemExit, KeyboardInterrupt) as error:
        # These exceptions would end the event loop, and with it the other requests.
        sys.stderr.write(format_exception(error, hide=_frameworks(error)))
        raise ExecutionError(f"The app raised {type(error).__name__}.") from error
    finally:
        exchange.finish()


def _frameworks(error: BaseException) -> frozenset[str]:
    """Return the modules in an error's traceback that belong to `FRAMEWORKS`."""
    modules = {
        str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)
    }
    return frozenset(name for name in modules if name.partition(".")[0] in FRAMEWORKS)


async def _cancel_when_gone(stream: RequestStream, running: asyncio.Task[None]) -> None:
    """Cancel the task of a request `DISCONNECT_GRACE` seconds after its client has disconnected."""
    await stream.gone.wait()
    await asyncio.sleep(DISCONNECT_GRACE)
    running.cancel()


class _Exchange:
    """The events of one request, to the app and from it."""

    def __init__(self, request: web_events.Request) -> None:
        self._kind = request.type
        self._request_stream = request_stream.get()
        self._disconnected = False
        self._first_event: Event | None = (
            {"type": "http.request", "body": request.body, "more_body": request.more}
            if request.type == "http"
            else {"type": "websocket.connect"}
        )
        self._received = 0
        self._response_start: Event | None = (
            None  # delayed, to be sent together with the first part of the body
        )
        self._to_caller: asyncio.Queue[tuple[Event, ...]] = asyncio.Queue()
        self._send_slots = asyncio.Semaphore(PENDING)
        if request.more:
            self._request_stream.allow(web_events.WINDOW)

    async def receive(self) -> Event:
        """Act as the app's ``receive``."""
        if self._first_event is not None:
            first, self._first_event = self._first_event, None
            return first
        data = b"" if self._disconnected else await self._next()
        if not data:
            self._disconnected = True
            if self._kind == "http":
                return {"type": "http.disconnect"}
            return {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        event = web_events.unpack_piece(data)
        self._disconnected = event["type"] == "websocket.disconnect"
        return event

    async def _next(self) -> bytes:
        data = await self._request_stream.get()
        if data:
            self._received += 1
            if self._received % (web_events.WINDOW // 2) == 0:
                self._request_stream.allow(self._received + web_events.WINDOW)
        return data

    async def send(self, event: Event) -> None:
        """Act as the app's ``send``.

        Raises:
            ValueError: If a WebSocket message is too large.
        """
        kind = event["type"]
        if kind in ("http.response.start", "websocket.http.response.start"):
            self._response_start = _normalise(event)
            asyncio.get_running_loop().call_soon(self._send_start)
            return
        if kind == "websocket.send":
            _check_size(event)
        if self._request_stream.gone.is_set():
            return  # the client has disconnected
        for part in _split_body(_normalise(event)):
            await self._send_slots.acquire()
            response_start, self._response_start = self._response_start, None
            self._to_caller.put_nowait(
                (part,) if response_start is None else (response_start, part)
            )

    def _send_start(self) -> None:
        response_start, self._response_start = self._response_start, None
        if response_start is not None:
            self._to_caller.put_nowait((response_start,))

    def finish(self) -> None:
        """Mark the end of the app's events."""
        self._send_start()
        self._to_caller.put_nowait(())

    async def next_events(self) -> tuple[Event, ...]:
        """Return the next events of the app; an empty tuple at the end."""
        events = await self._to_caller.get()
        self._send_slots.release()
        return events


def _normalise(event: Event) -> Event:
    """Convert the headers and the body of an event to bytes and tuples."""
    event = dict(event)
    if "headers" in event:
        event["headers"] = [(bytes(name), bytes(value)) for name, value in event["headers"]]
    if isinstance(event.get("body"), bytearray | memoryview):
        event["body"] = bytes(event["body"])
    return event


def _check_size(event: Event) -> None:
    """Check that the caller can receive a WebSocket message."""
    data = event.get("bytes") or (event.get("text") or "").encode()
    if len(data) > web_events.LARGEST:
        raise ValueError(f"A WebSocket message may have at most {web_events.LARGEST} bytes.")


def _split_body(event: Event) -> list[Event]:
    """Split a body that is too large for one message."""
    body = event.get("body", b"")
    if len(body) <= web_events.PIECE:
        return [event]
    starts = range(0, len(body), web_events.PIECE)
    parts = [{**event, "body": body[s : s + web_events.PIECE], "more_body": True} for s in starts]
    parts[-1]["more_body"] = event.get("more_body", False)
    return parts


def _scope(request: web_events.Request, state: dict[str, Any]) -> Scope:
    scope: Scope = {
        "type": request.type,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.http_version,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.raw_path,
        "root_path": request.root_path,
        "query_string": request.query_string,
        "headers": [(name, value) for name, value in request.headers],
        "client": request.client,
        "server": request.server,
        "state": dict(state),
    }
    if request.type == "http":
        scope["method"] = request.method
    else:
        scope["subprotocols"] = list(request.subprotocols)
        scope["extensions"] = {"websocket.http.response": {}} if request.denial else {}
    return scope


class _Lifespan:
    """The lifespan of an app: its start-up and shutdown. An app may support neither."""

    def __init__(self, name: str, app: App) -> None:
        self.state: dict[str, Any] = {}
        self._name = name
        self._app = app
        self._to_app: asyncio.Queue[Event] = asyncio.Queue()
        self._from_app: asyncio.Queue[Event] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())
        self._to_app.put_nowait({"type": "lifespan.startup"})
        reply = await self._from_app.get()
        if reply["type"] == "lifespan.startup.failed":
            reasons = reply.get("message", "").strip().splitlines()
            raise ExecutionError(
                f"The app of {self._name!r} failed to start up: {reasons[-1] if reasons else 'it gave no reason'}."
            )

    async def stop(self) -> None:
        if self._task is not None and not self._task.done():
            self._to_app.put_nowait({"type": "lifespan.shutdown"})
            try:
                async with asyncio.timeout(SHUTDOWN):
                    await self._from_app.get()
                    await self._task
            except TimeoutError:
                pass

    async def _run(self) -> None:
        scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        with contextlib.suppress(Exception):  # raised by apps without a lifespan
            await self._app(scope, self._to_app.get, self._from_app.put)
        self._from_app.put_nowait({"type": "ended"})


# --- the app of each kind of endpoint ---------------------------------------------------------------


def _fastapi(name: str, endpoint: Endpoint, function: Callable[..., Any]) -> App:
    try:
        import fastapi
        from fastapi.middleware.cors import CORSMiddleware
    except ImportError as error:
        raise _missing_package(name, "fastapi", error) from None
    app = fastapi.FastAPI(
        title=name,
        openapi_url="/openapi.json" if endpoint.docs else None,
        docs_url="/docs" if endpoint.docs else None,
        redoc_url="/redoc" if endpoint.docs else None,
    )
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_credentials=True,
        allow_methods=["*"],
        allow_headers=["*"],
    )
    app.add_api_route("/", function, methods=[endpoint.method])
    return app  # type: ignore[return-value] # its events are mutable mappings


def _asgi(name: str, _endpoint: Endpoint, function: Callable[..., Any]) -> App:
    app = function()
    if not callable(app):
        raise ExecutionError(f"{name!r} returned {type(app).__name__!r}, which is not an ASGI app.")
    return app  # type: ignore[no-any-return]


def _wsgi(name: str, _endpoint: Endpoint, function: Callable[..., Any]) -> App:
    try:
        import a2wsgi
    except ImportError as error:
        raise _missing_package(name, "a2wsgi", error) from None
    app = function()
    if not callable(app):
        raise ExecutionError(f"{name!r} returned {type(app).__name__!r}, which is not a WSGI app.")
    bridge = a2wsgi.WSGIMiddleware(track_wsgi_app(app), workers=WSGI_THREADS)

    async def http_only(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await bridge(scope, receive, send)  # type: ignore[arg-type]
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    return http_only


def _server(name: str, endpoint: Endpoint, function: Callable[..., Any]) -> App:
    try:
        from nbfn_kernel.web.http_proxy import HttpProxy
    except ImportError as error:
        raise _missing_package(name, "httpx and websockets", error) from None
    port, within = endpoint.port, endpoint.startup_timeout
    if not _wait_for(
        port, within, listening=False
    ):  # the server of an older version may be shutting down
        raise ExecutionError(
            f"Port {port} of {name!r} is in use on this machine. Pass another port to @nbfn.web_server(...)."
        )
    function()
    if not _wait_for(port, within, listening=True):
        raise ExecutionError(
            f"The server of {name!r} did not listen on port {port} within {within:g} s. "
            "Pass the port that it listens on, or a longer startup_timeout, to @nbfn.web_server(...)."
        )
    return HttpProxy(port)


def _wait_for(port: int, within: float, *, listening: bool) -> bool:
    until = time.monotonic() + within
    while _listens(port) is not listening:
        if time.monotonic() > until:
            return False
        time.sleep(POLL_INTERVAL)
    return True


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _missing_package(name: str, what: str, error: ImportError) -> ExecutionError:
    return ExecutionError(
        f"Web endpoint {name!r} needs {what} in the Python of its workers ({sys.executable}): {error}. "
        "Install it there: pip install 'nbfn[web]'."
    )


_MAKERS: dict[str, Callable[[str, Endpoint, Callable[..., Any]], App]] = {
    "fastapi": _fastapi,
    "asgi": _asgi,
    "wsgi": _wsgi,
    "server": _server,
}


# --- handlers in threads -------------------------------------------------------------------------


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
