"""Encodes the events of one web request between gateway and worker: ASGI events as MessagePack.

Neither end unpickles anything. A request is one input; its payload is a `Request`. What
follows of a body or a WebSocket is fed piece by piece, each an ASGI ``receive`` event; the answer
comes back as a generator's items, each a list of ASGI ``send`` events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from nbfn.protocol.messages import Payload

#: Bytes of a request's body that are sent with it. A body that is no longer can be sent again, so a
#: request whose worker is lost runs anew.
FIRST = 1024 * 1024
#: Bytes of one piece of a body, either way.
PIECE = 256 * 1024
#: Bytes of a WebSocket's largest message, either way; it cannot be cut.
LARGEST = 4 * 1024 * 1024
#: Pieces of a body that may be under way to a worker.
WINDOW = 32

Event = dict[str, Any]


class Request(msgspec.Struct, frozen=True, array_like=True):
    """An HTTP request, or a WebSocket's opening: the ASGI scope and how the body begins."""

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
    denial: bool = False  # whether a WebSocket can be refused with a whole response
    body: bytes = b""
    more: bool = False  # whether pieces follow


_encode = msgspec.msgpack.Encoder().encode
_requests = msgspec.msgpack.Decoder(Request)
_events = msgspec.msgpack.Decoder(tuple[Event, ...])
_event = msgspec.msgpack.Decoder(Event)


def pack_request(request: Request) -> bytes:
    """Return the bytes of a request."""
    return _encode(request)


def unpack_request(data: bytes) -> Request:
    """Return the request that was packed."""
    return _requests.decode(data)


def pack_piece(event: Event) -> bytes:
    """Return the bytes of one ``receive`` event."""
    return _encode(event)


def unpack_piece(data: bytes) -> Event:
    """Return the ``receive`` event that was packed."""
    return _event.decode(data)


def pack_events(events: Sequence[Event]) -> Payload:
    """Return ``send`` events as the payload of a generator's item."""
    return Payload(_encode(events))


def unpack_events(payload: Payload) -> tuple[Event, ...]:
    """Return the ``send`` events that were packed.

    Raises:
        ValueError: If it is something else.
    """
    if payload.segments:
        raise ValueError("The payload of events cannot have segments.")
    return _events.decode(payload.data)
