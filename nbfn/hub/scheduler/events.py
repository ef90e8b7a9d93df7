"""What can happen to the hub, as plain data: one flat table, in the order of clients, calls and workers.

The state machine turns events into effects (`effects`). Sockets, files and processes report the
ones and carry out the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from nbfn.hub.scheduler.payloads import Payload
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
    """So many bytes are free on the disk that durable calls are kept on; ``trouble``: why it takes nothing."""

    path: str
    free: int
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class SaveFailed(Event):
    """What was to be saved is not on disk and will not be; who asked is told."""

    save: Any
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class ClientJoined(Event):
    """A client said hello, for the first time or again."""

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
    """All Apps of the hub before this one are in the registry."""


@dataclass(frozen=True, slots=True)
class FailuresLoaded(Event):
    """What the store has of a call whose failed inputs are to run again.

    Attributes:
        found: The call, its ``inputs`` being those that failed; None if there is none.
        expired: Whether what was kept of it is gone.
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
    total: int
    done: int
    failed: int
    parent: str = ""
    method: str = ""
    origin: str = ""
    closed: bool = True
    cancelled: bool = False
    failures: Mapping[int, int] = field(default_factory=dict)  # of inputs that failed before
    retried: tuple[str, int] = (
        "",
        0,
    )  # the token of the latest retry, and how many inputs that began


@dataclass(frozen=True, slots=True)
class WorkerJoined(Event):
    """A worker said hello. ``running``: (lease, call, index, attempt) of all it has; ``output``: the number of
    the last piece of output that it sent.
    """

    worker: str
    pid: int
    executable: str
    function: str = ""
    version: int = 0
    running: Sequence[tuple[int, str, int, int]] = ()
    gpus: Sequence[str] = ()
    output: int = 0


@dataclass(frozen=True, slots=True)
class BindNotSent(Event):
    """What a worker is to load is too large to be sent to it."""

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
    """A worker's connection ended; it may come back."""

    worker: str


@dataclass(frozen=True, slots=True)
class WorkerExited(Event):
    """A launcher saw a worker process end. ``running``: the lease it was at, 0 for none, None
    for not known.
    """

    worker: str
    exit_code: int | None = None
    signal: int | None = None
    running: int | None = None
    memory_peak: int | None = None
    stderr: str = ""
    memory_limit: int = 0  # what it held more of, where that ended it
    finished: bool = False  # whether it came to its end in good order ...
    ended_by: int = 0  # ... and the signal that told it to
    #: What it had written last: (number, lease, channel, data); some of it may have arrived.
    output: Sequence[tuple[int, int, str, bytes]] = ()


@dataclass(frozen=True, slots=True)
class WorkerNotStarted(Event):
    """A launcher could not start a worker."""

    worker: str
    reason: str


def joined(hello: ClientHello | WorkerHello) -> Event:
    """Return the event of a client or a worker that has connected, for the first time or again."""
    if isinstance(hello, WorkerHello):
        return WorkerJoined(
            *(hello.peer, hello.pid, hello.executable, hello.function, hello.version),
            *(hello.running, hello.gpus, hello.output),
        )
    executable = hello.environment.executable if hello.environment else ""
    return ClientJoined(hello.peer, hello.name, executable, hello.worker, hello.origin)
