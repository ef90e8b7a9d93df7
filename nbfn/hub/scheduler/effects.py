"""What must be done, as plain data, the other end of `events`: one flat table, to workers, to clients, to the store.

An effect whose ``after_commit`` is true must not be seen outside before everything saved in the same turn is on disk.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from nbfn.hub.scheduler.app_records import AppRecord, Deployment
from nbfn.hub.scheduler.payloads import Fault as Fault
from nbfn.hub.scheduler.payloads import Payload, weight, weights
from nbfn.protocol.messages import OUTPUT_BYTES, Definition, NewInput

#: Bytes that an outcome counts for beside its payload; the client counts them, too.
OUTCOME_BYTES = OUTPUT_BYTES


class Effect:
    """Base of effects."""

    __slots__ = ()
    after_commit = False


# Made once for each input: a Struct takes a tenth of the time that a frozen dataclass takes.
class Outcome(Struct, frozen=True, gc=False):
    """How one input ended; exactly one for each input."""

    index: int
    status: int
    payload: Payload = None
    fault: Fault | None = None
    duration: float = 0.0
    worker: str = ""
    attempt: int = 1
    attempts: int = 0  # how many its Function's retries allow; said of failures only

    @property
    def weight(self) -> int:
        """What it counts for in limits, in bytes; of a failure that the hub tells at least its sentence
        and attributes that are as long.
        """
        if self.fault is not None:
            return OUTCOME_BYTES + 4 * 2 * len(self.fault[1])
        return OUTCOME_BYTES + weight(self.payload)


_fault = operator.attrgetter("fault")


def total_weight(outcomes: Sequence[Outcome]) -> int:
    """Return the sum of the weights of outcomes."""
    if any(map(_fault, outcomes)):
        return sum(outcome.weight for outcome in outcomes)
    return OUTCOME_BYTES * len(outcomes) + sum(weights([o.payload for o in outcomes]))


class Grant(Struct, frozen=True, gc=False):
    """One input, leased to a worker."""

    lease: int
    call: str
    index: int
    attempt: int
    payload: Payload
    durable: bool = False
    method: str = ""
    batch: int = 0
    unattended: bool = False


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
    definition: Definition
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    environment_name: str = ""
    threads: int = 0


@dataclass(frozen=True, slots=True)
class RunInputs(Effect):
    """Hand leased inputs to a worker; ``weight`` is that of all of them."""

    worker: str
    grants: Sequence[Grant]
    confirm: int
    after_commit: bool = False
    weight: int = 0
    levels: dict[str, bytes] = field(default_factory=dict)  # of their callers' loggers, by call


@dataclass(frozen=True, slots=True)
class LoadInputs(Effect):
    """Hand leased inputs to a worker, after the store has read those that are `Stored`.

    Attributes:
        run: What is to be handed over.
        connection: The worker's when this was decided; filled in by who carries it out.
        missing: The leases of inputs that are not on the disk; filled in by the store.
    """

    run: RunInputs
    connection: bytes | None = None
    missing: Sequence[int] = ()


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
    after_commit: bool = False


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
class FeedLease(Effect):
    """Hand a worker one more piece of what its input reads."""

    worker: str
    lease: int
    data: bytes


@dataclass(frozen=True, slots=True)
class AskFeed(Effect):
    """Tell a client that its input takes ``upto`` pieces in all."""

    client: str
    call: str
    index: int
    attempt: int
    upto: int


@dataclass(frozen=True, slots=True)
class Deliver(Effect):
    """Tell a client outcomes of a call; ``weight`` is that of all of them."""

    client: str
    call: str
    outcomes: Sequence[Outcome]
    after_commit: bool = False
    weight: int = 0


@dataclass(frozen=True, slots=True)
class DeliverItems(Effect):
    """Tell a client what a generator yielded."""

    client: str
    call: str
    index: int
    start: int
    payloads: Sequence[Payload]


@dataclass(frozen=True, slots=True)
class DeliverAppOutput(Effect):
    """Tell a client that follows an App what one of its workers wrote."""

    client: str
    app: str
    function: str
    call: str
    index: int
    channel: str
    data: bytes


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
    """Tell a client that its durable call is on disk: the inputs below ``upto``, or all (``closed``)."""

    client: str
    call: str
    upto: int = 0
    closed: bool = True
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
    newest: int = 0  # version of its Function, where that is another than the one it runs on
    done: int = 0
    failed: int = 0
    total: int | None = None
    place: int = 0
    worker: str = ""
    attempt: int = 0
    after_commit: bool = False


@dataclass(frozen=True, slots=True)
class Answer(Effect):
    """Answer a client's request: ``what`` is done, registered, settings, app, secrets or retried; ``value``
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
    """Store a Function version; ``record`` is the registry's own. ``latest`` is the current one, if not this."""

    record: Any
    version: int
    latest: int | None = None
    removed: bool = False


@dataclass(frozen=True, slots=True)
class SaveApp(Effect):
    """Store an App, and a deployment of it if that is new; its other deployments stay as they are."""

    record: AppRecord
    deployment: Deployment | None = None


@dataclass(frozen=True, slots=True)
class ForgetApp(Effect):
    """Drop an App with its Functions."""

    app_id: str
    functions: Sequence[str]


@dataclass(frozen=True, slots=True)
class SaveEnvironments(Effect):
    """Store which environments there are, and since when."""

    environments: dict[str, float]


@dataclass(frozen=True, slots=True)
class SaveVariant(Effect):
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
class SaveSettings(Effect):
    """Store a Function's overridden pool settings."""

    function: str
    settings: dict[str, float]


@dataclass(frozen=True, slots=True)
class SaveSecret(Effect):
    """Store a secret; values None: forget it."""

    name: str
    environment_name: str
    values: Mapping[str, str] | None = field(repr=False)
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class SaveCall(Effect):
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
class SaveCancelled(Effect):
    """Store that a durable call was cancelled: no hub may run its inputs again."""

    call: str


@dataclass(frozen=True, slots=True)
class SaveBegun(Effect):
    """Store that inputs begin, which must not begin again."""

    call: str
    indices: Sequence[int]


@dataclass(frozen=True, slots=True)
class SaveFailures(Effect):
    """Store how often an input of a durable call has failed, so that no hub retries it too often."""

    call: str
    index: int
    failures: int


@dataclass(frozen=True, slots=True)
class SaveOutcomes(Effect):
    """Store outcomes of a durable call."""

    call: str
    outcomes: Sequence[Outcome]


@dataclass(frozen=True, slots=True)
class SaveRetry(Effect):
    """Store that inputs of a durable call which failed wait again, for another version of the Function."""

    call: str
    version: int
    indices: Sequence[int]
    token: str


@dataclass(frozen=True, slots=True)
class LoadFailures(Effect):
    """Have the store tell a call that is to run again; `FailuresLoaded` brings it."""

    client: str
    request: int
    call: str
    token: str


@dataclass(frozen=True, slots=True)
class LoadCall(Effect):
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
class LoadInput(Effect):
    """Answer a request from the store: what an input of a durable call was called with."""

    client: str
    request: int
    call: str
    index: int


@dataclass(frozen=True, slots=True)
class LoadGraph(Effect):
    """Answer a request for a call graph from the store; ``calls`` are those of the family that memory knows."""

    client: str
    request: int
    call: str
    calls: Sequence[str]
