"""Inputs and the workers that have them: granted, finished, retried, given back.

Rule 1: an input has a lease exactly while it is in one worker's table; whatever arrives under
another number is dropped.
Rule 2: an input gets one outcome; `outcomes.finish` is the only way to it.
Rule 3: what a user's code does wrong counts against ``retries``; what its worker does is for
`losses`.
"""

from __future__ import annotations

from collections.abc import Sequence

from nbfn.hub import outcomes, schedule
from nbfn.hub.effects import (
    AskFeed,
    ConfirmResults,
    DeliverEmission,
    DeliverItems,
    Discard,
    Grant,
    Outcome,
    RecallLeases,
    RunInputs,
    StopWorker,
)
from nbfn.hub.events import (
    EmissionArrived,
    FeedAsked,
    ItemsArrived,
    LeasesReturned,
    ResultsArrived,
)
from nbfn.hub.tables import Call, Input, Pool, Tables, Worker
from nbfn.types import InputStatus

#: Seconds without a word from a worker with several inputs, while others are idle, until it is
#: asked to give some back.
RECALL_AFTER = 0.05
#: Seconds until a worker is told that its results are safe, when no inputs go to it that could
#: carry the word.
CONFIRM_AFTER = 0.2

_PENDING, _RUNNING, _SUCCESS = InputStatus.PENDING, InputStatus.RUNNING, int(InputStatus.SUCCESS)
_RETRIED = frozenset({int(InputStatus.FAILURE), int(InputStatus.TIMEOUT)})


# --- handing out ---------------------------------------------------------------------------------


def dispatch(t: Tables, pool: Pool) -> None:
    """Give waiting inputs to workers with room."""
    while pool.solo and (worker := _fresh(pool)):
        worker.solo = True
        _lease(t, worker, [pool.solo.popleft()])
    turns = pool.turns
    if turns.count and pool.ready:
        batch = schedule.batch_size(pool.mean, turns.count, len(pool.workers) + pool.short)
        most = pool.settings.max_containers + pool.lent
        while turns.count and pool.ready and (pool.busy < most or not pool.idle):
            # Idle ones first, the latest used of them (its caches are warm; the
            # others may be given up).
            worker = next(reversed((pool.idle or pool.ready).values()))
            room = schedule.room(len(worker.leases), pool.mean, batch)
            if room:
                _lease(t, worker, list(turns.take(room)))
            pool.ready.pop(worker.id, None)
    elif pool.idle and pool.leased > pool.busy and not pool.recall_due:
        pool.recall_due = True
        t.after(RECALL_AFTER, _recall, pool)


def _fresh(pool: Pool) -> Worker | None:
    return next((worker for worker in pool.idle.values() if worker.ran == 0), None)


def _lease(t: Tables, worker: Worker, items: list[Input]) -> None:
    pool = items[0].call.pool
    grants = []
    if not worker.leases:
        pool.idle.pop(worker.id, None)
        pool.busy += 1
        worker.moved = t.now
        if pool.busy == 1:
            pool.moved = t.now
        worker.state = "busy"
    for item in items:
        item.lease = lease = t.new_lease()
        item.worker = worker
        item.status = _RUNNING
        item.attempt += 1
        call = item.call
        call.running += 1
        worker.leases[lease] = item
        grants.append(
            Grant(
                lease,
                call.id,
                item.index,
                item.attempt,
                item.payload,
                call.durable,
                call.method,
            )
        )
    pool.leased += len(items)
    worker.ran += len(items)
    worker.confirm_due = False
    if worker.solo:
        pool.ready.pop(worker.id, None)
    t.emit(RunInputs(worker.id, grants, worker.confirmed))
    if not worker.watched:
        worker.watched = True
        t.after(_limit(t, pool), _check_overdue, worker)
    for call in {id(item.call): item.call for item in items}.values():
        outcomes.tell_progress(t, call)


def _limit(t: Tables, pool: Pool) -> float:
    return pool.definition.timeout + 2 * t.limits.kill_grace


def _check_overdue(t: Tables, worker: Worker) -> None:
    """The worker ends inputs that are over their time itself; this is for one that can't (stuck
    in C code).
    """
    worker.watched = False
    if worker.pool is None or not worker.leases or worker.stopping:
        return
    left = worker.moved + _limit(t, worker.pool) - t.now
    if left > 0:
        worker.watched = True
        t.after(left, _check_overdue, worker)
    else:
        worker.stopping = worker.overdue = True
        t.emit(StopWorker(worker.id, t.limits.kill_grace))


def _recall(t: Tables, pool: Pool) -> None:
    """Some workers are idle while others sit on inputs: have the stuck ones give back what they
    have not begun.
    """
    pool.recall_due = False
    if pool.turns.count or not pool.idle:
        return
    for worker in pool.workers.values():
        if len(worker.leases) > 1 and not worker.stopping and t.now - worker.moved >= RECALL_AFTER:
            t.emit(RecallLeases(worker.id))
    if pool.leased > pool.busy:
        pool.recall_due = True
        t.after(RECALL_AFTER, _recall, pool)


# --- coming back ---------------------------------------------------------------------------------


