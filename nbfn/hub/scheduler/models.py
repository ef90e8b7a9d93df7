"""What the state machine keeps a row of: inputs and calls, workers and pools, clients, and what is due.

Rows hold, and answer for themselves; they do not decide. They refer to each other, so they are here
together. `hub_state` has all of them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

from nbfn.hub.scheduler import autoscaler, fair_queue
from nbfn.hub.scheduler.payloads import Payload, Stored
from nbfn.hub.scheduler.registry import FunctionRecord
from nbfn.hub.scheduler.startup_output import StartupOutput
from nbfn.protocol.messages import Definition, Output, Result, Schedule
from nbfn.types import InputStatus

#: Ended calls kept for each client, in case its connection broke before their outcomes arrived.
ENDED_KEPT = 256

_PENDING, _RUNNING = InputStatus.PENDING, InputStatus.RUNNING


class Input:
    """One set of arguments and what became of it so far. It has a lease exactly while a worker
    has it.
    """

    __slots__ = (
        "attempt",
        "batch",
        "began",
        "call",
        "cancelled",
        "crashes",
        "failures",
        "index",
        "lease",
        "losses",
        "payload",
        "status",
        "weight",
        "worker",
    )

    def __init__(self, call: Call, index: int, payload: Payload, weight: int) -> None:
        self.call = call
        self.index = index
        self.payload = payload
        self.weight = weight  # of the payload, in bytes
        self.status = InputStatus.PENDING
        self.lease = 0
        self.worker: Worker | None = None
        self.batch = 0  # the lease of the first one of the batch that it runs in
        self.began = 0.0  # when a worker got it
        self.attempt = 0  # times it was handed to a worker that began it, as the user counts
        self.failures = 0  # of the user's code: limited by `retries`
        self.losses = 0  # of workers around it: limited by MAX_LOSSES
        self.crashes = 0  # of workers under it: limited by CRASH_BUDGET
        self.cancelled = False

    @property
    def stored(self) -> bool:
        """Whether its payload is on the disk only."""
        return type(self.payload) is Stored

    def detach(self) -> None:
        """Take it from its worker; the caller says what becomes of it."""
        worker = self.worker
        if worker is not None:
            worker.leases.pop(self.lease, None)
            worker.load -= self.weight
            self.call.pool.leased -= 1
            self.call.running -= 1
        self.worker = None
        self.lease = self.batch = 0
        self.status = _PENDING


class Call:
    """One `remote`, `map`, `spawn` or generator call; holds its unfinished inputs only."""

    __slots__ = (
        "cancelled",
        "children",
        "client",
        "closed",
        "consumed",
        "created",
        "deployment",
        "done",
        "durable",
        "expected",
        "failed",
        "first_undispatched",
        "given_up",
        "id",
        "inputs",
        "kind",
        "levels",
        "method",
        "next_index",
        "origin",
        "parent",
        "pool",
        "progress_due",
        "progress_sent_at",
        "queue",
        "recent",
        "released",
        "retried",
        "retrying",
        "running",
        "total",
        "unattended",
        "unconsumed",
        "watchers",
        "window",
    )

    def __init__(self, id: str, client: str, pool: Pool, kind: str, now: float) -> None:  # noqa: A002 - its id
        self.id = id
        self.client = client
        self.pool = pool
        self.kind = kind
        self.created = now
        self.parent = ""  # the input whose code made it, if one did: call and index
        self.children: set[str] | None = None  # calls that its code made and waits for
        self.origin = ""  # the notebook or script that it comes from
        self.method = ""  # of a class
        self.levels = b""  # of its caller's loggers
        self.deployment = 0  # of its App, if it is to stay with one
        self.durable = False
        self.unattended = False  # nobody looks at its failures
        self.closed = False
        self.first_undispatched = 0  # inputs from this index on were at no worker
        self.next_index = 0  # inputs come in order: a lower index has been here
        self.cancelled = False
        self.given_up = False  # its client was gone before it had told all inputs
        self.released = False
        self.retried = ("", 0)  # the token of the latest retry, and how many inputs that began
        self.inputs: dict[int, Input] = {}
        self.queue: deque[Input] = deque()
        #: Outcomes a client that lost its connection may not have seen. It never has more
        #: inputs unanswered than its window.
        self.recent: deque[Output] = deque(maxlen=fair_queue.WINDOW_MAX)
        self.unconsumed = 0  # bytes of results that its client has not taken
        self.consumed = 0  # bytes of taken results, of which `recent` has forgotten fewer
        self.watchers: set[str] = set()
        self.total = self.done = self.failed = self.running = self.retrying = 0
        self.expected: int | None = None  # inputs there will be, if the client knows
        self.window = fair_queue.WINDOW_MIN
        self.progress_sent_at = -1.0
        self.progress_due = False

    @property
    def pending(self) -> fair_queue.FairQueue[Call, Input]:
        """Where its inputs wait."""
        return self.pool.batches.get(self.method) or self.pool.pending

    @property
    def ended(self) -> bool:
        """Whether no outcome is missing and no input can come."""
        return self.closed and not self.inputs


class Worker:
    """One worker process as the hub sees it."""

    __slots__ = (
        "bound_at",
        "claimed",
        "confirm_due",
        "confirm_timed",
        "confirmed",
        "durable",
        "executable",
        "gpus",
        "id",
        "idle_since",
        "inputs_run",
        "joined",
        "last_output",
        "last_progress",
        "leases",
        "lending",
        "lent",
        "load",
        "loaded",
        "lost_since",
        "overdue",
        "pid",
        "pool",
        "served",
        "solo",
        "startup",
        "state",
        "stopping",
        "unconfirmed",
        "watched",
    )

    def __init__(self, id: str, executable: str, now: float) -> None:  # noqa: A002 - its id
        self.id = id
        self.executable = executable
        self.pid = 0
        self.state = "starting"  # starting, blank, binding, idle, busy, draining, lost
        self.pool: Pool | None = None
        self.leases: dict[int, Input] = {}
        self.load = 0  # bytes of these inputs
        self.unconfirmed = 0  # bytes of results that it was not told to be safe
        self.joined = now
        self.idle_since = now
        self.last_progress = now  # when it last began or finished something
        self.lost_since = now  # while it is lost: when its connection ended
        self.bound_at = 0.0  # when it was given a function
        self.loaded = False  # it has said that it can take inputs
        self.inputs_run = 0
        self.served = False  # it has answered for an input
        self.last_output = 0  # the number of the last piece of its output that arrived
        self.startup: StartupOutput | None = None  # what it wrote outside of inputs, to be shown
        self.confirmed = 0  # results up to here are safe ...
        self.confirm_due = False  # ... and it will be told with its next inputs, or by a timer ...
        self.confirm_timed = False  # ... that runs
        self.durable = False  # had results of durable calls: confirmations wait for commits
        self.solo = (
            False  # runs an input that crashed a worker before: nothing else may be beside it
        )
        self.stopping = False  # the hub ordered its end
        self.overdue = False  # ... because its input ran over the time limit
        self.lent = 0  # calls that its inputs made and wait for
        self.lending = False  # it has no room, and some of what it runs only waits
        self.claimed = 0  # inputs that it runs since the hub before, and nobody has told of yet
        self.gpus: tuple[str, ...] = ()  # set aside for it
        self.watched = False  # a time-limit timer is set


class Pool:
    """The workers of one Function version."""

    __slots__ = (
        "batch",
        "batches",
        "binding",
        "busy",
        "called",
        "check_due",
        "cold_starts",
        "definition",
        "durations",
        "executable",
        "failed",
        "failed_at",
        "idle",
        "key",
        "last_progress",
        "leased",
        "lent",
        "load_failures",
        "load_not_before",
        "mean_duration",
        "most_at_once",
        "needs_resources",
        "pending",
        "prefetches",
        "progress_due",
        "ready",
        "recall_due",
        "record",
        "result_weight",
        "retired",
        "settings",
        "short",
        "shrink_due",
        "solo",
        "start_failures",
        "target_at_once",
        "waiting_for",
        "workers",
    )

    def __init__(self, record: FunctionRecord, version: int, settings: autoscaler.Settings) -> None:
        self.record = record
        self.key = (record.id, version)
        self.definition: Definition = record.versions[version]
        self.executable = self.definition.environment.executable
        self.settings = settings
        self.workers: dict[str, Worker] = {}
        self.ready: dict[str, Worker] = {}  # loaded, with room for more inputs
        self.idle: dict[str, Worker] = {}  # loaded, without any input; least recently used first
        self.binding: dict[str, Worker] = {}  # loading the function
        self.short = 0  # workers wanted and not to be had yet
        self.busy = 0  # workers with inputs
        self.leased = 0  # inputs that workers have
        self.lent = 0  # workers whose input waits for other calls: their slots are free meanwhile
        self.last_progress = 0.0  # when one of its workers last began or finished something
        self.check_due = False  # a timer looks again whether the inputs at work are slow
        self.pending: fair_queue.FairQueue[Call, Input] = fair_queue.FairQueue()
        #: Batched methods, "" for a Function itself: where their inputs gather.
        self.batches = _batches_of(self.definition)
        needs = self.definition.resources
        self.needs_resources = bool(
            needs.cpu or needs.memory or needs.gpus
        )  # for something to be set aside
        self.batch = largest_batch(self.definition)
        #: Inputs, or batches, that a worker runs at once, and how many it should on average.
        self.most_at_once = at_once(self.definition)
        target_at_once = self.definition.concurrency.target_inputs or self.most_at_once
        self.target_at_once = max(1, min(target_at_once, self.most_at_once))
        #: Whether workers get inputs before they have finished those that they have.
        no_prefetch = self.definition.single_use or self.definition.at_most_once
        self.prefetches = self.most_at_once == 1 and not (no_prefetch or self.batches)
        self.solo: deque[Input] = deque()
        self.mean_duration: float | None = None
        self.result_weight = 0.0  # bytes of a result, the mean of those that came last
        self.durations: deque[float] = deque(maxlen=101)
        self.called: float | None = None  # when the newest call of it began
        self.failed = 0  # inputs that ended badly, for good
        self.cold_starts = 0  # workers that were made while inputs waited
        #: Workers in a row that ended before they served an input: since something waits, and in all.
        self.start_failures = self.load_failures = 0
        self.failed_at = 0.0  # when the last of them ended
        self.load_not_before = 0.0  # when the next one is bound
        self.retired = False  # another version took its place
        self.recall_due = False
        self.shrink_due = (
            False  # a timer will look whether idle workers have been so for long enough
        )
        self.waiting_for = ""
        self.progress_due = False  # a timer looks who has waited long

    @property
    def staged(self) -> bool:
        """Whether its version is newer than the current one: a deployment may make it current."""
        return self.key[1] > self.record.latest

    @property
    def backlog(self) -> int:
        """Inputs that wait."""
        waiting = self.pending.count + self.pending.held_back + len(self.solo)
        if self.batches:
            waiting += sum(pending.count + pending.held_back for pending in self.batches.values())
        return waiting

    @property
    def waiting(self) -> int:
        """Inputs that wait, those of one batch as one."""
        waiting = self.pending.count + len(self.solo)
        if self.batches:
            waiting += sum(math.ceil(t.count / t.size) for t in self.batches.values())
        return waiting

    @property
    def running(self) -> int:
        """Inputs that workers have, those of one batch as one."""
        if not self.batches:
            return self.leased
        return sum(self.most_at_once - self.room(worker) for worker in self.workers.values())

    def measured(self, duration: float, weight: float) -> None:
        """Note how long inputs took, in seconds, and what their results weigh, in bytes; each is a mean."""
        self.mean_duration = fair_queue.smoothed(self.mean_duration, duration)
        self.durations.append(duration)
        self.result_weight = fair_queue.smoothed(self.result_weight, weight)

    def succeeded(self) -> None:
        """Note that a worker works: earlier failures are over."""
        self.start_failures = self.load_failures = 0

    def lease(
        self, worker: Worker, items: Sequence[Input], new_lease: Callable[[], int], now: float
    ) -> None:
        """Give a worker inputs. The other way is `Input.detach`.

        Args:
            worker: One of this pool.
            items: Inputs of this pool that no worker has.
            new_lease: Returns a number that no lease had.
            now: The hub's time.
        """
        if not worker.leases:
            worker.last_progress = now
            self._becomes_busy(worker)
            if self.busy == 1:
                self.last_progress = now
        batch = 0
        for item in items:
            item.lease = lease = new_lease()
            if self.batches and item.call.method in self.batches:
                item.batch = batch = batch or lease
            item.worker = worker
            item.status = _RUNNING
            item.attempt += 1
            item.began = now
            item.call.running += 1
            worker.leases[lease] = item
        self.leased += len(items)
        worker.load += fair_queue.weight_of(items)
        worker.inputs_run += len(items)
        if worker.solo:
            self.ready.pop(worker.id, None)

    def adopt(self, worker: Worker, item: Input, lease: int, attempt: int, now: float) -> None:
        """Note that a worker has an input since the hub before this one."""
        if worker.state == "idle":  # one that is lost or draining stays so
            self._becomes_busy(worker)
        item.worker, item.lease, item.attempt = worker, lease, attempt
        item.status = _RUNNING
        item.began = now
        item.call.running += 1
        worker.leases[lease] = item
        worker.inputs_run += 1
        worker.load += item.weight
        self.leased += 1
        if self.prefetches or not self.admits(worker):
            self.ready.pop(worker.id, None)

    def _becomes_busy(self, worker: Worker) -> None:
        self.idle.pop(worker.id, None)
        self.busy += 1
        worker.state = "busy"

    def room(self, worker: Worker) -> int:
        """Return how many more inputs, or batches, a worker may run at once."""
        if self.batches:
            running = len({item.batch or item.lease for item in worker.leases.values()})
        else:
            running = len(worker.leases)
        return self.most_at_once - running - worker.claimed

    def admits(self, worker: Worker) -> bool:
        """Whether a worker may be given inputs: what `ready` holds."""
        if worker.solo or worker.stopping or worker.state not in ("idle", "busy"):
            return False
        if self.prefetches:
            return not worker.lent
        return self.room(worker) > 0 and not (self.definition.single_use and worker.inputs_run)

    @property
    def starting(self) -> int:
        """Workers on their way: loading the function, or not there yet."""
        return len(self.binding) + self.short


def at_once(definition: Definition) -> int:
    """Return how many inputs, or batches, one worker may run at once."""
    return 1 if definition.single_use else max(1, definition.concurrency.max_inputs or 1)


def largest_batch(definition: Definition) -> int:
    """Return how many inputs may be run as one."""
    batchings = (definition.batching, *(method.batching for method in definition.methods))
    return max(1, *(batching.max_batch_size or 1 for batching in batchings))


def _batches_of(definition: Definition) -> dict[str, fair_queue.BatchQueue[Call, Input]]:
    batchings_by_method = {"": definition.batching} | {
        m.name: m.batching for m in definition.methods
    }
    return {
        name: fair_queue.BatchQueue(max(1, batching.max_batch_size), max(0.0, batching.wait or 0.0))
        for name, batching in batchings_by_method.items()
        if batching.max_batch_size is not None
    }


class Client:
    """One connected process, or one that may come back."""

    __slots__ = ("calls", "connected", "ended", "executable", "id", "name", "origin", "worker")

    def __init__(
        self,
        id: str,  # noqa: A002 - its id
        name: str,
        executable: str,
        worker: str,
        origin: str = "",
    ) -> None:
        self.id = id
        self.worker = worker  # the worker whose user code it is, if it is one's
        self.name = name
        self.origin = origin
        self.executable = executable
        self.connected = True
        self.calls: set[str] = set()
        self.ended: deque[Call] = deque(maxlen=ENDED_KEPT)  # whose last words may have been lost


class Claim:
    """What a worker said it has, of an input that no client has told of since the hub began."""

    __slots__ = ("attempt", "input", "lease", "result", "worker")

    def __init__(self, worker: Worker, lease: int, attempt: int, input: tuple[str, int]) -> None:  # noqa: A002
        self.worker = worker
        self.lease = lease
        self.attempt = attempt
        self.input = input
        self.result: Result | None = None


class ScheduledFunction:
    """A Function that the hub calls by itself, and when it will."""

    __slots__ = ("anchor", "called", "due", "record", "schedule")

    def __init__(self, record: FunctionRecord, schedule: Schedule, anchor: float) -> None:
        self.record = record
        self.schedule = schedule
        self.anchor = anchor  # what a period is counted from
        self.due = math.inf
        self.called = -math.inf  # when it was called last
