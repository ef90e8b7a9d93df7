"""Encodes web requests and their ASGI events as MessagePack, for gateway and worker.

A request is one input whose payload is a `Request`. The rest of a body, or the messages of a
WebSocket, are sent to the input in pieces, each an ASGI ``receive`` event. The response is a sequence
of generator items, each a list of ASGI ``send`` events. No pickles are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from nbfn.protocol.messages import Payload

#: The most bytes of a body that are part of the `Request`. A request with no further pieces can be redelivered
#: if its worker is lost.
FIRST = 1024 * 1024
#: The most bytes of one piece of a request or response body.
PIECE = 256 * 1024
#: The most bytes of a WebSocket message in either direction. Messages are not split.
LARGEST = 4 * 1024 * 1024
#: The most pieces of a body in transit to a worker.
WINDOW = 32

Event = dict[str, Any]


class Request(msgspec.Struct, frozen=True, array_like=True):
    """An HTTP request or the opening of a WebSocket: the ASGI scope and the first part of the body."""

    type: str  # http, websocket
    http_version: str
    method: str
    scheme: str
    path: str
    raw_path: bytes
    root_path: str
    query_string: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    subprotocols: tuple[str, ...] = ()
    denial: bool = False  # whether a WebSocket can be refused with an HTTP response
    body: bytes = b""
    more: bool = False  # whether pieces follow


_encode = msgspec.msgpack.Encoder().encode
_requests = msgspec.msgpack.Decoder(Request)
_events = msgspec.msgpack.Decoder(tuple[Event, ...])
_event = msgspec.msgpack.Decoder(Event)


def pack_request(request: Request) -> bytes:
    """Encode a request."""
    return _encode(request)


def unpack_request(data: bytes) -> Request:
    """Decode a request from `pack_request`."""
    return _requests.decode(data)


def pack_piece(event: Event) -> bytes:
    """Encode one ``receive`` event."""
    return _encode(event)


def unpack_piece(data: bytes) -> Event:
    """Decode a ``receive`` event from `pack_piece`."""
    return _event.decode(data)


def pack_events(events: Sequence[Event]) -> Payload:
    """Encode ``send`` events as the payload of a generator item."""
    return Payload(_encode(events))


def unpack_events(payload: Payload) -> tuple[Event, ...]:
    """Decode ``send`` events from `pack_events`.

    Raises:
        ValueError: If the payload does not contain events.
    """
    if payload.segments:
        raise ValueError("The payload of events cannot have segments.")
    return _events.decode(payload.data)
