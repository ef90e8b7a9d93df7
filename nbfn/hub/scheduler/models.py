"""The entities of the state machine: inputs, calls, workers, pools, clients, claims and scheduled Functions.

They keep their own invariants and make no scheduling decisions. They refer to each other, so they share one
module. `hub_state` holds all of them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

from nbfn.hub.scheduler import autoscaler, fair_queue
from nbfn.hub.scheduler.payloads import Payload, Stored
from nbfn.hub.scheduler.registry import FunctionRecord
from nbfn.hub.scheduler.startup_output import StartupOutput
from nbfn.protocol.call_states import InputCounts
from nbfn.protocol.messages import Definition, Output, Result, Schedule
from nbfn.types import InputStatus

#: Ended calls kept for each client, for redelivery after a lost connection.
ENDED_KEPT = 256

_PENDING, _RUNNING = InputStatus.PENDING, InputStatus.RUNNING


class Input:
    """One input of a call. It has a lease exactly while a worker has it."""

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
        "queued",
        "status",
        "weight",
        "worker",
    )

    def __init__(self, call: Call, index: int, payload: Payload, weight: int, now: float) -> None:
        self.call = call
        self.index = index
        self.payload = payload
        self.weight = weight  # of the payload, in bytes
        self.status = InputStatus.PENDING
        self.lease = 0
        self.worker: Worker | None = None
        self.batch = 0  # the lease of the first input of its batch
        self.queued = now  # when it arrived, or was queued again
        self.began = 0.0  # when it was leased
        self.attempt = 0  # the number of its current or last attempt
        self.failures = 0  # of the user's code: limited by `retries`
        self.losses = 0  # workers that were lost while they had it: limited by MAX_LOSSES
        self.crashes = 0  # workers that died while running it: limited by CRASH_BUDGET
        self.cancelled = False

    @property
    def stored(self) -> bool:
        """Whether its payload is only on disk."""
        return type(self.payload) is Stored

    def detach(self) -> None:
        """End its lease; the caller requeues or finishes it."""
        worker = self.worker
        if worker is not None:
            worker.leases.pop(self.lease, None)
            worker.load -= self.weight
            self.call.pool.leased -= 1
            self.call.leased -= 1
        self.worker = None
        self.lease = self.batch = 0
        self.status = _PENDING


class Call:
    """One `remote`, `map`, `spawn` or generator call; holds only its unfinished inputs."""

    __slots__ = (
        "cancelled",
        "cancelled_inputs",
        "children",
        "client",
        "closed",
        "consumed",
        "created",
        "cut_short",
        "deployment",
        "detached",
        "durable",
        "expected",
        "failed",
        "failing",
        "first_undispatched",
        "given_up",
        "id",
        "inputs",
        "kind",
        "leased",
        "levels",
        "method",
        "next_index",
        "not_run",
        "notify",
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
        "succeeded",
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
        self.parent = ""  # call and index of the input whose code made it, if any
        self.children: set[str] | None = None  # calls that its code made and waits for
        self.origin = ""  # the notebook or script that it comes from
        self.method = ""  # of a class
        self.levels = b""  # log levels of its caller
        self.notify = False  # pages show a notification when it ends
        self.deployment = 0  # the deployment of its App that it is pinned to, 0 for none
        self.durable = False
        self.unattended = False  # no client raises its failures
        self.closed = False
        self.first_undispatched = 0  # no input from this index on was dispatched
        self.next_index = 0  # inputs arrive in order: lower indices have arrived
        self.cancelled = False
        self.detached = False  # its client does not wait for it, and collects its results
        self.cut_short = False  # it was cancelled while more inputs could come
        self.failing = False  # its caller stopped it because of an error
        self.given_up = False  # its client was gone before it had sent all inputs
        self.released = False
        self.retried = ("", 0)  # the token of the latest retry, and its number of inputs
        self.inputs: dict[int, Input] = {}
        self.queue: deque[Input] = deque()
        #: Outcomes to redeliver if the client lost its connection; at most a window of inputs is unanswered.
        self.recent: deque[Output] = deque(maxlen=fair_queue.WINDOW_MAX)
        self.unconsumed = 0  # bytes of results that its client has not consumed
        self.consumed = 0  # bytes of consumed results that are still in `recent`
        self.watchers: set[str] = set()
        self.total = self.leased = self.retrying = 0
        #: The numbers of inputs that have ended in each way.
        self.succeeded = self.failed = self.cancelled_inputs = self.not_run = 0
        self.expected: int | None = None  # total inputs, if the client knows it
        self.window = fair_queue.WINDOW_MIN
        self.progress_sent_at = -1.0
        self.progress_due = False

    @property
    def pending(self) -> fair_queue.FairQueue[Call, Input]:
        """The queue of its waiting inputs."""
        return self.pool.batches.get(self.method) or self.pool.pending

    def count_settled(self, counts: InputCounts) -> None:
        """Set the numbers of inputs that ended before this hub had the call."""
        self.succeeded, self.failed = counts.succeeded, counts.failed
        self.cancelled_inputs, self.not_run = counts.cancelled, counts.not_run
        self.total = counts.settled

    @property
    def done(self) -> int:
        """The number of inputs that have ended."""
        return self.succeeded + self.failed + self.cancelled_inputs + self.not_run

    @property
    def ended(self) -> bool:
        """Whether all inputs have outcomes and no more can arrive."""
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
        self.unconfirmed = 0  # bytes of results that are not confirmed to it
        self.joined = now
        self.idle_since = now
        self.last_progress = now  # when it last started or finished an input
        self.lost_since = now  # while it is lost: when its connection ended
        self.bound_at = 0.0  # when it was bound to a function
        self.loaded = False  # it has reported that its function is loaded
        self.inputs_run = 0
        self.served = False  # it has finished an input
        self.last_output = 0  # the number of the last part of its output that arrived
        self.startup: StartupOutput | None = None  # its output outside of inputs, to be shown
        self.confirmed = 0  # results up to this number are safe ...
        self.confirm_due = False  # ... which is confirmed with its next inputs, or by a timer ...
        self.confirm_timed = False  # ... that runs
        self.durable = False  # had results of durable calls: confirmations wait for commits
        self.solo = False  # runs an input that crashed a worker, so it gets no other input
        self.stopping = False  # the hub ordered its end
        self.overdue = False  # ... because its input ran over the time limit
        self.lent = 0  # calls that its inputs wait for
        self.lending = False  # its slot is free for others: it has no room, and an input only waits
        self.claimed = 0  # inputs of the previous hub that it runs and no client has resent
        self.gpus: tuple[str, ...] = ()  # reserved for it
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
        "is_session",
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
        "was_starting",
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
        self.short = 0  # workers that it lacks
        self.was_starting = False  # when its calls were last told: whether workers start
        self.busy = 0  # workers with inputs
        self.leased = 0  # inputs that workers have
        self.lent = 0  # workers that lend their slot while their input waits for other calls
        self.last_progress = 0.0  # when one of its workers last started or finished an input
        self.check_due = False  # a timer is set to check whether running inputs are slow
        self.pending: fair_queue.FairQueue[Call, Input] = fair_queue.FairQueue()
        #: The queues of batched methods; "" is the Function itself.
        self.batches = _batches_of(self.definition)
        #: Whether its workers run sessions of notebooks.
        self.is_session = self.definition.kind == "session"
        needs = self.definition.resources
        #: Whether resources are reserved for its workers.
        self.needs_resources = bool(needs.cpu or needs.memory or needs.gpus)
        self.batch = largest_batch(self.definition)
        #: Inputs, or batches, that a worker runs at once, and how many it should on average.
        self.most_at_once = at_once(self.definition)
        target_at_once = self.definition.concurrency.target_inputs or self.most_at_once
        self.target_at_once = max(1, min(target_at_once, self.most_at_once))
        #: Whether workers get more inputs before they have finished the current ones.
        no_prefetch = self.definition.single_use or self.definition.at_most_once
        self.prefetches = self.most_at_once == 1 and not (no_prefetch or self.batches)
        self.solo: deque[Input] = deque()
        self.mean_duration: float | None = None
        self.result_weight = 0.0  # running mean of the bytes of a result
        self.durations: deque[float] = deque(maxlen=101)
        self.called: float | None = None  # when its latest call started
        self.failed = 0  # inputs that failed for good
        self.cold_starts = 0  # workers that were bound while inputs waited
        #: Workers in a row that ended before they finished an input: since inputs wait, and in total.
        self.start_failures = self.load_failures = 0
        self.failed_at = 0.0  # when the last of them ended
        self.load_not_before = 0.0  # when the next worker may be bound
        self.retired = False  # another version is current
        self.recall_due = False
        self.shrink_due = False  # a timer is set to stop workers that are idle for too long
        self.waiting_for = ""
        self.progress_due = False  # a timer is set to report long waits

    @property
    def staged(self) -> bool:
        """Whether its version is newer than the current one, and not deployed yet."""
        return self.key[1] > self.record.latest

    @property
    def backlog(self) -> int:
        """The number of waiting inputs."""
        waiting = self.pending.count + self.pending.held_back + len(self.solo)
        if self.batches:
            waiting += sum(pending.count + pending.held_back for pending in self.batches.values())
        return waiting

    @property
    def waiting(self) -> int:
        """The number of waiting inputs; a batch counts as one."""
        waiting = self.pending.count + len(self.solo)
        if self.batches:
            waiting += sum(math.ceil(t.count / t.size) for t in self.batches.values())
        return waiting

    @property
    def running(self) -> int:
        """The number of leased inputs; a batch counts as one."""
        if not self.batches:
            return self.leased
        return sum(self.most_at_once - self.room(worker) for worker in self.workers.values())

    def measured(self, duration: float, weight: float) -> None:
        """Add a measurement: mean seconds of inputs, and mean bytes of their results."""
        self.mean_duration = fair_queue.smoothed(self.mean_duration, duration)
        self.durations.append(duration)
        self.result_weight = fair_queue.smoothed(self.result_weight, weight)

    def succeeded(self) -> None:
        """Reset the count of failures: a worker works."""
        self.start_failures = self.load_failures = 0

    def lease(
        self, worker: Worker, items: Sequence[Input], new_lease: Callable[[], int], now: float
    ) -> None:
        """Lease inputs to a worker; `Input.detach` ends a lease.

        Args:
            worker: A worker of this pool.
            items: Inputs of this pool without a lease.
            new_lease: Returns an unused lease number.
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
            item.call.leased += 1
            worker.leases[lease] = item
        self.leased += len(items)
        worker.load += fair_queue.weight_of(items)
        worker.inputs_run += len(items)
        if worker.solo:
            self.ready.pop(worker.id, None)

    def adopt(self, worker: Worker, item: Input, lease: int, attempt: int, now: float) -> None:
        """Record the lease of a worker from the previous hub."""
        if worker.state == "idle":  # a lost or draining worker keeps its state
            self._becomes_busy(worker)
        item.worker, item.lease, item.attempt = worker, lease, attempt
        item.status = _RUNNING
        item.began = now
        item.call.leased += 1
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
        """Whether a worker may get inputs, and so belongs into `ready`."""
        if worker.solo or worker.stopping or worker.state not in ("idle", "busy"):
            return False
        if self.prefetches:
            return not worker.lent
        return self.room(worker) > 0 and not (self.definition.single_use and worker.inputs_run)

    @property
    def starting(self) -> int:
        """The number of workers that load the function or are not there yet."""
        return len(self.binding) + self.short


