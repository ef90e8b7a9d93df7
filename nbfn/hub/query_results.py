"""Results of reads of the store, which `queries` turns into answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from nbfn.hub.scheduler.effects import (
    LoadCall,
    LoadGraph,
    LoadHistory,
    LoadInput,
    LoadInputRows,
)
from nbfn.protocol.call_states import InputCounts
from nbfn.protocol.messages import Output, Payload


class _Result:
    """Base class of the results: names the query, and who waits for its answer."""

    __slots__ = ()

    wanted: Any  # the query; each result declares its type

    @property
    def client(self) -> str:
        """The client that sent the query."""
        client: str = self.wanted.client
        return client

    @property
    def request(self) -> int:
        """The number of the request."""
        request: int = self.wanted.request
        return request


@dataclass(frozen=True, slots=True)
class StoredCall(_Result):
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
    version: int = 0
    method: str = ""
    created: float = 0.0
    kept_until: float = 0.0


@dataclass(frozen=True, slots=True)
class StoredInput(_Result):
    """The arguments of an input; the answer to a `LoadInput`."""

    wanted: LoadInput
    function: str = ""
    version: int = 0
    method: str = ""
    payload: Payload | None = None


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
class StoredGraph(_Result):
    """The stored part of a call graph; the answer to a `LoadGraph`."""

    wanted: LoadGraph
    relatives: Sequence[StoredRelative]


@dataclass(frozen=True, slots=True)
class StoredCallRow:
    """A durable call that has ended, for displays."""

    id: str
    function: str
    version: int
    kind: str
    method: str
    origin: str
    created: float
    ended: float | None  # None if an older version of nbfn wrote it
    counts: InputCounts
    state: str


@dataclass(frozen=True, slots=True)
class StoredHistory(_Result):
    """Stored calls; the answer to a `LoadHistory`. ``last`` is where the next page begins."""

    wanted: LoadHistory
    calls: Sequence[StoredCallRow]
    last: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True)
class StoredInputRows(_Result):
    """Outcomes of a durable call; the answer to a `LoadInputRows`.

    ``call`` is None if there is no such call, or if it has not ended. ``next`` is the first index of the next page.
    """

    wanted: LoadInputRows
    call: StoredCallRow | None = None
    outcomes: Sequence[Output] = ()
    next: int | None = None
    kept_until: float | None = None
    expired: bool = False


#: An answer of the store to a client's query.
QueryResult = StoredCall | StoredGraph | StoredHistory | StoredInput | StoredInputRows
