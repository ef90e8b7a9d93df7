"""The events that the state machine processes, as plain data.

The state machine turns events into effects (`effects`). The broker creates events from sockets, the store
and worker processes, and carries out effects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from nbfn.hub.scheduler.payloads import Payload
from nbfn.protocol.call_states import InputCounts
from nbfn.protocol.messages import ClientHello, Fault, Message, WorkerHello


class Event:
    """Base of events."""

    __slots__ = ()


# Made for each message: a Struct takes a tenth of the time that a frozen dataclass takes.
class Received(Event, Struct, frozen=True, gc=False):
    """A client or a worker sent a message; ``sender`` is its id."""

    sender: str
    message: Message


@dataclass(frozen=True, slots=True)
class Tick(Event):
    """Time passed."""


@dataclass(frozen=True, slots=True)
class DiskMeasured(Event):
    """The free bytes of the disk with the database; ``trouble``: why it cannot be written."""

    path: str
    free: int
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class SaveFailed(Event):
    """A save failed for good; the store answers the client that requested it."""

    save: Any
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class ClientJoined(Event):
    """A client connected, for the first time or again."""

    client: str
    name: str = ""
    executable: str = ""
    worker: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class ClientLost(Event):
    """A client's connection ended."""

    client: str


@dataclass(frozen=True, slots=True)
class AppsRestored(Event):
    """All Apps of the previous hub are in the registry."""


@dataclass(frozen=True, slots=True)
class FailuresLoaded(Event):
    """A call to retry was loaded from the store.

    Attributes:
        found: The call, with only its failed inputs; None if it does not exist.
        expired: Whether its arguments and outcomes are deleted.
    """

    client: str
    request: int
    call: str
    token: str
    found: CallRestored | None
    expired: bool = False


@dataclass(frozen=True, slots=True)
class CallRestored(Event):
    """A durable call with unfinished inputs was found in the store at start; payloads may be `Stored`."""

    call: str
    function: str
    version: int
    kind: str
    inputs: Sequence[tuple[int, Payload]]
    total: int  # of all inputs that arrived
    settled: InputCounts  # the inputs with an outcome, without those in ``inputs``
    parent: str = ""
    method: str = ""
    origin: str = ""
    closed: bool = True
    cancelled: bool = False
    age: float = 0.0  # seconds since the call was made or retried
    failures: Mapping[int, int] = field(default_factory=dict)  # of inputs with failed attempts
    #: The token of the latest retry, and its number of inputs.
    retried: tuple[str, int] = ("", 0)


@dataclass(frozen=True, slots=True)
class WorkerJoined(Event):
    """A worker connected. ``running``: (lease, call, index, attempt) of its inputs; ``output``: the number of the
    last part of output that it sent.
    """

    worker: str
    pid: int
    executable: str
    function: str = ""
    version: int = 0
    running: Sequence[tuple[int, str, int, int]] = ()
    gpus: Sequence[str] = ()
    output: int = 0
    host: str = ""


@dataclass(frozen=True, slots=True)
class BindNotSent(Event):
    """The definition for a worker is too large to be sent."""

    worker: str
    fault: Fault


@dataclass(frozen=True, slots=True)
class InputsNotSent(Event):
    """Leased inputs are too large to be sent to their worker."""

    worker: str
    leases: Sequence[int]
    fault: Fault


@dataclass(frozen=True, slots=True)
class WorkerLost(Event):
    """A worker's connection ended; it may reconnect."""

    worker: str


@dataclass(frozen=True, slots=True)
class WorkerExited(Event):
    """A worker process ended. ``running``: the lease that it ran, 0 for none, None if unknown."""

    worker: str
    exit_code: int | None = None
    signal: int | None = None
    running: int | None = None
    memory_peak: int | None = None
    stderr: str = ""
    memory_limit: int = 0  # the limit that it exceeded, if it was killed for that
    finished: bool = False  # whether it shut down normally ...
    ended_by: int = 0  # ... and the signal that requested it
    #: Its last output: (number, lease, channel, data); parts of it may have arrived already.
    output: Sequence[tuple[int, int, str, bytes]] = ()


@dataclass(frozen=True, slots=True)
class WorkerNotStarted(Event):
    """The launcher could not start a worker."""

    worker: str
    reason: str


def joined(hello: ClientHello | WorkerHello) -> Event:
    """Return the event for the hello of a client or a worker."""
    if isinstance(hello, WorkerHello):
        return WorkerJoined(
            *(hello.peer, hello.pid, hello.executable, hello.function, hello.version),
            *(hello.running, hello.gpus, hello.output, hello.host),
        )
    executable = hello.environment.executable if hello.environment else ""
    return ClientJoined(hello.peer, hello.name, executable, hello.worker, hello.origin)
