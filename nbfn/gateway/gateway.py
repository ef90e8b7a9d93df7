"""The gateway's ASGI app: lets requests in, makes calls of them, and passes on both ways what ASGI says.

It runs no user code and knows nothing of it but labels; it asks the hub for each request who
answers, so there is nothing here that could be out of date.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

import msgspec

from nbfn import exception
from nbfn.client.connection import HubConnection
from nbfn.client.registration.option_encoding import variant_digest
from nbfn.declarations.parameters import encoded
from nbfn.gateway import error_responses
from nbfn.gateway.auth import Guard, Refusal, Wanted, is_embedded, is_foreign, is_page, value_of
from nbfn.gateway.error_responses import Send
from nbfn.gateway.headers import forwarded, without_key
from nbfn.gateway.http_exchange import Gone, Http, Receive, Scope, TooLarge
from nbfn.gateway.request_call import WebCall
from nbfn.protocol import messages, web_events
from nbfn.protocol.messages import EndpointFound, Payload, Variant
from nbfn.protocol.web_events import Event, Request
from nbfn.runtime.sync import drive

#: Seconds that a redirected request's answer waits to be asked for.
HELD_FOR = 60.0
#: The query parameter by which it is asked for (Modal's).
HELD_PARAMETER = "__modal_function_call_id"

_BOOLS = {"true": True, "1": True, "false": False, "0": False}


class Gateway:
    """An ASGI app.

    Args:
        client: The way to the hub.
        guard: Decides who is let in.
    """

    def __init__(self, client: HubConnection, guard: Guard) -> None:
        self._client = client
        self._guard = guard
        self._held: dict[str, _Held] = {}  # redirected ones
        self._leaving: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] == "websocket":
            await receive()  # its connect
        wanted = self._guard.admit(scope)
        if isinstance(wanted, Refusal):
            await error_responses.refuse(scope, send, wanted)
        elif wanted.root and is_page(scope) and not is_embedded(scope["headers"]):
            there, foreign = _at_root(wanted, scope["query_string"]), is_foreign(scope["headers"])
            await error_responses.move(send, there, wanted.cookie, by_page=foreign)
        elif _is_page_without_slash(scope, wanted):
            there = _location(wanted.root + "/", scope["query_string"])
            await error_responses.redirect(send, 307, there, wanted.cookie)
        else:
            await self._serve(scope, wanted, receive, send)

    async def _serve(self, scope: Scope, wanted: Wanted, receive: Receive, send: Send) -> None:
        try:
            found = await drive(
                self._client.request(lambda number: messages.LookupEndpoint(number, wanted.label))
            )
        except exception.Error as error:
            await error_responses.refuse(scope, send, error_responses.of_error(error))
            return
        if _endpoint(found).requires_proxy_auth and (no := self._guard.authorize(scope["headers"])):
            await error_responses.refuse(scope, send, no)
            return
        if (held := self._take_held(scope, wanted)) is not None:
            http = self._http(scope, wanted, receive, send)
            http.complete = True  # what the request had to say was said the first time
            await self._answer(http, held)
            return
        if found.info.parameters:
            try:
                found = await self._object(found, scope)
            except (exception.Error, TypeError, ValueError) as error:
                await error_responses.refuse(scope, send, error_responses.of_error(error))
                return
        if scope["type"] == "websocket":
            await self._converse(scope, wanted, found, receive, send)
        else:
            await self._begin(self._http(scope, wanted, receive, send), found)

    async def _object(self, found: EndpointFound, scope: Scope) -> EndpointFound:
        """Return the same of an object of the class, made with what the query says of its parameters."""
        info = found.info
        said = dict(_query(scope))
        given = {p.name: _read(p.type, said[p.name]) for p in info.parameters if p.name in said}
        arguments = encoded(info.name, info.parameters, given)
        variant = Variant(arguments=Payload(arguments))
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
        answer: messages.Registered = await drive(
            self._client.request(
                lambda number: messages.BindVariant(
                    number, info.id, variant, variant_digest(variant), f"({shown})"
                )
            )
        )
        return msgspec.structs.replace(found, info=msgspec.structs.replace(info, id=answer.info.id))

    # --- HTTP ---

    def _http(self, scope: Scope, wanted: Wanted, receive: Receive, send: Send) -> Http:
        settings = self._client.settings
        return Http(scope, wanted, receive, send, settings.web_max_body, settings.web_patience)

    async def _begin(self, http: Http, found: EndpointFound) -> None:
        try:
            body, more = await http.first()
        except TooLarge:
            await error_responses.refuse(http.scope, http.send, self._too_large())
        except TimeoutError:
            await error_responses.refuse(
                http.scope, http.send, Refusal(408, "The body did not arrive.")
            )
        except Gone:
            pass
        else:
            call = self._open(http.scope, http.wanted, found, body, more)
            await self._answer(http, call)

    def _too_large(self) -> Refusal:
        limit = self._client.settings.web_max_body
        return Refusal(413, f"The body is over the limit of {limit} bytes (setting web_max_body).")

    def _open(
        self,
        scope: Scope,
        wanted: Wanted,
        found: EndpointFound,
        body: bytes = b"",
        more: bool = False,
    ) -> WebCall:
        call = WebCall(
            self._client, found, web_events.pack_request(_request(scope, wanted, body, more))
        )
        self._client.open(call)
        return call

    async def _answer(self, http: Http, call: WebCall) -> None:
        """Pass the answer on, while the rest of the body, or the end of the connection, comes in."""
        reading = asyncio.create_task(http.feed(call))
        starting = asyncio.create_task(call.started())
        try:
            patience = self._client.settings.web_redirect
            await asyncio.wait({reading, starting}, timeout=patience, return_when="FIRST_COMPLETED")
            if reading.done() and not starting.done():
                await self._broken_off(http, call, reading)
            elif starting.done():
                await self._pass_on(http, call, reading)
            elif http.complete:
                await self._redirect(http, call)
            else:  # its body still comes: it cannot be asked again
                await self._pass_on(http, call, reading)
        except asyncio.CancelledError:
            self._leave(call)
            raise
        finally:
            for task in (reading, starting):
                task.cancel()
            await asyncio.gather(reading, starting, return_exceptions=True)

    async def _broken_off(self, http: Http, call: WebCall, reading: asyncio.Task[None]) -> None:
        """The request ended before its answer began: too long a body, or nobody is there."""
        if isinstance(reading.exception(), TooLarge):
            call.abandon()
            await error_responses.refuse(http.scope, http.send, self._too_large())
        elif isinstance(reading.exception(), TimeoutError):
            call.abandon()
            await error_responses.refuse(
                http.scope, http.send, Refusal(408, "The body did not arrive.")
            )
        else:
            self._leave(call)

    async def _pass_on(self, http: Http, call: WebCall, reading: asyncio.Task[None]) -> None:
        while True:
            next_ones = asyncio.create_task(call.events())
            await asyncio.wait({next_ones, reading}, return_when="FIRST_COMPLETED")
            if not next_ones.done():
                next_ones.cancel()
                await asyncio.gather(next_ones, return_exceptions=True)
                if not http.begun:
                    await self._broken_off(http, call, reading)
                elif not http.ended:
                    self._leave(call)
                return
            events = next_ones.result()
            for event in events:
                await http.reply(event)
            if not events:
                break
        if not http.begun:
            await error_responses.refuse(http.scope, http.send, error_responses.reason_of(call))
        # An answer that broke off half-way is left so: the server closes the connection.

    def _leave(self, call: WebCall) -> None:
        """Let a request that nobody waits for come to its end at the worker."""
        call.leave()
        task = asyncio.create_task(call.drain())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    # --- answers that take long ---

    async def _redirect(self, http: Http, call: WebCall) -> None:
        """Have the client ask again for the answer, before anything on the way takes it for lost."""
        expiry = asyncio.get_running_loop().call_later(HELD_FOR, self._expire, call)
        self._held[call.id] = _Held(call, http.wanted.label, expiry)
        query = [pair for pair in _query(http.scope) if pair[0] != HELD_PARAMETER]
        query.append((HELD_PARAMETER, call.id))
        path = http.wanted.root + http.wanted.path.decode("latin-1")
        there = _location(path, urlencode(query).encode())
        await error_responses.redirect(http.send, 303, there, http.wanted.cookie)

    def _take_held(self, scope: Scope, wanted: Wanted) -> WebCall | None:
        if HELD_PARAMETER.encode() not in scope["query_string"] or scope.get("method") != "GET":
            return None
        held = self._held.get(dict(_query(scope)).get(HELD_PARAMETER, ""))
        if held is None or held.label != wanted.label:
            return None
        held.expiry.cancel()
        return self._held.pop(held.call.id).call

    def _expire(self, call: WebCall) -> None:
        del self._held[call.id]
        self._leave(call)

    # --- WebSocket ---

    async def _converse(
        self, scope: Scope, wanted: Wanted, found: EndpointFound, receive: Receive, send: Send
    ) -> None:
        call = self._open(scope, wanted, found, more=True)
        reading = asyncio.create_task(_feed_messages(call, receive))
        reading.add_done_callback(lambda _: call.leave())
        state = ""  # then accepted, closed
        try:
            while events := await call.events():
                for event in events:
                    state = _WS_STATES.get(event["type"], state)
                    await send(event)
            if not state:
                await error_responses.refuse(scope, send, error_responses.reason_of(call))
            elif state == "accepted" and not reading.done():
                await send(error_responses.closing(call))
        except OSError:
            pass  # nobody is there: the app is told below
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            self._leave(call)


_WS_STATES = {
    "websocket.accept": "accepted",
    "websocket.close": "closed",
    "websocket.http.response.start": "closed",
}


@dataclass(frozen=True, slots=True)
class _Held:
    """A redirected request that waits to be asked for."""

    call: WebCall
    label: str
    expiry: asyncio.TimerHandle


async def _feed_messages(call: WebCall, receive: Receive) -> None:
    """Send the app a WebSocket's messages, the last of which says that it was closed."""
    event: Event = {}
    while event.get("type") != "websocket.disconnect":
        event = await receive()
        await call.feed(web_events.pack_piece(event))


