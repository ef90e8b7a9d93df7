"""What can happen (events) and what must be done about it (effects); both are plain data.

The state machine turns the first into the second. Sockets, files and processes only ever report
events and carry out effects. An effect whose ``after_commit`` is true must not be seen outside
before everything saved in the same turn is on disk.
"""

# ruff: noqa: D102 - the properties of the protocols say by their names what they are

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class RetryLike(Protocol):
    """The retry policy of a definition."""

    @property
    def max_retries(self) -> int: ...
    @property
    def backoff_coefficient(self) -> float: ...
    @property
    def initial_delay(self) -> float: ...
    @property
    def max_delay(self) -> float: ...


class PoolLike(Protocol):
    """The pool settings of a definition, each possibly unset."""

    @property
    def min_containers(self) -> int | None: ...
    @property
    def max_containers(self) -> int | None: ...
    @property
    def buffer_containers(self) -> int | None: ...
    @property
    def scaledown_window(self) -> float | None: ...


class EnvironmentLike(Protocol):
    """The environment of a definition."""

    @property
    def executable(self) -> str: ...


class DefinitionLike(Protocol):
    """What the state machine reads of a definition; the rest of it is opaque."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def is_generator(self) -> bool: ...
    @property
    def timeout(self) -> float: ...
    @property
    def retries(self) -> RetryLike: ...
    @property
    def pool(self) -> PoolLike: ...
    @property
    def environment(self) -> EnvironmentLike: ...


#: A failure that the hub itself tells: code, sentence, attributes of the error.
Fault = tuple[str, str, dict[str, Any]]

#: User bytes; never looked into.
Payload = Any


class Event:
    """Base of events."""

    __slots__ = ()


class Effect:
    """Base of effects."""

    __slots__ = ()
    after_commit = False


# --- events --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick(Event):
    """Time passed."""


@dataclass(frozen=True, slots=True)
class ClientJoined(Event):
    """A client said hello, for the first time or again."""

    client: str
    name: str = ""
    executable: str = ""
    worker: str = ""


@dataclass(frozen=True, slots=True)
class ClientLost(Event):
    """A client's connection ended."""

    client: str


@dataclass(frozen=True, slots=True)
class FunctionPut(Event):
    """A client registers a Function version."""

    client: str
    request: int
    app: str
    app_id: str
    environment_name: str
    definition: DefinitionLike


@dataclass(frozen=True, slots=True)
class SettingsPut(Event):
    """A client overrides a Function's pool settings; None leaves a setting as it is."""

    client: str
    request: int
    function: str
    min_containers: int | None = None
    max_containers: int | None = None
    buffer_containers: int | None = None
    scaledown_window: float | None = None


@dataclass(frozen=True, slots=True)
class CallPut(Event):
    """A client begins a call (or, ``resent``, tells of it again)."""

    client: str
    call: str
    function: str
    version: int
    kind: str
    inputs: Sequence[tuple[int, Payload]]
    closed: bool
    durable: bool = False
    resent: bool = False
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class InputsPut(Event):
    """A client adds inputs to an open call."""

    client: str
    call: str
    inputs: Sequence[tuple[int, Payload]]
    closed: bool
    resent: bool = False


@dataclass(frozen=True, slots=True)
class CallCancelled(Event):
    """Somebody cancels a call, or some of its inputs."""

    client: str
    request: int
    call: str
    indices: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class CallReleased(Event):
    """The client that made a call needs nothing more of it."""

    client: str
    call: str


@dataclass(frozen=True, slots=True)
class CallWatched(Event):
    """A client wants to hear of a call."""

    client: str
    request: int
    call: str


@dataclass(frozen=True, slots=True)
class ItemsWanted(Event):
    """The consumer of a generator is ready for items up to ``upto``."""

    call: str
    index: int
    upto: int


@dataclass(frozen=True, slots=True)
class CallRestored(Event):
    """A durable call with unfinished inputs was found in the store at start."""

    call: str
    function: str
    version: int
    kind: str
    inputs: Sequence[tuple[int, Payload]]
    total: int
    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class WorkerJoined(Event):
    """A worker said hello. ``running``: (lease, call, index, attempt) of all it has."""

    worker: str
    pid: int
    executable: str
    function: str = ""
    version: int = 0
    running: Sequence[tuple[int, str, int, int]] = ()


@dataclass(frozen=True, slots=True)
class WorkerBound(Event):
    """A worker has loaded its Function."""

    worker: str


@dataclass(frozen=True, slots=True)
class WorkerBroken(Event):
    """A worker could not load its Function."""

    worker: str
    payload: Payload
    text: str


@dataclass(frozen=True, slots=True)
class WorkerLost(Event):
    """A worker's connection ended; it may come back."""

    worker: str


@dataclass(frozen=True, slots=True)
class WorkerLeft(Event):
    """A worker said goodbye."""

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


