"""The effects that the state machine returns, as plain data: messages to send, worker processes to start and
stop, data to save and load.

An effect with ``after_commit`` is carried out after all saves of the same event are on disk.
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
    """Base of effects that the store carries out: saves and loads."""

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
        worker: The worker that has the leases.
        run: The message; payloads that are only on disk are `Stored`.
        connection: The worker's connection when the effect was emitted; the broker sets it.
        missing: The leases of inputs that are not on disk; the store sets it.
    """

    worker: str
    run: m.Run
    connection: bytes | None = None
    missing: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Discard(Effect):
    """Free the shared memory of a payload without a consumer."""

    payload: Payload


@dataclass(frozen=True, slots=True)
class DiscardClient(Effect):
    """Free all shared memory of a client."""

    client: str


@dataclass(frozen=True, slots=True)
class PostCallback(Effect):
    """Post a description of a call that has ended to the ``callback_url`` of its Function."""

    url: str
    call: Mapping[str, Any]
    after_commit: bool = False


@dataclass(frozen=True, slots=True)
class SaveFunction(StoreEffect):
    """Store a version of a Function. ``record`` is owned by the registry; ``latest``: the current version, if other."""

    record: Any
    version: int
    latest: int | None = None
    removed: bool = False


@dataclass(frozen=True, slots=True)
class SaveApp(StoreEffect):
    """Store an App, and a new deployment of it, if any; its other deployments are kept."""

    record: AppRecord
    deployment: Deployment | None = None


@dataclass(frozen=True, slots=True)
class ForgetApp(StoreEffect):
    """Delete an App with its Functions."""

    app_id: str
    functions: Sequence[str]


@dataclass(frozen=True, slots=True)
class SaveEnvironments(StoreEffect):
    """Store the names and creation times of all environments."""

    environments: dict[str, float]


@dataclass(frozen=True, slots=True)
class SaveVariant(StoreEffect):
    """Store a variant of a Function; ``record`` belongs to the registry."""

    record: Any


@dataclass(frozen=True, slots=True)
class WriteLog(Effect):
    """Store output of an input, or a system line about a Function."""

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
    """Store a secret, or delete it if ``values`` is None."""

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
    """Store that a durable call was cancelled, so that no later hub runs its inputs."""

    call: str


@dataclass(frozen=True, slots=True)
class SaveStarted(StoreEffect):
    """Store that inputs with `at_most_once` start; they must not start again."""

    call: str
    indices: Sequence[int]


@dataclass(frozen=True, slots=True)
class SaveFailures(StoreEffect):
    """Store how often an input of a durable call has failed, so that its retries are limited across restarts."""

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
    """Store that failed inputs of a durable call are retried, with another version of the Function."""

    call: str
    version: int
    indices: Sequence[int]
    token: str


@dataclass(frozen=True, slots=True)
class LoadFailures(StoreEffect):
    """Load a call to retry; the result is `FailuresLoaded`."""

    client: str
    request: int
    call: str
    token: str


@dataclass(frozen=True, slots=True)
class LoadCall(StoreEffect):
    """Answer a request from the store: a call with its outcomes from ``start`` to before ``end``; or, with ``exists``,
    whether the call exists.
    """

    client: str
    request: int
    call: str
    start: int = 0
    end: int | None = None
    exists: bool = False


@dataclass(frozen=True, slots=True)
class LoadInput(StoreEffect):
    """Answer a request from the store: the arguments of an input of a durable call."""

    client: str
    request: int
    call: str
    index: int


@dataclass(frozen=True, slots=True)
class LoadHistory(StoreEffect):
    """Answer a request from the store: calls that have ended, newest first, before a time and an id.

    ``functions`` are the Functions whose calls match ``search``, which is in lower case.
    """

    client: str
    request: int
    states: Sequence[str]
    since: float
    search: str
    functions: Sequence[str]
    limit: int
    before: tuple[float, str]


@dataclass(frozen=True, slots=True)
class LoadInputRows(StoreEffect):
    """Answer a request from the store: outcomes of a durable call."""

    client: str
    request: int
    call: str
    states: Sequence[str]
    first: int
    limit: int


@dataclass(frozen=True, slots=True)
class LoadGraph(StoreEffect):
    """Answer a request for a call graph from the store; ``calls`` are those of the graph in memory."""

    client: str
    request: int
    call: str
    calls: Sequence[str]