def at_once(definition: Definition) -> int:
    """Return how many inputs, or batches, one worker may run at once."""
    return 1 if definition.single_use else max(1, definition.concurrency.max_inputs or 1)


def largest_batch(definition: Definition) -> int:
    """Return the largest batch of a Function."""
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
    """One connected process, or one that may reconnect."""

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
        self.worker = worker  # the worker in which it runs, if any
        self.name = name
        self.origin = origin
        self.executable = executable
        self.connected = True
        self.calls: set[str] = set()
        #: Ended calls whose last outcomes may not have arrived.
        self.ended: deque[Call] = deque(maxlen=ENDED_KEPT)


class Claim:
    """A lease from the previous hub, for an input that no client has resent yet."""

    __slots__ = ("attempt", "input", "lease", "result", "worker")

    def __init__(self, worker: Worker, lease: int, attempt: int, input: tuple[str, int]) -> None:  # noqa: A002
        self.worker = worker
        self.lease = lease
        self.attempt = attempt
        self.input = input
        self.result: Result | None = None


class ScheduledFunction:
    """A scheduled Function, and when it is due."""

    __slots__ = ("anchor", "called", "due", "record", "schedule")

    def __init__(self, record: FunctionRecord, schedule: Schedule, anchor: float) -> None:
        self.record = record
        self.schedule = schedule
        self.anchor = anchor  # the start of the first period
        self.due = math.inf
        self.called = -math.inf  # when it was last called
