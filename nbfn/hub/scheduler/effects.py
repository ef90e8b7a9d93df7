"""What must be done, as plain data, the other end of `events`: messages to send, what is done with worker
processes, what is stored and loaded.

An effect whose ``after_commit`` is true must not be seen outside before everything saved in the same turn is on disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from nbfn.hub.scheduler.app_records import AppRecord, Deployment
from nbfn.hub.scheduler.payloads import Payload
from nbfn.protocol import messages as m
from nbfn.protocol.messages import Message, NewInput, Output


class Effect:
    """Base of effects."""

    __slots__ = ()
    after_commit = False


class StoreEffect(Effect):
    """Base of what the store does: save something, or load it."""

    __slots__ = ()


# Made for each message: a Struct takes a tenth of the time that a frozen dataclass takes.
class Send(Effect, Struct, frozen=True, gc=False):
    """Send a message to a client or a worker, if it is connected."""

    to: str
    message: Message
    after_commit: bool = False


@dataclass(frozen=True, slots=True)
class StartWorker(Effect):
    """Start a blank worker process."""

    worker: str
    executable: str


@dataclass(frozen=True, slots=True)
class StopWorker(Effect):
    """End a worker process: SIGTERM, and SIGKILL of its tree after ``grace`` seconds."""

    worker: str
    grace: float


@dataclass(frozen=True, slots=True)
class LoadInputs(StoreEffect):
    """Send a worker leased inputs, after the store has read those that are `Stored`.

    Attributes:
        worker: Whose they are.
        run: The message, with the inputs that are on the disk.
        connection: The worker's when this was decided; filled in by who carries it out.
        missing: The leases of inputs that are not on the disk; filled in by the store.
    """

    worker: str
    run: m.Run
    connection: bytes | None = None
    missing: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Discard(Effect):
    """Free a payload's shared memory: nobody will read it."""

    payload: Payload


@dataclass(frozen=True, slots=True)
class DiscardClient(Effect):
    """Free all shared memory that a client left behind."""

    client: str


@dataclass(frozen=True, slots=True)
class OverviewChanged(Effect):
    """Whoever watches the overview should look again."""

    revision: int


@dataclass(frozen=True, slots=True)
class SaveFunction(StoreEffect):
    """Store a Function version; ``record`` is the registry's own. ``latest`` is the current one, if not this."""

    record: Any
    version: int
    latest: int | None = None
    removed: bool = False


@dataclass(frozen=True, slots=True)
class SaveApp(StoreEffect):
    """Store an App, and a deployment of it if that is new; its other deployments stay as they are."""

    record: AppRecord
    deployment: Deployment | None = None


@dataclass(frozen=True, slots=True)
class ForgetApp(StoreEffect):
    """Drop an App with its Functions."""

    app_id: str
    functions: Sequence[str]


@dataclass(frozen=True, slots=True)
class SaveEnvironments(StoreEffect):
    """Store which environments there are, and since when."""

    environments: dict[str, float]


@dataclass(frozen=True, slots=True)
class SaveVariant(StoreEffect):
    """Store a variant of a Function; ``record`` is the registry's own."""

    record: Any


@dataclass(frozen=True, slots=True)
class WriteLog(Effect):
    """Keep what an input wrote, or what is said of a Function."""

    app: str
    function: str
    call: str
    index: int
    worker: str
    source: str
    data: bytes


@dataclass(frozen=True, slots=True)
class SaveSettings(StoreEffect):
    """Store a Function's overridden pool settings."""

    function: str
    settings: dict[str, float]


@dataclass(frozen=True, slots=True)
class SaveSecret(StoreEffect):
    """Store a secret; values None: forget it."""

    name: str
    environment_name: str
    values: Mapping[str, str] | None = field(repr=False)
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class SaveCall(StoreEffect):
    """Store a durable call, or more inputs of it."""

    call: str
    function: str
    version: int
    kind: str
    inputs: Sequence[NewInput]
    parent: str = ""
    method: str = ""
    origin: str = ""
    closed: bool = True  # no more will come
    size: int = 0  # bytes of its inputs


@dataclass(frozen=True, slots=True)
class SaveCancelled(StoreEffect):
    """Store that a durable call was cancelled: no hub may run its inputs again."""

    call: str


@dataclass(frozen=True, slots=True)
class SaveStarted(StoreEffect):
    """Store that inputs begin, which must not begin again."""

    call: str
    indices: Sequence[int]


@dataclass(frozen=True, slots=True)
class SaveFailures(StoreEffect):
    """Store how often an input of a durable call has failed, so that no hub retries it too often."""

    call: str
    index: int
    failures: int


@dataclass(frozen=True, slots=True)
class SaveOutcomes(StoreEffect):
    """Store outcomes of a durable call."""

    call: str
    outcomes: Sequence[Output]


@dataclass(frozen=True, slots=True)
class SaveRetry(StoreEffect):
    """Store that inputs of a durable call which failed wait again, for another version of the Function."""

    call: str
    version: int
    indices: Sequence[int]
    token: str


@dataclass(frozen=True, slots=True)
class LoadFailures(StoreEffect):
    """Have the store tell a call that is to run again; `FailuresLoaded` brings it."""

    client: str
    request: int
    call: str
    token: str


@dataclass(frozen=True, slots=True)
class LoadCall(StoreEffect):
    """Answer a request from the store: a watch, with outcomes from ``start`` to before ``end``; or
    (``exists``) whether there is such a call.
    """

    client: str
    request: int
    call: str
    start: int = 0
    end: int | None = None
    exists: bool = False


@dataclass(frozen=True, slots=True)
class LoadInput(StoreEffect):
    """Answer a request from the store: what an input of a durable call was called with."""

    client: str
    request: int
    call: str
    index: int


@dataclass(frozen=True, slots=True)
class LoadGraph(StoreEffect):
    """Answer a request for a call graph from the store; ``calls`` are those of the family that memory knows."""

    client: str
    request: int
    call: str
    calls: Sequence[str]
