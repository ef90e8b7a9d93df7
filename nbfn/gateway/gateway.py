"""The ASGI app of the gateway: authenticates requests, makes calls of them, and forwards ASGI events both ways.

It runs no user code. It looks up the endpoint at the hub for each request, so it holds no state that can be outdated.
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
from nbfn.declarations.parameters import encode_values
from nbfn.gateway import error_responses
from nbfn.gateway.auth import (
    Admitted,
    Authenticator,
    Refusal,
    is_cross_site,
    is_embedded,
    is_page,
    value_of,
)
from nbfn.gateway.error_responses import Send
from nbfn.gateway.headers import request_headers, without_key
from nbfn.gateway.http_exchange import ClientDisconnected, HttpExchange, Receive, Scope, TooLarge
from nbfn.gateway.request_call import RequestCall
from nbfn.protocol import messages, web_events
from nbfn.protocol.messages import EndpointFound, Payload, Variant
from nbfn.protocol.web_events import Event, Request
from nbfn.runtime.sync import drive

#: Seconds for which the response to a redirected request can be fetched.
PENDING_SECONDS = 60.0
#: The query parameter that names the redirected request, as in Modal.
PENDING_PARAMETER = "__modal_function_call_id"

_BOOLS = {"true": True, "1": True, "false": False, "0": False}


class Gateway:
    """An ASGI app.

    Args:
        client: The connection to the hub.
        authenticator: Authenticates requests.
    """

    def __init__(self, client: HubConnection, authenticator: Authenticator) -> None:
        self._client = client
        self._authenticator = authenticator
        self._pending: dict[str, _Pending] = {}  # redirected requests, by call id
        self._draining: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] == "websocket":
            await receive()  # the event websocket.connect
        admitted = self._authenticator.admit(scope)
        if isinstance(admitted, Refusal):
            await error_responses.refuse(scope, send, admitted)
        elif admitted.root and is_page(scope) and not is_embedded(scope["headers"]):
            target, cross_site = (
                _at_root(admitted, scope["query_string"]),
                is_cross_site(scope["headers"]),
            )
            await error_responses.redirect_page(send, target, admitted.cookie, by_page=cross_site)
        elif _is_page_without_slash(scope, admitted):
            target = _location(admitted.root + "/", scope["query_string"])
            await error_responses.redirect(send, 307, target, admitted.cookie)
        else:
            await self._serve(scope, admitted, receive, send)

    async def _serve(self, scope: Scope, admitted: Admitted, receive: Receive, send: Send) -> None:
        try:
            found = await drive(
                self._client.request(lambda number: messages.LookupEndpoint(number, admitted.label))
            )
        except exception.Error as error:
            await error_responses.refuse(scope, send, error_responses.refusal_of_error(error))
            return
        if _endpoint(found).requires_proxy_auth and (
            refusal := self._authenticator.authorize(scope["headers"])
        ):
            await error_responses.refuse(scope, send, refusal)
            return
        if (pending := self._take_pending(scope, admitted)) is not None:
            http = self._http(scope, admitted, receive, send)
            http.complete = True  # the body was sent with the first request
            await self._answer(http, pending)
            return
        if found.info.parameters:
            try:
                found = await self._bind_instance(found, scope)
            except (exception.Error, TypeError, ValueError) as error:
                await error_responses.refuse(scope, send, error_responses.refusal_of_error(error))
                return
        if scope["type"] == "websocket":
            await self._serve_websocket(scope, admitted, found, receive, send)
        else:
            await self._serve_http(self._http(scope, admitted, receive, send), found)

    async def _bind_instance(self, found: EndpointFound, scope: Scope) -> EndpointFound:
        """Return the endpoint of the class's instance with the parameters in the query."""
        info = found.info
        parameters = dict(_query(scope))
        values = {
            p.name: _convert(p.type, parameters[p.name])
            for p in info.parameters
            if p.name in parameters
        }
        arguments = encode_values(info.name, info.parameters, values)
        variant = Variant(arguments=Payload(arguments))
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items())
        answer: messages.Registered = await drive(
            self._client.request(
                lambda number: messages.BindVariant(
                    number, info.id, variant, variant_digest(variant), f"({shown})"
                )
            )
        )
        return msgspec.structs.replace(found, info=msgspec.structs.replace(info, id=answer.info.id))

    # --- HTTP ---

    def _http(self, scope: Scope, admitted: Admitted, receive: Receive, send: Send) -> HttpExchange:
        settings = self._client.settings
        return HttpExchange(
            scope, admitted, receive, send, settings.web_max_body, settings.web_patience
        )

    async def _serve_http(self, http: HttpExchange, found: EndpointFound) -> None:
        try:
            body, more = await http.first()
        except TooLarge:
            await error_responses.refuse(http.scope, http.send, self._too_large())
        except TimeoutError:
            await error_responses.refuse(
                http.scope, http.send, Refusal(408, "The request body did not arrive in time.")
            )
        except ClientDisconnected:
            pass
        else:
            call = self._open(http.scope, http.admitted, found, body, more)
            await self._answer(http, call)

    def _too_large(self) -> Refusal:
        limit = self._client.settings.web_max_body
        return Refusal(
            413, f"The request body exceeds the limit of {limit} bytes (setting web_max_body)."
        )

    def _open(
        self,
        scope: Scope,
        admitted: Admitted,
        found: EndpointFound,
        body: bytes = b"",
        more: bool = False,
    ) -> RequestCall:
        call = RequestCall(
            self._client, found, web_events.pack_request(_request(scope, admitted, body, more))
        )
        self._client.open(call)
        return call

    async def _answer(self, http: HttpExchange, call: RequestCall) -> None:
        """Forward the response, while the rest of the body is received."""
        reading = asyncio.create_task(http.feed(call))
        first_event = asyncio.create_task(call.started())
        try:
            timeout = self._client.settings.web_redirect
            await asyncio.wait(
                {reading, first_event}, timeout=timeout, return_when="FIRST_COMPLETED"
            )
            if reading.done() and not first_event.done():
                await self._refuse_incomplete(http, call, reading)
            elif first_event.done():
                await self._send_answer(http, call, reading)
            elif http.complete:
                await self._redirect(http, call)
            else:  # its body is still being received, so it cannot be redirected
                await self._send_answer(http, call, reading)
        except asyncio.CancelledError:
            self._drain_call(call)
            raise
        finally:
            for task in (reading, first_event):
                task.cancel()
            await asyncio.gather(reading, first_event, return_exceptions=True)

    async def _refuse_incomplete(
        self, http: HttpExchange, call: RequestCall, reading: asyncio.Task[None]
    ) -> None:
        """End a request whose body was not received, or whose client has disconnected, before the response began."""
        if isinstance(reading.exception(), TooLarge):
            call.abandon()
            await error_responses.refuse(http.scope, http.send, self._too_large())
        elif isinstance(reading.exception(), TimeoutError):
            call.abandon()
            await error_responses.refuse(
                http.scope, http.send, Refusal(408, "The request body did not arrive in time.")
            )
        else:
            self._drain_call(call)

    async def _send_answer(
        self, http: HttpExchange, call: RequestCall, reading: asyncio.Task[None]
    ) -> None:
        while True:
            next_events = asyncio.create_task(call.events())
            await asyncio.wait({next_events, reading}, return_when="FIRST_COMPLETED")
            if not next_events.done():
                next_events.cancel()
                await asyncio.gather(next_events, return_exceptions=True)
                if not http.started:
                    await self._refuse_incomplete(http, call, reading)
                elif not http.ended:
                    self._drain_call(call)
                return
            events = next_events.result()
            for event in events:
                await http.send_event(event)
            if not events:
                break
        if not http.started:
            await error_responses.refuse(http.scope, http.send, error_responses.refusal_of(call))
        # After an incomplete response the server closes the connection.

    def _drain_call(self, call: RequestCall) -> None:
        """Tell the app that the client has disconnected, and discard its events until it ends."""
        call.client_left()
        task = asyncio.create_task(call.drain())
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    # --- responses that take long ---

    async def _redirect(self, http: HttpExchange, call: RequestCall) -> None:
        """Redirect the client to a URL with the response, before proxies time out."""
        expiry = asyncio.get_running_loop().call_later(PENDING_SECONDS, self._expire, call)
        self._pending[call.id] = _Pending(call, http.admitted.label, expiry)
        query = [pair for pair in _query(http.scope) if pair[0] != PENDING_PARAMETER]
        query.append((PENDING_PARAMETER, call.id))
        path = http.admitted.root + http.admitted.path.decode("latin-1")
        target = _location(path, urlencode(query).encode())
        await error_responses.redirect(http.send, 303, target, http.admitted.cookie)

    def _take_pending(self, scope: Scope, admitted: Admitted) -> RequestCall | None:
        if PENDING_PARAMETER.encode() not in scope["query_string"] or scope.get("method") != "GET":
            return None
        pending = self._pending.get(dict(_query(scope)).get(PENDING_PARAMETER, ""))
        if pending is None or pending.label != admitted.label:
            return None
        pending.expiry.cancel()
        return self._pending.pop(pending.call.id).call

    def _expire(self, call: RequestCall) -> None:
        del self._pending[call.id]
        self._drain_call(call)

    # --- WebSocket ---

    async def _serve_websocket(
        self, scope: Scope, admitted: Admitted, found: EndpointFound, receive: Receive, send: Send
    ) -> None:
        call = self._open(scope, admitted, found, more=True)
        reading = asyncio.create_task(_feed_messages(call, receive))
        reading.add_done_callback(lambda _: call.client_left())
        state = ""  # then accepted or closed
        try:
            while events := await call.events():
                for event in events:
                    state = _WS_STATES.get(event["type"], state)
                    await send(event)
            if not state:
                await error_responses.refuse(scope, send, error_responses.refusal_of(call))
            elif state == "accepted" and not reading.done():
                await send(error_responses.close_event(call))
        except OSError:
            pass  # the client has disconnected
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            self._drain_call(call)


