"""One HTTP request at the gateway: how its body comes in, within limits, and how its answer goes out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from nbfn.gateway.auth import Wanted, value_of
from nbfn.gateway.error_responses import Send
from nbfn.gateway.headers import answered
from nbfn.gateway.request_call import WebCall
from nbfn.protocol import web_events
from nbfn.protocol.web_events import Event

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]


class TooLarge(Exception):
    """The body is over the limit."""


class Gone(Exception):
    """Who asked is not there any more."""


class Http:
    """One HTTP exchange: how far its two halves are."""

    def __init__(
        self,
        scope: Scope,
        wanted: Wanted,
        receive: Receive,
        send: Send,
        limit: int,
        patience: float,
    ) -> None:
        self.scope = scope
        self.wanted = wanted
        self.send = send
        self.complete = False  # the whole request is here
        self.begun = False  # the answer's first line went out ...
        self.ended = False  # ... and its last byte
        self._receive = receive
        self._size = 0
        self._limit = limit
        self._patience = patience

    async def first(self) -> tuple[bytes, bool]:
        """Return how the body begins, and whether there is more.

        Raises:
            TooLarge: If it is, or says that it will be, over the limit.
            TimeoutError: If it stops coming.
            Gone: If the client is.
        """
        length = value_of(self.scope["headers"], b"content-length")
        if length.isdigit() and int(length) > self._limit:
            raise TooLarge
        body = bytearray()
        while not self.complete and len(body) < web_events.FIRST:
            body += (await self._next())["body"]
        return bytes(body), not self.complete

    async def feed(self, call: WebCall) -> None:
        """Send the rest of the body to the app; end when the client is gone.

        Raises:
            TooLarge, TimeoutError: As `first`.
        """
        with contextlib.suppress(Gone):
            while not self.complete:
                event = await self._next()
                await call.feed(web_events.pack_piece(event))
            while (await self._receive())["type"] != "http.disconnect":
                pass

    async def _next(self) -> Event:
        async with asyncio.timeout(self._patience):
            event = await self._receive()
        if event["type"] == "http.disconnect":
            raise Gone
        body, more = event.get("body", b""), event.get("more_body", False)
        self._size += len(body)
        if self._size > self._limit:
            raise TooLarge
        self.complete = not more
        return {"type": "http.request", "body": body, "more_body": more}

    async def reply(self, event: Event) -> None:
        """Pass one event of the answer on."""
        if event["type"] == "http.response.start":
            self.begun = True
            shown = answered(event.get("headers", ()), self.wanted, self.scope)
            event = {**event, "headers": shown}
        elif event["type"] == "http.response.body":
            self.ended = not event.get("more_body", False)
        await self.send(event)
