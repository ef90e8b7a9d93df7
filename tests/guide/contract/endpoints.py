"""Defines endpoints that several test files use, and helpers to request them (docs/function-api.md#web-endpoints)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nbfn

app = nbfn.App("site")


COLD = 30.0  # seconds: the first request starts a gateway and a worker


def url_of(function: Any) -> str:
    url = function.get_web_url()
    assert isinstance(url, str)
    return url


def ws_of(function: Any) -> str:
    return "ws" + url_of(function).removeprefix("http")


@app.function()
@nbfn.fastapi_endpoint()
def greet(name: str = "world") -> dict[str, Any]:
    return {"hello": name}


@app.function()
@nbfn.concurrent(max_inputs=20)
@nbfn.asgi_app()
def site() -> Any:
    """Return an app that uses all features that web apps may use."""
    from contextlib import asynccontextmanager

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, StreamingResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        yield {"started": "in the worker", "pid": os.getpid()}
        Path(os.environ["NBFN_HOME"], "shut-down").touch()

    async def root(request: Request) -> Any:
        return PlainTextResponse(f"{request.state.started} {request.url.path}")

    async def stop_and_go(request: Request) -> Any:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            while not Path(request.query_params["path"]).exists():
                await asyncio.sleep(0.005)
            yield b"second"

        return StreamingResponse(parts())

    async def late_body(request: Request) -> Any:
        async def parts() -> AsyncIterator[bytes]:
            while not Path(request.query_params["path"]).exists():
                await asyncio.sleep(0.005)
            yield b"late"

        return StreamingResponse(parts())

    async def until_gone(request: Request) -> Any:
        path = Path(request.query_params["path"])

        async def parts() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"."
                    await asyncio.sleep(0.01)
            finally:
                path.touch()

        return StreamingResponse(parts())

    async def size(request: Request) -> Any:
        count = 0
        async for chunk in request.stream():
            count += len(chunk)
        return PlainTextResponse(str(count))

    async def large(request: Request) -> Any:
        return PlainTextResponse(b"x" * int(request.query_params["size"]))

    meeting = asyncio.Event()
    arrived = 0

    async def meet(request: Request) -> Any:
        nonlocal arrived
        arrived += 1
        if arrived == int(request.query_params["of"]):
            meeting.set()
        await meeting.wait()
        return PlainTextResponse(str(os.getpid()))

    async def fail(request: Request) -> Any:
        raise ValueError("on purpose")

    async def echo(socket: WebSocket) -> None:
        await socket.accept(subprotocol=next(iter(socket.scope["subprotocols"]), None))
        while (message := await socket.receive())["type"] == "websocket.receive":
            if message.get("text") == "bye":
                await socket.close(4000, "as you wish")
                return
            if message.get("bytes") is not None:
                await socket.send_bytes(message["bytes"])
            else:
                await socket.send_text(message["text"])

    async def once(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("once")
        if socket.query_params.get("fail"):
            raise ValueError("on purpose")

    async def chatter(socket: WebSocket) -> None:
        await socket.accept()
        while True:
            await socket.send_text("and on")
            await asyncio.sleep(0.01)

    async def closed(socket: WebSocket) -> None:
        await socket.close()

    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/", root),
            Route("/deep/path", root),
            Route("/stop-and-go", stop_and_go),
            Route("/late-body", late_body),
            Route("/until-gone", until_gone),
            Route("/size", size, methods=["POST"]),
            Route("/large", large),
            Route("/meet", meet),
            Route("/fail", fail),
            WebSocketRoute("/echo", echo),
            WebSocketRoute("/once", once),
            WebSocketRoute("/chatter", chatter),
            WebSocketRoute("/closed", closed),
        ],
    )


@app.cls()
class Model:
    name: str = nbfn.parameter()
    size: int = nbfn.parameter(default=1)
    loud: bool = nbfn.parameter(default=False)

    @nbfn.enter()
    def load(self) -> None:
        self.loaded = f"{self.name}:{self.size}:{self.loud}"

    @nbfn.fastapi_endpoint()
    def predict(self, x: int) -> dict[str, Any]:
        return {"model": self.loaded, "x": x, "pid": os.getpid()}

    @nbfn.asgi_app(label="models-page")
    def page(self) -> Any:
        from starlette.applications import Starlette
        from starlette.requests import Request
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route

        made_of = self.loaded  # enter hooks have run

        async def root(request: Request) -> Any:
            return PlainTextResponse(made_of)

        return Starlette(routes=[Route("/", root)])

    @nbfn.method()
    def pid(self) -> int:
        return os.getpid()