@dataclass(frozen=True, slots=True)
class WorkerNotStarted(Event):
    """A launcher could not start a worker."""

    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class ResultsArrived(Event):
    """A worker finished inputs: (lease, status, payload, duration)."""

    worker: str
    seq: int
    results: Sequence[tuple[int, int, Payload, float]]


@dataclass(frozen=True, slots=True)
class ItemsArrived(Event):
    """A generator input yielded."""

    worker: str
    lease: int
    start: int
    payloads: Sequence[Payload]


@dataclass(frozen=True, slots=True)
class EmissionArrived(Event):
    """User code wrote something."""

    worker: str
    lease: int
    channel: str
    data: bytes


@dataclass(frozen=True, slots=True)
class LeasesReturned(Event):
    """A worker gave back inputs it had not begun."""

    worker: str
    leases: Sequence[int]


# --- effects -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one input ended; exactly one for each input."""

    index: int
    status: int
    payload: Payload = None
    fault: Fault | None = None
    duration: float = 0.0
    worker: str = ""
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Grant:
    """One input, leased to a worker."""

    lease: int
    call: str
    index: int
    attempt: int
    payload: Payload
    durable: bool = False


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
class DrainWorker(Effect):
    """Ask a worker to finish and exit."""

    worker: str


@dataclass(frozen=True, slots=True)
class RefuseWorker(Effect):
    """Tell a worker that it is not wanted any more."""

    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class BindWorker(Effect):
    """Tell a blank worker which Function it becomes."""

    worker: str
    function: str
    version: int
    definition: DefinitionLike


@dataclass(frozen=True, slots=True)
class RunInputs(Effect):
    """Hand leased inputs to a worker."""

    worker: str
    grants: Sequence[Grant]
    confirm: int


@dataclass(frozen=True, slots=True)
class ConfirmResults(Effect):
    """Tell a worker which results are safe."""

    worker: str
    upto: int
    after_commit: bool = False


@dataclass(frozen=True, slots=True)
class CancelLease(Effect):
    """Tell a worker to stop one input."""

    worker: str
    lease: int


@dataclass(frozen=True, slots=True)
class RecallLeases(Effect):
    """Ask a worker to give back what it has not begun."""

    worker: str


@dataclass(frozen=True, slots=True)
class WantItems(Effect):
    """Tell a worker that a generator's consumer is ready for more."""

    worker: str
    lease: int
    upto: int


@dataclass(frozen=True, slots=True)
class Deliver(Effect):
    """Tell a client outcomes of a call."""

    client: str
    call: str
    outcomes: Sequence[Outcome]
    after_commit: bool = False


@dataclass(frozen=True, slots=True)
class DeliverItems(Effect):
    """Tell a client what a generator yielded."""

    client: str
    call: str
    index: int
    start: int
    payloads: Sequence[Payload]


@dataclass(frozen=True, slots=True)
class DeliverEmission(Effect):
    """Tell a client what user code wrote."""

    client: str
    call: str
    index: int
    attempt: int
    channel: str
    data: bytes
    worker: str


@dataclass(frozen=True, slots=True)
class Accept(Effect):
    """Tell a client that its durable call is on disk."""

    client: str
    call: str
    after_commit: bool = True


@dataclass(frozen=True, slots=True)
class RefuseCall(Effect):
    """Tell a client that its call cannot be taken."""

    client: str
    call: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class GrantWindow(Effect):
    """Tell a client how many inputs of a call may be under way."""

    client: str
    call: str
    size: int


@dataclass(frozen=True, slots=True)
class TellProgress(Effect):
    """Tell a client where its call stands."""

    client: str
    call: str
    queued: int
    running: int
    retrying: int
    workers: int
    starting: int
    waiting_for: str


@dataclass(frozen=True, slots=True)
class Answer(Effect):
    """Answer a client's request: ``what`` is done, registered, settings or call; ``value``
    belongs to it.
    """

    client: str
    request: int
    what: str
    value: Any = None
    after_commit: bool = False


@dataclass(frozen=True, slots=True)
class Refuse(Effect):
    """Refuse a client's request."""

    client: str
    request: int
    code: str
    message: str


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
class SaveFunction(Effect):
    """Store a Function version; ``record`` is the registry's own."""

    record: Any
    version: int


@dataclass(frozen=True, slots=True)
class SaveSettings(Effect):
    """Store a Function's overridden pool settings."""

    function: str
    settings: dict[str, float]


@dataclass(frozen=True, slots=True)
class SaveCall(Effect):
    """Store a durable call, or more inputs of it."""

    call: str
    function: str
    version: int
    kind: str
    inputs: Sequence[tuple[int, Payload]]


@dataclass(frozen=True, slots=True)
class SaveOutcomes(Effect):
    """Store outcomes of a durable call."""

    call: str
    outcomes: Sequence[Outcome]


@dataclass(frozen=True, slots=True)
class LoadCall(Effect):
    """Answer a watch from the store: the call and its outcomes so far."""

    client: str
    request: int
    call: str
