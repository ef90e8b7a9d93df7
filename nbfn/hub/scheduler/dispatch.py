"""Dispatches waiting inputs to workers with room.

The way depends on the pool: workers that run inputs one by one prefetch some (`_prefetch`); concurrent
workers get as many as they run at once (`_dispatch_at_once`); batched Functions get batches that are full or
have waited long enough (`_dispatch_batches`). An input that crashed a worker runs alone in any pool.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from nbfn.hub.scheduler import completion, fair_queue, nested_calls, output
from nbfn.hub.scheduler.effects import LoadInputs, SaveStarted, StopWorker
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call, Input, Pool, Worker
from nbfn.protocol import messages as m

#: Seconds without progress of a worker with several inputs, while others are idle, until it is asked to return some.
RECALL_AFTER = 0.05


def dispatch_touched(t: HubState) -> None:
    """Dispatch the waiting inputs of all touched pools."""
    while t.to_dispatch:
        pool, _ = t.to_dispatch.popitem()
        _dispatch(t, pool)


def _dispatch(t: HubState, pool: Pool) -> None:
    while pool.solo and (worker := _unused_worker(pool)):
        worker.solo = True
        _lease(t, worker, [pool.solo.popleft()])
    if t.held:
        _dispatch_returned(t, pool)
    if pool.batches:
        _dispatch_batches(t, pool)
    if pool.prefetches:
        _prefetch(t, pool)
    else:
        _dispatch_at_once(t, pool)


def _dispatch_returned(t: HubState, pool: Pool) -> None:
    """Dispatch returned inputs of held calls, too: the consumer may be waiting for them."""
    for pending in (pool.pending, *pool.batches.values()):
        for worker in _with_room(pool) if pending.held else ():
            if (item := pending.take_returned()) is None:
                break
            _lease(t, worker, [item])


def _unused_worker(pool: Pool) -> Worker | None:
    return next((worker for worker in pool.idle.values() if worker.inputs_run == 0), None)


def _prefetch(t: HubState, pool: Pool) -> None:
    pending = pool.pending
    if pending.count and pool.ready:
        workers = len(pool.workers) + pool.short
        batch = fair_queue.batch_size(
            pool.mean_duration, pending.count, workers, pool.result_weight
        )
        most = pool.settings.max_containers + pool.lent
        while pending.count and pool.ready and (pool.busy < most or not pool.idle):
            # Idle workers first, the most recently used one (its caches are warm; the others may be stopped).
            worker = next(reversed((pool.idle or pool.ready).values()))
            room = fair_queue.room(len(worker.leases), pool.mean_duration, batch)
            if room:
                _lease(t, worker, pending.take(room, fair_queue.LEASE_BYTES))
            pool.ready.pop(worker.id, None)
    elif pool.idle and pool.leased > pool.busy and not pool.recall_due:
        pool.recall_due = True
        t.after(RECALL_AFTER, _recall, pool)


def _dispatch_at_once(t: HubState, pool: Pool) -> None:
    pending = pool.pending
    fair = math.ceil(pending.count / max(1, len(pool.ready)))
    for worker in _with_room(pool):
        if not pending.count:
            break
        most_bytes = max(1, fair_queue.BATCH_BYTES - worker.load)
        _lease(t, worker, pending.take(min(pool.room(worker), fair), most_bytes))


def _dispatch_batches(t: HubState, pool: Pool) -> None:
    for pending in pool.batches.values():
        pending.note_time(t.now)
        for worker in _with_room(pool):
            if not pending.due(t.now):
                break
            _lease(t, worker, pending.batch())
        if pending.count and not pending.due(t.now) and not pending.check_due:
            pending.check_due = True
            t.after(pending.since + pending.wait - t.now, _check_again, (pool, pending))


def _check_again(t: HubState, what: tuple[Pool, fair_queue.BatchQueue[Call, Input]]) -> None:
    pool, pending = what
    pending.check_due = False
    t.touch(pool)


def _with_room(pool: Pool) -> Iterator[Worker]:
    """Yield workers with room, idle ones first; one that still has room is yielded again last."""
    while pool.ready:
        most = pool.settings.max_containers + pool.lent
        rested = next((w for w in reversed(pool.idle.values()) if w.id in pool.ready), None)
        worker = rested if rested and pool.busy < most else _busy(pool)
        if worker is None:
            return
        if pool.admits(worker):
            yield worker
        pool.ready.pop(worker.id, None)
        if pool.admits(worker):
            pool.ready[worker.id] = worker


def _busy(pool: Pool) -> Worker | None:
    return next((worker for worker in pool.ready.values() if worker.leases), None)


def _lease(t: HubState, worker: Worker, items: list[Input]) -> None:
    """Lease inputs to a worker and send them."""
    pool = items[0].call.pool
    pool.lease(worker, items, t.new_lease, t.now)
    if worker.startup is not None:
        output.served(t, worker, items[0])
    worker.confirm_due = False  # the message with the inputs confirms results
    worker.unconfirmed = 0
    nested_calls.note(t, worker)
    last = {item.call: item for item in items}
    for call, item in last.items():
        call.first_undispatched = max(call.first_undispatched, item.index + 1)
    if pool.definition.at_most_once:
        for call in last:
            t.emit(SaveStarted(call.id, [item.index for item in items if item.call is call]))
    _run(t, worker, items, last)
    if not worker.watched:
        worker.watched = True
        t.after(_limit(t, pool), _check_overdue, worker)
    for call in last:
        completion.report_progress(t, call)


def _run(t: HubState, worker: Worker, items: list[Input], calls: Iterable[Call]) -> None:
    """Send leased inputs to their worker; payloads that are only on disk are read first."""
    levels = {call.id: call.levels for call in calls if call.levels}
    run = m.Run(_leased(items), worker.confirmed, levels=levels)
    if any(call.durable for call in calls) and any(item.stored for item in items):
        t.emit(LoadInputs(worker.id, run))
    else:
        t.send(worker.id, run, after_commit=items[0].call.pool.definition.at_most_once)


def _leased(items: list[Input]) -> tuple[m.LeasedInput, ...]:
    return tuple(
        [
            m.LeasedInput(
                *(item.lease, item.call.id, item.index, item.attempt, item.payload),
                *(item.call.durable, item.call.method, item.batch, item.call.unattended),
            )
            for item in items
        ]
    )


def _limit(t: HubState, pool: Pool) -> float:
    return pool.definition.timeout + 2 * t.limits.kill_grace


def _check_overdue(t: HubState, worker: Worker) -> None:
    """Kill a worker that did not end an overdue input itself, for example because it is stuck in C code."""
    worker.watched = False
    if worker.pool is None or not worker.leases or worker.stopping:
        return
    since = (
        worker.last_progress
        if worker.pool.prefetches
        else min(i.began for i in worker.leases.values())
    )
    left = since + _limit(t, worker.pool) - t.now
    if left > 0:
        worker.watched = True
        t.after(left, _check_overdue, worker)
    else:
        worker.stopping = worker.overdue = True
        t.emit(StopWorker(worker.id, t.limits.kill_grace))


def _recall(t: HubState, pool: Pool) -> None:
    """While some workers are idle, ask workers without progress to return inputs that they have not started."""
    pool.recall_due = False
    if pool.pending.count or not pool.idle:
        return
    for worker in pool.workers.values():
        if (
            len(worker.leases) > 1
            and not worker.stopping
            and t.now - worker.last_progress >= RECALL_AFTER
        ):
            t.send(worker.id, m.Recall())
    if pool.leased > pool.busy:
        pool.recall_due = True
        t.after(RECALL_AFTER, _recall, pool)
