"""What is read from the disk: for somebody who asked (`queries` answers), or to be taken up again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec

from nbfn.hub.scheduler.effects import LoadCall, LoadGraph, LoadInput
from nbfn.protocol.messages import Output, Payload

_log = logging.getLogger("nbfn.hub")
T = TypeVar("T", covariant=True)

#: What decoding a damaged row raises.
UNREADABLE = (ValueError, TypeError, RecursionError)


class Decoder(Protocol[T]):
    """Decodes the rows of one table."""

    def decode(self, buf: Any, /) -> T:
        """Return what is in a row."""


def readable(decoder: Decoder[T], blob: object, what: str) -> T | None:
    """Return what is in a row; None, and a word in the log, if it cannot be read."""
    try:
        return decoder.decode(blob)
    except UNREADABLE as error:
        _log.error("%s cannot be read from the store and is left out (%s)", what, error)
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
    failed: int = 0  # once it has ended
    cancelled: bool = False
    version: int = 0
    method: str = ""
    created: float = 0.0
    kept_until: float = 0.0

    @property
    def client(self) -> str:
        """Who asked."""
        return self.wanted.client

    @property
    def request(self) -> int:
        """The number of the question."""
        return self.wanted.request


@dataclass(frozen=True, slots=True)
class StoredInput:
    """What an input was called with; the answer to a `LoadInput`."""

    wanted: LoadInput
    function: str = ""
    version: int = 0
    method: str = ""
    payload: Payload | None = None

    @property
    def client(self) -> str:
        """Who asked."""
        return self.wanted.client

    @property
    def request(self) -> int:
        """The number of the question."""
        return self.wanted.request


class StoredRelative(msgspec.Struct, frozen=True):
    """One input of a family, as it is on disk."""

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
    """What is on disk of a family; the answer to a `LoadGraph`."""

    wanted: LoadGraph
    relatives: Sequence[StoredRelative]

    @property
    def client(self) -> str:
        """Who asked."""
        return self.wanted.client

    @property
    def request(self) -> int:
        """The number of the question."""
        return self.wanted.request