def _request(scope: Scope, wanted: Wanted, body: bytes, more: bool) -> Request:
    return Request(
        scope["type"],
        scope["http_version"],
        scope.get("method", "GET"),
        scope["scheme"],
        unquote(wanted.path.decode("latin-1")) or "/",
        wanted.path or b"/",
        "",
        without_key(scope["query_string"], wanted.key),
        tuple(forwarded(scope["headers"], wanted)),
        tuple(scope["client"]) if scope.get("client") else None,
        tuple(scope["server"]) if scope.get("server") else None,
        tuple(scope.get("subprotocols", ())),
        "websocket.http.response" in scope.get("extensions", {}),
        body,
        more,
    )


def _endpoint(found: EndpointFound) -> messages.Endpoint:
    info = found.info
    endpoint = info.endpoint
    if found.method:
        endpoint = next(m.endpoint for m in info.methods if m.name == found.method)
    assert endpoint is not None
    return endpoint


def _read(kind: str, text: str) -> Any:
    """Return a parameter of a class that came as text.

    Raises:
        ValueError: If it is none of that type.
    """
    if kind == "int":
        return int(text)
    if kind == "bool":
        if text.lower() not in _BOOLS:
            raise ValueError(f"{text!r} is neither true nor false.")
        return _BOOLS[text.lower()]
    return text.encode() if kind == "bytes" else text


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _location(path: str, query: bytes) -> str:
    return path + (f"?{query.decode('latin-1')}" if query else "")


def _at_root(wanted: Wanted, query: bytes) -> str:
    """Return the app's own URL of a page, relative to its URL with key and label: it may be behind another proxy."""
    up = "../" * (wanted.path.count(b"/") + 1)
    return _location(up + wanted.path.decode("latin-1")[1:], query)


def _is_page_without_slash(scope: Scope, wanted: Wanted) -> bool:
    """Whether a browser asks for an app's page by the URL without its last slash: its relative links need that."""
    return (
        not wanted.path
        and scope.get("method") in ("GET", "HEAD")
        and b"text/html" in value_of(scope["headers"], b"accept")
    )
