"""Re-adopts running inputs after a hub restart; their leases stay valid.

A worker reports its leases when it connects; the client may resend the input later. Until then the hub keeps
the worker's claim, and the result if it arrives before the input.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from nbfn.hub.scheduler import results, worker_shutdown
from nbfn.hub.scheduler.effects import Discard
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Claim, Input, Worker
from nbfn.protocol import messages as m

#: Seconds that a worker's claim on an input waits for the client to resend it.
CLAIM_KEPT = 60.0


def adopt(t: HubState, worker: Worker, running: Sequence[tuple[int, str, int, int]]) -> None:
    """Adopt the leases of a worker from the previous hub; for unknown inputs keep claims."""
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
    """Match resent inputs with claims of workers, and handle results that have already arrived."""
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
    """Stop an input from waiting for a worker that may run it; return False if it did not wait."""
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
    """Remove an input from the queue; return False if it is leased or waits for a retry."""
    return settled(t, item) or item.call.pending.remove(item)


def _take_over(t: HubState, item: Input, worker: Worker, lease: int, attempt: int) -> None:
    item.call.pool.adopt(worker, item, lease, attempt, t.now)
    if item.call.cancelled:  # the previous hub ended before it was stopped
        worker_shutdown.interrupt(t, item)


def keep_claims(t: HubState, worker: Worker, has: Container[int]) -> None:
    """Drop the claims of a worker on inputs that it lost without a result."""
    for claim in _claims_of(t, worker):
        if claim.result is None and claim.lease not in has:
            _drop(t, claim)


def forget_claims(t: HubState, worker: Worker) -> None:
    """Drop all claims of a worker that is gone, or whose inputs no client has resent in time."""
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
