"""Handles inputs that workers have finished or returned; `dispatch` sends them out.

Rule 1: an input has a lease exactly while one worker has it; results under another lease are dropped.
Rule 2: an input gets one outcome; only `completion.finish` sets it.
Rule 3: failures of user code count against ``retries``; `worker_failures` handles failures of workers.
"""

from __future__ import annotations

from collections.abc import Sequence

from nbfn.hub.scheduler import completion, input_retry, nested_calls
from nbfn.hub.scheduler.effects import Discard
from nbfn.hub.scheduler.events import InputsNotSent
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call, Input, Worker
from nbfn.hub.scheduler.payloads import weights
from nbfn.protocol import messages as m
from nbfn.types import InputStatus

#: Seconds until results are confirmed to a worker, unless a message with inputs confirms them earlier.
CONFIRM_AFTER = 0.2
#: Bytes of results that are confirmed immediately.
CONFIRM_BYTES = 4 * 2**20

_PENDING, _SUCCESS = InputStatus.PENDING, int(InputStatus.SUCCESS)
_RETRIED = frozenset({int(InputStatus.FAILURE), int(InputStatus.TIMEOUT)})


def results_arrived(t: HubState, sender: str, message: m.Results) -> None:
    """Handle a worker's results: finish or retry the inputs."""
    worker = t.workers.get(sender)
    if worker is None or worker.pool is None:
        for result in message.results:
            t.emit(Discard(result.payload))
        return
    pool = worker.pool
    ended: dict[Call, list[m.Output]] = {}
    items: list[Input | None] = []
    spent = count = 0.0
    for result in message.results:
        item = worker.leases.get(result.lease)
        items.append(item)
        if item is None:
            _keep_result_of_claim(t, worker, result)
            continue
        if result.status != InputStatus.TERMINATED:
            spent += result.duration
            count += 1
        item.detach()
        outcome = _outcome_of(t, item, result, worker)
        if outcome is not None:
            ended.setdefault(item.call, []).append(outcome)
    size = sum(weights([result.payload for result in message.results]))
    if count:
        pool.measured(spent / count, size / count)
    one_call = len(ended) == 1 and count == len(items)
    t.to_record.append((worker, message, items, (spent, count, one_call)))
    worker.last_progress = pool.last_progress = t.now
    worker.served = True
    if pool.load_failures and worker.bound_at > pool.failed_at:
        pool.succeeded()
    durable = False
    for call, found in ended.items():
        durable = durable or call.durable
        completion.finish(t, call, found)
    if message.seq:
        _confirm(t, worker, message.seq, size, durable=durable)
    update_availability(t, worker)


def _keep_result_of_claim(t: HubState, worker: Worker, result: m.Result) -> None:
    """Keep a result for a claim until its client has resent the input."""
    claim = t.claimed.get(result.lease)
    if claim is None or claim.worker is not worker:
        t.emit(Discard(result.payload))  # another worker has that input
    else:
        worker.claimed -= claim.result is None
        claim.result = result


def _outcome_of(t: HubState, item: Input, result: m.Result, worker: Worker) -> m.Output | None:
    """Return the outcome of an input, or None if it is retried."""
    call = item.call
    status, payload, duration = result.status, result.payload, result.duration
    if status == _SUCCESS:
        return m.Output(item.index, status, payload, None, duration, worker.id, item.attempt)
    if item.cancelled or call.cancelled:
        t.emit(Discard(payload))
        # A worker reports no duration of an input that it had not started.
        return completion.terminated(item, ran=duration > 0)
    if status == InputStatus.TERMINATED:  # the worker stopped it because it is draining
        input_retry.requeue(t, item)
        return None
    if status in _RETRIED and not result.final and input_retry.retry(t, item):
        t.emit(Discard(payload))
        return None
    return m.Output(
        *(
            item.index,
            status,
            payload,
            None,
            duration,
            worker.id,
            item.attempt,
            input_retry.attempts(item),
        )
    )


def update_availability(t: HubState, worker: Worker) -> None:
    """Update the pool after a worker has fewer inputs."""
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
        if t.lacking or len(t.short) > (pool in t.short):
            t.supply_due = True  # another pool may need its resources
    elif pool.prefetches:  # its next input, which may be of another call, runs now
        completion.report_progress(t, next(iter(worker.leases.values())).call)
    nested_calls.note(t, worker)
    if pool.admits(worker):
        pool.ready[worker.id] = worker
    t.touch(pool)


def _confirm(t: HubState, worker: Worker, seq: int, size: int, *, durable: bool) -> None:
    worker.durable = worker.durable or durable
    if worker.durable:
        t.send(worker.id, m.Confirm(seq), after_commit=True)
        return
    worker.confirmed = seq
    worker.confirm_due = True
    worker.unconfirmed += size
    if worker.unconfirmed >= CONFIRM_BYTES:  # the worker may wait for it
        send_confirmation(t, worker)
    elif not worker.confirm_timed:
        # One timer per worker: messages with inputs carry most confirmations.
        worker.confirm_timed = True
        t.after(CONFIRM_AFTER, _confirm_by_timer, worker)


def _confirm_by_timer(t: HubState, worker: Worker) -> None:
    worker.confirm_timed = False
    send_confirmation(t, worker)


def send_confirmation(t: HubState, worker: Worker) -> None:
    """Send a pending confirmation of results to a worker."""
    if worker.confirm_due:
        worker.confirm_due = False
        worker.unconfirmed = 0
        t.send(worker.id, m.Confirm(worker.confirmed))


def leases_returned(t: HubState, sender: str, message: m.Returned) -> None:
    """Requeue inputs that a worker did not start; this is no attempt."""
    worker = t.workers.get(sender)
    if worker is not None:
        give_back(t, worker, message.leases)
        update_availability(t, worker)


def inputs_not_sent(t: HubState, event: InputsNotSent) -> None:
    """Fail inputs that are too large for a message."""
    worker = t.workers.get(event.worker)
    if worker is None:
        return
    status = int(InputStatus.INTERNAL_FAILURE)
    for lease in event.leases:
        item = worker.leases.get(lease)
        if item is not None:
            item.detach()
            completion.finish(t, item.call, [m.Output(item.index, status, fault=event.fault)])
    update_availability(t, worker)


def give_back(t: HubState, worker: Worker, leases: Sequence[int]) -> None:
    """Requeue inputs that a worker has not started, in their original order."""
    for lease in reversed(leases):
        item = worker.leases.get(lease)
        if item is not None:
            item.attempt -= 1
            item.detach()
            input_retry.requeue(t, item)


def items_arrived(t: HubState, sender: str, message: m.Yielded) -> None:
    """Forward the items of a generator to its client."""
    item = _leased(t, sender, message.lease)
    if item is None:
        for payload in message.payloads:
            t.emit(Discard(payload))
    else:
        call = item.call
        # The items of one message stay together.
        t.send(call.client, m.Items(call.id, item.index, message.start, message.payloads))


def feed_requested(t: HubState, sender: str, message: m.WantFeed) -> None:
    """Forward to the client that an input can read more of its stream."""
    item = _leased(t, sender, message.lease)
    if item is not None:
        wanted = m.FeedWanted(item.call.id, item.index, item.attempt, message.upto)
        t.send(item.call.client, wanted)


def _leased(t: HubState, worker_id: str, lease: int) -> Input | None:
    worker = t.workers.get(worker_id)
    return worker.leases.get(lease) if worker is not None else None
