"""What workers were at when the hub before this one ended: their leases stay good.

A worker says at its hello what it has; the client whose input it is may tell of the input only
later. Until then the worker's claim is kept, and the result as well when that is faster than the
client.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from nbfn.hub.scheduler import results, worker_shutdown
from nbfn.hub.scheduler.effects import Discard
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Claim, Input, Worker
from nbfn.protocol import messages as m

#: Seconds that a worker's claim on an input waits for the client that will tell of the input again.
CLAIM_KEPT = 60.0


def adopt(t: HubState, worker: Worker, running: Sequence[tuple[int, str, int, int]]) -> None:
    """Take over what a worker had under the hub before this one, as far as the inputs are known."""
    for lease, call_id, index, attempt in running:
        if lease in worker.leases or lease in t.claimed or (call_id, index) in t.claims:
            continue
        call = t.calls.get(call_id)
        item = call.inputs.get(index) if call is not None else None
        if item is None:
            claim = Claim(worker, lease, attempt, (call_id, index))
            t.claims[claim.input] = t.claimed[lease] = claim
            worker.claimed += 1
        elif item.call.pool is worker.pool and _unqueue(t, item):
            _take_over(t, item, worker, lease, attempt)
    t.after(CLAIM_KEPT, forget_claims, worker)


def settle_claims(t: HubState, items: Iterable[Input]) -> None:
    """Give inputs that are told again to the workers that are still at them, or their results if
    they are done.
    """
    for item in items:
        claim = t.claims.pop((item.call.id, item.index), None)
        if claim is None:
            continue
        t.claimed.pop(claim.lease, None)
        claim.worker.claimed -= claim.result is None
        if claim.worker.pool is item.call.pool and settled(t, item):
            _take_over(t, item, claim.worker, claim.lease, claim.attempt)
            if claim.result is not None:
                results.results_arrived(t, claim.worker.id, m.Results(0, (claim.result,)))


def settled(t: HubState, item: Input) -> bool:
    """Note that an input no longer waits for the worker that may be at it; False when that was known."""
    pool = item.call.pool
    waiting = t.unclaimed.get(pool)
    if waiting is None or item not in waiting:
        return False
    waiting.remove(item)
    if not waiting:
        del t.unclaimed[pool]
        t.touch(pool)
    return True


def _unqueue(t: HubState, item: Input) -> bool:
    """Take an input out of the queue; False when it is elsewhere: at a worker, or waiting to be retried."""
    return settled(t, item) or item.call.pending.remove(item)


def _take_over(t: HubState, item: Input, worker: Worker, lease: int, attempt: int) -> None:
    item.call.pool.adopt(worker, item, lease, attempt, t.now)
    if item.call.cancelled:  # and the hub before this one did not live to see the end of it
        worker_shutdown.interrupt(t, item)


def keep_claims(t: HubState, worker: Worker, has: Container[int]) -> None:
    """Drop the claims of a worker on inputs that it no longer has and has not ended."""
    for claim in _claims_of(t, worker):
        if claim.result is None and claim.lease not in has:
            _drop(t, claim)


def forget_claims(t: HubState, worker: Worker) -> None:
    """Drop all claims of a worker: it is gone, or no client has sent these inputs for long."""
    for claim in _claims_of(t, worker):
        _drop(t, claim)
    if t.workers.get(worker.id) is worker:
        results.update_availability(t, worker)


def _claims_of(t: HubState, worker: Worker) -> list[Claim]:
    return [claim for claim in t.claims.values() if claim.worker is worker]


def _drop(t: HubState, claim: Claim) -> None:
    del t.claims[claim.input], t.claimed[claim.lease]
    if claim.result is None:
        claim.worker.claimed -= 1
    else:
        t.emit(Discard(claim.result.payload))
