"""What can happen to the hub, as plain data: one flat table, in the order of clients, calls and workers.

The state machine turns events into effects (`effects`). Sockets, files and processes report the
ones and carry out the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbfn.hub.machine.definitions import DefinitionLike, Fault, Payload, VariantLike


class Event:
    """Base of events."""

    __slots__ = ()


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
class ClientLeft(Event):
    """A client was closed and will not be back."""

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
    staged: bool = False


@dataclass(frozen=True, slots=True)
class AppDeployed(Event):
    """A client makes versions of Functions what its App's names mean."""

    client: str
    request: int
    app: str
    environment_name: str
    functions: Mapping[str, int]
    strategy: str = "rolling"
    partial: bool = False
    tag: str = ""
    by: str = ""
    commit: str = ""
    nbfn: str = ""
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class AppRolledBack(Event):
    """A client wants an App as it was: at a version, before the current one (0), or afresh (-1)."""

    client: str
    request: int
    app_id: str
    version: int
    strategy: str = "rolling"
    by: str = ""
    nbfn: str = ""


@dataclass(frozen=True, slots=True)
class AppBegun(Event):
    """A client begins an ephemeral App with an end."""

    client: str
    request: int
    app_id: str
    name: str
    environment_name: str
    detached: bool
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AppStopped(Event):
    """A client ends an App, or the block in which it was run (``scope``)."""

    client: str
    request: int
    app_id: str
    scope: bool = False


@dataclass(frozen=True, slots=True)
class AppWanted(Event):
    """A client looks for an App, to be made where it is not there."""

    client: str
    request: int
    app: str
    environment_name: str
    create: bool


@dataclass(frozen=True, slots=True)
class AppFollowed(Event):
    """A client wants to be sent what an App's workers write."""

    client: str
    request: int
    app_id: str


@dataclass(frozen=True, slots=True)
class AppTagged(Event):
    """A client replaces an App's tags."""

    client: str
    request: int
    app_id: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EnvironmentChanged(Event):
    """A client creates an environment (no ``name``), deletes it (no ``new_name``) or renames it."""

    client: str
    request: int
    name: str
    new_name: str


@dataclass(frozen=True, slots=True)
class AppsRestored(Event):
    """All Apps of the hub before this one are in the registry."""


@dataclass(frozen=True, slots=True)
class WorkerUnwanted(Event):
    """A client ends a worker."""

    client: str
    request: int
    worker: str
    graceful: bool


@dataclass(frozen=True, slots=True)
class VariantPut(Event):
    """A client wants a variant of a Function; the same digest is the same variant."""

    client: str
    request: int
    function: str
    variant: VariantLike
    digest: str
    shown: str = ""


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
class SecretPut(Event):
    """A client stores environment variables under a name."""

    client: str
    request: int
    name: str
    values: Mapping[str, str] = field(repr=False)
    environment_name: str = ""
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class SecretDeleted(Event):
    """A client has the hub forget a secret."""

    client: str
    request: int
    name: str
    environment_name: str = ""


@dataclass(frozen=True, slots=True)
class SecretsAsked(Event):
    """A client asks which secrets an environment has."""

    client: str
    request: int
    environment_name: str = ""


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
    parent: str = ""
    method: str = ""
    deployment: int = 0
    unattended: bool = False
    levels: bytes = b""


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
    terminate: bool = False


@dataclass(frozen=True, slots=True)
class CallReleased(Event):
    """The client that made a call needs nothing more of it."""

    client: str
    call: str


@dataclass(frozen=True, slots=True)
class CallWatched(Event):
    """A client wants to hear of a call: of some inputs what is known, and what is to come if it follows."""

    client: str
    request: int
    call: str
    start: int = 0
    end: int | None = None
    follow: bool = True


@dataclass(frozen=True, slots=True)
class InputWanted(Event):
    """A client asks what an input of a durable call was called with."""

    client: str
    request: int
    call: str
    index: int


@dataclass(frozen=True, slots=True)
class RetryWanted(Event):
    """A client wants the failed inputs of a durable call run again; the same ``token`` is the same wish."""

    client: str
    request: int
    call: str
    token: str


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
class GraphWanted(Event):
    """A client asks who called a call, and whom it called."""

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
class ResultsTaken(Event):
    """The consumer of a map has had results of ``weight`` bytes more."""

    client: str
    call: str
    weight: int


@dataclass(frozen=True, slots=True)
class InputFed(Event):
    """A client has one more piece of what an input reads while it runs."""

    call: str
    index: int
    data: bytes


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
class WorkerBound(Event):
    """A worker has loaded its Function."""

    worker: str


@dataclass(frozen=True, slots=True)
class WorkerBroken(Event):
    """A worker could not load its Function; without ``payload``, ``fault`` is the error."""

    worker: str
    payload: Payload
    text: str
    fault: Fault | None = None


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
class WorkerLeft(Event):
    """A worker said goodbye; ``signal``: the one that told it to end, 0 for none."""

    worker: str
    signal: int = 0


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


@dataclass(frozen=True, slots=True)
class ResultsArrived(Event):
    """A worker finished inputs: (lease, status, payload, duration, whether a failure is final)."""

    worker: str
    seq: int
    results: Sequence[tuple[int, int, Payload, float, bool]]


@dataclass(frozen=True, slots=True)
class ItemsArrived(Event):
    """A generator input yielded."""

    worker: str
    lease: int
    start: int
    payloads: Sequence[Payload]


@dataclass(frozen=True, slots=True)
class FeedAsked(Event):
    """An input reads: it takes ``upto`` pieces in all."""

    worker: str
    lease: int
    upto: int


@dataclass(frozen=True, slots=True)
class EmissionArrived(Event):
    """User code wrote something; ``number`` is that of its last piece, 0 for output without numbers."""

    worker: str
    lease: int
    channel: str
    data: bytes
    number: int = 0


@dataclass(frozen=True, slots=True)
class LeasesReturned(Event):
    """A worker gave back inputs it had not begun."""

    worker: str
    leases: Sequence[int]
