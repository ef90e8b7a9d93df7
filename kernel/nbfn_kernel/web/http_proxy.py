"""An ASGI app that forwards requests and WebSockets to a server on this machine."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import websockets
from websockets.asyncio.client import ClientConnection, connect

from nbfn.protocol import web_events
from nbfn.protocol.web_events import Event

#: Headers that apply to a single connection (RFC 9110, 7.6.1); they are not forwarded.
_HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection",
    b"te", b"trailer", b"transfer-encoding", b"upgrade",
})  # fmt: skip
#: Headers of a WebSocket handshake that the WebSocket client sets.
_HANDSHAKE = frozenset({b"host", b"content-length"})


class HttpProxy:
    """Forwards requests to one server.

    Args:
        port: The port on which it listens on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Forward one request or WebSocket; implements ASGI."""
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Any, send: Any) -> None:
        """Keep an HTTP client open from start-up to shutdown."""
        await receive()
        # The timeout of the Function applies; proxy settings of the environment do not.
        async with httpx.AsyncClient(timeout=None, trust_env=False) as self._client:  # noqa: S113
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _request(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert self._client is not None
        headers = _request_headers(scope)
        has_body = any(
            name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"]
        )
        request = self._client.build_request(
            scope["method"],
            self._url(f"http://127.0.0.1:{self._port}", scope),
            headers=headers,
            content=_body(receive) if has_body else None,
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            await _bad_gateway(send, error)
            return
        try:
            start = {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": _response_headers(response.headers.raw, self._port),
            }
            await send(start)
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await response.aclose()

    async def _websocket(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in _request_headers(scope)
            if name not in _HANDSHAKE and not name.startswith(b"sec-websocket-")
        ]
        host = _header(scope, b"host").decode("latin-1")
        try:
            # Send the client's Host: servers compare it with the Origin header.
            async with connect(
                self._url(f"ws://{host}", scope),
                host="127.0.0.1",
                port=self._port,
                additional_headers=headers,
                subprotocols=[websockets.Subprotocol(name) for name in scope["subprotocols"]]
                or None,
                max_size=web_events.LARGEST,
                proxy=None,
            ) as server:
                await send({"type": "websocket.accept", "subprotocol": server.subprotocol})
                await _relay(server, receive, send)
        except (OSError, websockets.InvalidHandshake):
            await send({"type": "websocket.close", "code": 1011, "reason": ""})

    @staticmethod
    def _url(origin: str, scope: dict[str, Any]) -> str:
        path: str = scope["raw_path"].decode("latin-1")
        query = scope["query_string"].decode("latin-1")
        return origin + path + (f"?{query}" if query else "")


def _header(scope: dict[str, Any], name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def _request_headers(scope: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    forwarded = [(name, value) for name, value in scope["headers"] if name not in _HOP_BY_HOP]
    return [
        *forwarded,
        (b"x-forwarded-host", _header(scope, b"host")),
        (b"x-forwarded-proto", scope["scheme"].encode()),
    ]


def _response_headers(headers: list[tuple[bytes, bytes]], port: int) -> list[tuple[bytes, bytes]]:
    """Return the headers of a response; a redirect to the server's own address becomes a path."""
    own = re.compile(rb"http://(?:127\.0\.0\.1|localhost):%d(?=[/?#]|$)" % port, re.IGNORECASE)
    found = []
    for name, value in headers:
        name = name.lower()
        if name == b"location" and (match := own.match(value)):
            value = value[match.end() :]
            value = value if value.startswith(b"/") else b"/" + value
        if name not in _HOP_BY_HOP:
            found.append((name, value))
    return found


async def _body(receive: Any) -> AsyncIterator[bytes]:
    more = True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise httpx.ReadError("The client disconnected.")
        yield event.get("body", b"")
        more = event.get("more_body", False)


async def _bad_gateway(send: Any, error: Exception) -> None:
    body = f"The server does not respond: {error}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 502, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _relay(server: ClientConnection, receive: Any, send: Any) -> None:
    async def forward_to_server() -> None:
        event: Event = await receive()
        while event["type"] == "websocket.receive":
            text = event.get("text")
            await server.send(text if text is not None else event["bytes"])
            event = await receive()
        await server.close(event.get("code", 1000) if event.get("code") != 1005 else 1000)

    forwarding = asyncio.create_task(forward_to_server())
    try:
        async for message in server:
            kind = "text" if isinstance(message, str) else "bytes"
            await send({"type": "websocket.send", kind: message})
    except websockets.ConnectionClosed:
        pass
    finally:
        client_gone = forwarding.done()
        forwarding.cancel()
        await asyncio.gather(forwarding, return_exceptions=True)
    if not client_gone:
        await send({"type": "websocket.close", "code": server.close_code or 1000, "reason": ""})
