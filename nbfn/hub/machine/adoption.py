"""What workers were at when the hub before this one ended: their leases stay good.

A worker says at its hello what it has; the client whose input it is may tell of the input only
later. Until then the worker's claim is kept, and the result as well when that is faster than the
client.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nbfn.hub.machine import departures, leases
from nbfn.hub.machine.events import ResultsArrived
from nbfn.hub.machine.rows import Claim, Input, Worker
from nbfn.hub.machine.tables import Tables
from nbfn.types import InputStatus

#: Seconds that a worker's claim on an input waits for the client that will tell of the input again.
CLAIM_KEPT = 60.0


def adopt(t: Tables, worker: Worker, running: Sequence[tuple[int, str, int, int]]) -> None:
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
        elif item.call.pool is worker.pool and item.worker is None and not item.crashes:
            item.call.turns.remove(item)
            _take_over(t, item, worker, lease, attempt)
    t.after(CLAIM_KEPT, _forget_claims, worker)


def settle_claims(t: Tables, items: Iterable[Input]) -> None:
    """Give inputs that are told again to the workers that are still at them, or their results if
    they are done.
    """
    for item in items:
        claim = t.claims.pop((item.call.id, item.index), None)
        if claim is None:
            continue
        t.claimed.pop(claim.lease, None)
        claim.worker.claimed -= claim.result is None
        if claim.worker.id in t.workers:
            _take_over(t, item, claim.worker, claim.lease, claim.attempt)
            if claim.result is not None:
                leases.results_arrived(t, ResultsArrived(claim.worker.id, 0, [claim.result]))


def settled(t: Tables, item: Input) -> bool:
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


def _take_over(t: Tables, item: Input, worker: Worker, lease: int, attempt: int) -> None:
    pool = item.call.pool
    if worker.pool is not pool:
        return
    if not worker.leases:
        pool.idle.pop(worker.id, None)
        pool.busy += 1
        worker.state = "busy"
    settled(t, item)
    item.worker, item.lease, item.attempt = worker, lease, attempt
    item.status = InputStatus.RUNNING
    worker.leases[lease] = item
    item.began = t.now
    worker.ran += 1
    if pool.ahead or not pool.admits(worker):
        pool.ready.pop(worker.id, None)
    pool.leased += 1
    worker.load += item.weight
    item.call.running += 1
    if item.call.cancelled:  # and the hub before this one did not live to see the end of it
        departures.interrupt(t, item)


def _forget_claims(t: Tables, worker: Worker) -> None:
    for claim in [claim for claim in t.claims.values() if claim.worker is worker]:
        t.claims.pop(claim.input, None)
        t.claimed.pop(claim.lease, None)
        worker.claimed -= claim.result is None
    if t.workers.get(worker.id) is worker:
        leases.freed(t, worker)
