"""Receives the body of an HTTP request, within limits, and sends the response."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from nbfn.gateway.auth import Admitted, value_of
from nbfn.gateway.error_responses import Send
from nbfn.gateway.headers import response_headers
from nbfn.gateway.request_call import RequestCall
from nbfn.protocol import web_events
from nbfn.protocol.web_events import Event

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]


class TooLarge(Exception):
    """The body of a request exceeds the limit."""


class ClientDisconnected(Exception):
    """The client has disconnected."""


class HttpExchange:
    """The state of one HTTP request and its response.

    Args:
        scope: The ASGI scope.
        admitted: The target of the request.
        receive: The ``receive`` of ASGI.
        send: The ``send`` of ASGI.
        limit: The largest size of the body, in bytes.
        timeout: Seconds to wait for the next part of the body.
    """

    def __init__(
        self,
        scope: Scope,
        admitted: Admitted,
        receive: Receive,
        send: Send,
        limit: int,
        timeout: float,
    ) -> None:
        self.scope = scope
        self.admitted = admitted
        self.send = send
        self.complete = False  # whether the whole request was received
        self.started = False  # whether the response was begun ...
        self.ended = False  # ... and ended
        self._receive = receive
        self._size = 0
        self._limit = limit
        self._timeout = timeout

    async def first(self) -> tuple[bytes, bool]:
        """Return the first part of the body, and whether there is more.

        Raises:
            TooLarge: If the body, or its declared length, exceeds the limit.
            TimeoutError: If no part arrives in time.
            Gone: If the client is.
        """
        length = value_of(self.scope["headers"], b"content-length")
        if length.isdigit() and int(length) > self._limit:
            raise TooLarge
        body = bytearray()
        while not self.complete and len(body) < web_events.FIRST:
            body += (await self._next())["body"]
        return bytes(body), not self.complete

    async def feed(self, call: RequestCall) -> None:
        """Send the rest of the body to the app; return when the client has disconnected.

        Raises:
            TooLarge: If the body exceeds the limit.
            TimeoutError: If no part arrives in time.
        """
        with contextlib.suppress(ClientDisconnected):
            while not self.complete:
                event = await self._next()
                await call.feed(web_events.pack_piece(event))
            while (await self._receive())["type"] != "http.disconnect":
                pass

    async def _next(self) -> Event:
        async with asyncio.timeout(self._timeout):
            event = await self._receive()
        if event["type"] == "http.disconnect":
            raise ClientDisconnected
        body, more = event.get("body", b""), event.get("more_body", False)
        self._size += len(body)
        if self._size > self._limit:
            raise TooLarge
        self.complete = not more
        return {"type": "http.request", "body": body, "more_body": more}

    async def send_event(self, event: Event) -> None:
        """Send one event of the response to the client."""
        if event["type"] == "http.response.start":
            self.started = True
            shown = response_headers(event.get("headers", ()), self.admitted, self.scope)
            event = {**event, "headers": shown}
        elif event["type"] == "http.response.body":
            self.ended = not event.get("more_body", False)
        await self.send(event)
