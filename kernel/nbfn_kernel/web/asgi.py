"""Web endpoints in a worker: makes an endpoint's ASGI app, runs its lifespan, and answers a request as a generator.

An input is a packed request; its items are what the app sends. The rest of the request arrives through
`request_stream`, as far as this end asks for it. Web frameworks are imported here only, when a function that needs
one is loaded.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from nbfn.exception import ExecutionError
from nbfn.protocol import web_events
from nbfn.protocol.messages import Endpoint, Payload
from nbfn.protocol.web_events import Event
from nbfn.serialization.remote_exception import format_exception
from nbfn_kernel.web.request_stream import RequestStream, request_stream
from nbfn_kernel.web.threaded_handlers import (
    ThreadedHandlers,
    note_threads,
    noted_wsgi,
    threaded_handlers,
)

Scope = dict[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Event]], Callable[[Event], Awaitable[None]]], Any]

#: Events that an app may have sent and nobody has taken yet.
PENDING = 8
#: Threads in which a WSGI app runs.
WSGI_THREADS = 10
#: Seconds between two looks whether a server has begun to listen.
LOOK = 0.02
#: Seconds an app has to end a request by itself once it can know that its client is gone.
LEAVE_GRACE = 2.0
#: Seconds that plain functions have to end when their request is told to stop.
STOP_GRACE = 1.0
#: Seconds an app's shutdown may take.
SHUTDOWN = 10.0


#: Packages that call a handler; their frames above it are not shown.
FRAMEWORKS = frozenset({"nbfn_kernel", "starlette", "fastapi", "anyio", "a2wsgi", "asyncio"})


class WebEndpoint:
    """One endpoint in a worker.

    Args:
        name: Of the Function or method.
        endpoint: How it answers.
        function: What the user wrote; bound, for a method.
    """

    def __init__(self, name: str, endpoint: Endpoint, function: Callable[..., Any]) -> None:
        #: Ends the worker: set by who has others do what it leaves.
        self.leave: Callable[[], object] = lambda: None
        self._name = name
        self._endpoint = endpoint
        self._function = function
        self._app: App | None = None
        self._lifespan: _Lifespan | None = None

    def make(self) -> None:
        """Make the app: call the function, or start the server. On the main thread, with no loop running.

        Raises:
            ExecutionError: If what it needs is not there.
            Exception: What the user's code raised.
        """
        note_threads()
        self._app = _MAKERS[self._endpoint.kind](self._name, self._endpoint, self._function)

    async def start(self) -> None:
        """Have the app start up, on the loop that will serve it.

        Raises:
            ExecutionError: If it says that it cannot.
        """
        assert self._app is not None
        self._lifespan = _Lifespan(self._name, self._app)
        await self._lifespan.start()

    async def stop(self) -> None:
        """Have the app shut down."""
        if self._lifespan is not None:
            await self._lifespan.stop()

    async def serve(self, data: bytes) -> AsyncIterator[Payload]:
        """Answer one request: yield what the app sends, in bundles.

        When it is told to stop, so are plain functions that work for it in threads. One that does not hear
        of it goes with its worker.
        """
        at_work = ThreadedHandlers()
        threaded_handlers.set(at_work)
        request = web_events.unpack_request(data)
        exchange = _Exchange(request)
        assert self._app is not None
        assert self._lifespan is not None
        scope = _scope(request, self._lifespan.state)
        running = asyncio.create_task(_run(self._app, scope, exchange))
        leaving = asyncio.create_task(_leave(request_stream.get(), running))
        try:
            while events := await exchange.sent():
                yield web_events.pack_events(events)
            await asyncio.wait([running])
            if not running.cancelled():
                running.result()
        except (asyncio.CancelledError, GeneratorExit):
            running.cancel()
            if not await at_work.interrupt(STOP_GRACE):
                self.leave()
            raise
        finally:
            running.cancel()
            leaving.cancel()
            await asyncio.gather(running, leaving, return_exceptions=True)


async def _run(app: App, scope: Scope, exchange: _Exchange) -> None:
    try:
        await app(scope, exchange.receive, exchange.send)
    except Exception as error:
        # Nobody else will: who asked only sees a 500.
        sys.stderr.write(format_exception(error, hide=_frameworks(error)))
        raise
    except (SystemExit, KeyboardInterrupt) as error:
        # An event loop that gets one of these ends, and the other requests with it.
        sys.stderr.write(format_exception(error, hide=_frameworks(error)))
        raise ExecutionError(f"The app raised {type(error).__name__}.") from error
    finally:
        exchange.finish()


def _frameworks(error: BaseException) -> frozenset[str]:
    """Return the modules of an error's traceback between the hub and the user's handler."""
    modules = {
        str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)
    }
    return frozenset(name for name in modules if name.partition(".")[0] in FRAMEWORKS)


async def _leave(incoming: RequestStream, running: asyncio.Task[None]) -> None:
    """Cancel a request that goes on though its client is gone; what runs in threads comes to its end."""
    await incoming.gone.wait()
    await asyncio.sleep(LEAVE_GRACE)
    running.cancel()


class _Exchange:
    """One request between the app and its caller: what it receives, what it sends."""

    def __init__(self, request: web_events.Request) -> None:
        self._kind = request.type
        self._request_stream = request_stream.get()
        self._gone = False
        self._first: Event | None = (
            {"type": "http.request", "body": request.body, "more_body": request.more}
            if request.type == "http"
            else {"type": "websocket.connect"}
        )
        self._taken = 0
        self._start: Event | None = None  # held for a moment: mostly the body follows at once
        self._sent: asyncio.Queue[tuple[Event, ...]] = asyncio.Queue()
        self._room = asyncio.Semaphore(PENDING)
        if request.more:
            self._request_stream.want(web_events.WINDOW)

    async def receive(self) -> Event:
        """Be the app's ``receive``."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        data = b"" if self._gone else await self._next()
        if not data:
            self._gone = True
            if self._kind == "http":
                return {"type": "http.disconnect"}
            return {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        event = web_events.unpack_piece(data)
        self._gone = event["type"] == "websocket.disconnect"
        return event

    async def _next(self) -> bytes:
        data = await self._request_stream.get()
        if data:
            self._taken += 1
            if self._taken % (web_events.WINDOW // 2) == 0:
                self._request_stream.want(self._taken + web_events.WINDOW)
        return data

    async def send(self, event: Event) -> None:
        """Be the app's ``send``."""
        kind = event["type"]
        if kind in ("http.response.start", "websocket.http.response.start"):
            self._start = _plain(event)
            asyncio.get_running_loop().call_soon(self._send_start)
            return
        if kind == "websocket.send":
            message = event.get("bytes") or (event.get("text") or "")
            if (
                len(message if isinstance(message, bytes) else message.encode())
                > web_events.LARGEST
            ):
                raise ValueError(
                    f"A WebSocket's message may have {web_events.LARGEST} bytes at most."
                )
        if self._request_stream.gone.is_set():
            return  # nobody reads it
        for part in _parts(_plain(event)):
            await self._room.acquire()
            started, self._start = self._start, None
            self._sent.put_nowait((part,) if started is None else (started, part))

    def _send_start(self) -> None:
        started, self._start = self._start, None
        if started is not None:
            self._sent.put_nowait((started,))

    def finish(self) -> None:
        """Note that the app has ended."""
        self._send_start()
        self._sent.put_nowait(())

    async def sent(self) -> tuple[Event, ...]:
        """Return what the app sent next; nothing at its end."""
        events = await self._sent.get()
        self._room.release()
        return events


def _plain(event: Event) -> Event:
    """Return an event of nothing but plain data, whatever kinds of bytes and pairs an app uses."""
    event = dict(event)
    if "headers" in event:
        event["headers"] = [(bytes(name), bytes(value)) for name, value in event["headers"]]
    if isinstance(event.get("body"), bytearray | memoryview):
        event["body"] = bytes(event["body"])
    return event


def _parts(event: Event) -> list[Event]:
    """Cut a body that is too large for one message."""
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
    """An app's start-up and shutdown; an app that knows neither is as good."""

    def __init__(self, name: str, app: App) -> None:
        self.state: dict[str, Any] = {}
        self._name = name
        self._app = app
        self._to_app: asyncio.Queue[Event] = asyncio.Queue()
        self._said: asyncio.Queue[Event] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())
        self._to_app.put_nowait({"type": "lifespan.startup"})
        said = await self._said.get()
        if said["type"] == "lifespan.startup.failed":
            why = said.get("message", "").strip().splitlines()
            raise ExecutionError(
                f"The app of {self._name!r} did not start up: {why[-1] if why else 'it did not say why'}."
            )

    async def stop(self) -> None:
        if self._task is not None and not self._task.done():
            self._to_app.put_nowait({"type": "lifespan.shutdown"})
            try:
                async with asyncio.timeout(SHUTDOWN):
                    await self._said.get()
                    await self._task
            except TimeoutError:
                pass

    async def _run(self) -> None:
        scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        with contextlib.suppress(Exception):  # how an app says that it knows no lifespan
            await self._app(scope, self._to_app.get, self._said.put)
        self._said.put_nowait({"type": "ended"})


# --- what is behind an endpoint ---------------------------------------------------------------------


def _fastapi(name: str, endpoint: Endpoint, function: Callable[..., Any]) -> App:
    try:
        import fastapi
        from fastapi.middleware.cors import CORSMiddleware
    except ImportError as error:
        raise _lacking(name, "fastapi", error) from None
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
    return app  # type: ignore[return-value] # its types are of mutable mappings


def _asgi(name: str, _endpoint: Endpoint, function: Callable[..., Any]) -> App:
    app = function()
    if not callable(app):
        raise ExecutionError(f"{name!r} returned {type(app).__name__!r}, which is not an ASGI app.")
    return app  # type: ignore[no-any-return]


def _wsgi(name: str, _endpoint: Endpoint, function: Callable[..., Any]) -> App:
    try:
        import a2wsgi
    except ImportError as error:
        raise _lacking(name, "a2wsgi", error) from None
    app = function()
    if not callable(app):
        raise ExecutionError(f"{name!r} returned {type(app).__name__!r}, which is not a WSGI app.")
    bridge = a2wsgi.WSGIMiddleware(noted_wsgi(app), workers=WSGI_THREADS)

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
        raise _lacking(name, "httpx and websockets", error) from None
    port, within = endpoint.port, endpoint.startup_timeout
    if not _wait_for(port, within, listening=False):  # an older version may be on its way out
        raise ExecutionError(
            f"Port {port} of {name!r} is in use on this machine. Give @nbfn.web_server(...) another."
        )
    function()
    if not _wait_for(port, within, listening=True):
        raise ExecutionError(
            f"The server of {name!r} did not listen on port {port} within {within:g} s. "
            "Give @nbfn.web_server(...) another port, or a longer startup_timeout."
        )
    return HttpProxy(port)


def _wait_for(port: int, within: float, *, listening: bool) -> bool:
    until = time.monotonic() + within
    while _listens(port) is not listening:
        if time.monotonic() > until:
            return False
        time.sleep(LOOK)
    return True


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _lacking(name: str, what: str, error: ImportError) -> ExecutionError:
    return ExecutionError(
        f"Web endpoint {name!r} needs {what} in its Python ({sys.executable}): {error}. "
        "Install it there: pip install 'nbfn[web]'."
    )


_MAKERS: dict[str, Callable[[str, Endpoint, Callable[..., Any]], App]] = {
    "fastapi": _fastapi,
    "asgi": _asgi,
    "wsgi": _wsgi,
    "server": _server,
}
