"""Results of reads of the store, which `queries` turns into answers, and a tolerant decoder of rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec

from nbfn.hub.scheduler.effects import LoadCall, LoadGraph, LoadInput
from nbfn.protocol.call_states import InputCounts
from nbfn.protocol.messages import Output, Payload

_log = logging.getLogger("nbfn.hub")
T = TypeVar("T", covariant=True)

#: Exceptions that decoding a damaged row raises.
UNREADABLE = (ValueError, TypeError, RecursionError)


class Decoder(Protocol[T]):
    """Decodes the rows of one table."""

    def decode(self, buf: Any, /) -> T:
        """Return the decoded row."""


def readable(decoder: Decoder[T], blob: object, what: str) -> T | None:
    """Decode a row; log an error and return None if it cannot be read."""
    try:
        return decoder.decode(blob)
    except UNREADABLE as error:
        _log.error("%s cannot be read from the store and is skipped (%s)", what, error)
        return None


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A durable call as it is on disk; the answer to a `LoadCall`."""

    wanted: LoadCall
    function: str = ""
    kind: str = ""
    total: int = 0
    outcomes: Sequence[Output] = ()
    closed: bool = True
    ended: bool = False
    expired: bool = False
    counts: InputCounts | None = None  # set once the call has ended
    cancelled: bool = False
    version: int = 0
    method: str = ""
    created: float = 0.0
    kept_until: float = 0.0

    @property
    def client(self) -> str:
        """The client that sent the query."""
        return self.wanted.client

    @property
    def request(self) -> int:
        """The number of the request."""
        return self.wanted.request


@dataclass(frozen=True, slots=True)
class StoredInput:
    """The arguments of an input; the answer to a `LoadInput`."""

    wanted: LoadInput
    function: str = ""
    version: int = 0
    method: str = ""
    payload: Payload | None = None

    @property
    def client(self) -> str:
        """The client that sent the query."""
        return self.wanted.client

    @property
    def request(self) -> int:
        """The number of the request."""
        return self.wanted.request


class StoredRelative(msgspec.Struct, frozen=True):
    """One stored input of a call graph."""

    call: str
    index: int
    parent: str
    status: int
    worker: str
    function: str
    version: int
    method: str


@dataclass(frozen=True, slots=True)
class StoredGraph:
    """The stored part of a call graph; the answer to a `LoadGraph`."""

    wanted: LoadGraph
    relatives: Sequence[StoredRelative]

    @property
    def client(self) -> str:
        """The client that sent the query."""
        return self.wanted.client

    @property
    def request(self) -> int:
        """The number of the request."""
        return self.wanted.request