def results_arrived(t: Tables, event: ResultsArrived) -> None:
    """Take a worker's results: outcomes for their callers, or another try."""
    worker = t.workers.get(event.worker)
    if worker is None or worker.pool is None:
        for _, _, payload, _ in event.results:
            t.emit(Discard(payload))
        return
    pool = worker.pool
    ended: dict[Call, list[Outcome]] = {}
    spent = count = 0.0
    for lease, status, payload, duration in event.results:
        item = worker.leases.get(lease)
        if item is None:
            claim = t.claimed.get(lease)
            if claim is None:
                t.emit(Discard(payload))  # fenced: somebody else answers for that input
            else:
                claim.result = (lease, status, payload, duration)
            continue
        if status != InputStatus.TERMINATED:
            spent += duration
            count += 1
        detach(item)
        outcome = _judge(t, item, status, payload, duration, worker)
        if outcome is not None:
            ended.setdefault(item.call, []).append(outcome)
    if count:
        pool.mean = schedule.smoothed(pool.mean, spent / count)
        pool.durations.append(spent / count)
    worker.moved = pool.moved = t.now
    durable = False
    for call, found in ended.items():
        durable = durable or call.durable
        outcomes.finish(t, call, found)
    if event.seq:
        _confirm(t, worker, event.seq, durable=durable)
    freed(t, worker)


def _judge(
    t: Tables, item: Input, status: int, payload: object, duration: float, worker: Worker
) -> Outcome | None:
    """Return the outcome of an input that a worker ended, or None when it is to be tried again."""
    call = item.call
    if status == _SUCCESS:
        return Outcome(item.index, status, payload, None, duration, worker.id, item.attempt)
    if item.cancelled or call.cancelled:
        t.emit(Discard(payload))
        return outcomes.terminated(item)
    if status == InputStatus.TERMINATED:  # the worker stopped it on its own account: it is drained
        requeue(t, item)
        return None
    retries = call.pool.definition.retries
    if status in _RETRIED and item.failures < retries.max_retries:
        delay = retries.initial_delay * retries.backoff_coefficient**item.failures
        item.failures += 1
        call.retrying += 1
        t.emit(Discard(payload))
        t.after(min(delay, retries.max_delay), _try_again, item)
        return None
    return Outcome(item.index, status, payload, None, duration, worker.id, item.attempt)


def _try_again(t: Tables, item: Input) -> None:
    item.call.retrying -= 1
    if item.call.inputs.get(item.index) is item and item.worker is None:
        requeue(t, item)


def detach(item: Input) -> None:
    """Take an input from its worker; the caller says what becomes of it."""
    worker = item.worker
    if worker is not None:
        worker.leases.pop(item.lease, None)
        item.call.pool.leased -= 1
        item.call.running -= 1
    item.worker = None
    item.lease = 0
    item.status = _PENDING


def requeue(t: Tables, item: Input) -> None:
    """Put an input that no worker has back into its queue, in front; a cancelled one ends."""
    call = item.call
    if item.cancelled or call.cancelled:
        outcomes.finish(t, call, [outcomes.terminated(item)])
    elif item.crashes:
        call.pool.solo.append(item)
    else:
        call.pool.turns.push(item, front=True)
    t.touch(call.pool)


def freed(t: Tables, worker: Worker) -> None:
    """Note that a worker has fewer inputs than before."""
    pool = worker.pool
    if pool is None or worker.state not in ("busy", "idle"):
        return
    if not worker.leases:
        if worker.state == "busy":
            pool.busy -= 1
            worker.state = "idle"
        worker.solo = False
        worker.idle_since = t.now
        pool.idle[worker.id] = worker
    if not worker.solo and not worker.stopping and not worker.lent:
        pool.ready[worker.id] = worker
    t.touch(pool)


def _confirm(t: Tables, worker: Worker, seq: int, *, durable: bool) -> None:
    worker.durable = worker.durable or durable
    if worker.durable:
        t.emit(ConfirmResults(worker.id, seq, after_commit=True))
        return
    worker.confirmed = seq
    if not worker.confirm_due:
        worker.confirm_due = True
        t.after(CONFIRM_AFTER, confirm_now, worker)


def confirm_now(t: Tables, worker: Worker) -> None:
    """Tell a worker which results are safe, if that is still to be said."""
    if worker.confirm_due:
        worker.confirm_due = False
        t.emit(ConfirmResults(worker.id, worker.confirmed))


def leases_returned(t: Tables, event: LeasesReturned) -> None:
    """Take back what a worker never began; that was no attempt."""
    worker = t.workers.get(event.worker)
    if worker is not None:
        give_back(t, worker, event.leases)
        freed(t, worker)


def give_back(t: Tables, worker: Worker, leases: Sequence[int]) -> None:
    """Requeue inputs that a worker has not begun, in their old order."""
    for lease in reversed(leases):
        item = worker.leases.get(lease)
        if item is not None:
            item.attempt -= 1
            detach(item)
            requeue(t, item)


def items_arrived(t: Tables, event: ItemsArrived) -> None:
    """Pass on what a generator yielded."""
    item = _leased(t, event.worker, event.lease)
    if item is None:
        for payload in event.payloads:
            t.emit(Discard(payload))
    else:
        call = item.call
        t.emit(DeliverItems(call.client, call.id, item.index, event.start, event.payloads))


def feed_asked(t: Tables, event: FeedAsked) -> None:
    """Pass on that an input is ready for more of what it reads."""
    item = _leased(t, event.worker, event.lease)
    if item is not None:
        t.emit(AskFeed(item.call.client, item.call.id, item.index, item.attempt, event.upto))


def emission_arrived(t: Tables, event: EmissionArrived) -> None:
    """Pass on what user code wrote, to whoever listens."""
    item = _leased(t, event.worker, event.lease)
    if item is not None:
        for client in outcomes.listeners(t, item.call):
            t.emit(
                DeliverEmission(
                    client,
                    item.call.id,
                    item.index,
                    item.attempt,
                    event.channel,
                    event.data,
                    event.worker,
                )
            )


def _leased(t: Tables, worker_id: str, lease: int) -> Input | None:
    worker = t.workers.get(worker_id)
    return worker.leases.get(lease) if worker is not None else None
