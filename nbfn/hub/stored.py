"""What was read from the disk for somebody who asked; `answers` says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from nbfn.hub.machine.effects import LoadCall, LoadGraph, LoadInput, Outcome
from nbfn.wire.messages import Payload


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A durable call as it is on disk; the answer to a `LoadCall`."""

    watch: LoadCall
    function: str = ""
    kind: str = ""
    total: int = 0
    outcomes: Sequence[Outcome] = ()
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
        return self.watch.client


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
