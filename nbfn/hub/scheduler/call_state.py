"""Computes the state of a call and the numbers of its inputs in each state, for rows and progress messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call, Input, Worker
from nbfn.protocol import call_states
from nbfn.protocol.call_states import CallState, InputCounts


def running_at(worker: Worker) -> Iterator[Input]:
    """Yield the inputs that a worker runs; it starts its other leased inputs later, in their order."""
    pool = worker.pool
    if pool is None:
        return
    if not pool.batches:
        yield from islice(worker.leases.values(), pool.most_at_once)
        return
    batches: set[int] = set()
    for item in worker.leases.values():
        batch = item.batch or item.lease
        if batch not in batches and len(batches) == pool.most_at_once:
            return
        batches.add(batch)
        yield item


def running_by_call(workers: Iterable[Worker]) -> Counter[Call]:
    """Return how many inputs of each call run at these workers."""
    return Counter(item.call for worker in workers for item in running_at(worker))


def running_inputs(t: HubState, call: Call) -> int:
    """Return how many inputs of a call run."""
    if not call.leased:
        return 0
    workers = (worker for worker in t.workers.values() if worker.pool is call.pool)
    return running_by_call(workers)[call]


def counts_of(call: Call, running: int, *, ended: bool) -> InputCounts:
    """Return the numbers of inputs in each state.

    Args:
        call: The call.
        running: How many of its inputs run.
        ended: Whether it has ended: then inputs without an outcome were not run.
    """
    total = call.total
    if call.cancelled or not call.closed:  # some inputs may not have arrived
        total = max(total, call.expected or 0)
    rest = total - call.done - running
    return InputCounts(
        total=total,
        succeeded=call.succeeded,
        failed=call.failed,
        cancelled=call.cancelled_inputs,
        running=running,
        waiting=0 if ended else rest,
        not_run=call.not_run + (rest if ended else 0),
    )


def is_open(call: Call) -> bool:
    """Whether more inputs may come than are known."""
    return call.expected is None and not (call.closed or call.cancelled)


def state_of(t: HubState, call: Call, running: int) -> CallState:
    """Return the state of a call that has not ended."""
    if _is_detached(t, call):
        return CallState.DETACHED
    if running or call.done:
        return CallState.RUNNING
    return CallState.STARTING if call.pool.starting else CallState.QUEUED


def _is_detached(t: HubState, call: Call) -> bool:
    """Whether no connected process made a call or follows it, although a process did make it."""
    if call.kind in ("schedule", "web"):
        return False
    if call.detached:
        return True
    clients = (t.clients.get(name) for name in (call.client, *call.watchers))
    return not any(client is not None and client.connected for client in clients)


def end_state(call: Call) -> CallState:
    """Return the state of a call that has ended."""
    counts = counts_of(call, 0, ended=True)
    return call_states.end_state(counts, failing=call.failing, cut_short=call.cut_short)