_WS_STATES = {
    "websocket.accept": "accepted",
    "websocket.close": "closed",
    "websocket.http.response.start": "closed",
}


@dataclass(frozen=True, slots=True)
class _Pending:
    """A redirected request whose response has not been fetched."""

    call: RequestCall
    label: str
    expiry: asyncio.TimerHandle


async def _feed_messages(call: RequestCall, receive: Receive) -> None:
    """Send the messages of a WebSocket to the app, up to its disconnect."""
    event: Event = {}
    while event.get("type") != "websocket.disconnect":
        event = await receive()
        await call.feed(web_events.pack_piece(event))


def _request(scope: Scope, admitted: Admitted, body: bytes, more: bool) -> Request:
    return Request(
        scope["type"],
        scope["http_version"],
        scope.get("method", "GET"),
        scope["scheme"],
        unquote(admitted.path.decode("latin-1")) or "/",
        admitted.path or b"/",
        "",
        without_key(scope["query_string"], admitted.key),
        tuple(request_headers(scope["headers"], admitted)),
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


def _convert(kind: str, text: str) -> Any:
    """Convert a parameter of a class from text.

    Raises:
        ValueError: If the text is not a value of the type.
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


def _at_root(admitted: Admitted, query: bytes) -> str:
    """Return the URL of a page without key and label, relative to its URL with them, as proxies require."""
    up = "../" * (admitted.path.count(b"/") + 1)
    return _location(up + admitted.path.decode("latin-1")[1:], query)


def _is_page_without_slash(scope: Scope, admitted: Admitted) -> bool:
    """Return whether a browser requests a page by the endpoint's URL without the slash that relative links need."""
    return (
        not admitted.path
        and scope.get("method") in ("GET", "HEAD")
        and b"text/html" in value_of(scope["headers"], b"accept")
    )
