"""What workers were at when the hub before this one ended: their leases stay good."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nbfn.hub.tables import Input, Tables, Worker
from nbfn.types import InputStatus

#: Seconds that a worker's claim on an input waits for the client that will tell of the input again.
CLAIM_KEPT = 60.0


def adopt(t: Tables, worker: Worker, running: Sequence[tuple[int, str, int, int]]) -> None:
    """Take over what a worker had under the hub before this one, as far as the inputs are known."""
    for lease, call_id, index, attempt in running:
        if lease in worker.leases:
            continue
        call = t.calls.get(call_id)
        item = call.inputs.get(index) if call is not None else None
        if item is not None and item.worker is None and not item.crashes:
            item.call.pool.turns.remove(item)
            _take_over(item, worker, lease, attempt)
        elif item is None:
            t.claims[call_id, index] = (worker, lease, attempt)
    t.after(CLAIM_KEPT, _forget_claims, worker)


def claim(t: Tables, items: Iterable[Input]) -> None:
    """Bind inputs that are told again to the workers that are still at them."""
    for item in items:
        found = t.claims.pop((item.call.id, item.index), None)
        if found is not None and found[0].id in t.workers:
            _take_over(item, *found)


def _take_over(item: Input, worker: Worker, lease: int, attempt: int) -> None:
    pool = item.call.pool
    if worker.pool is not pool:
        return
    if not worker.leases:
        pool.idle.pop(worker.id, None)
        pool.busy += 1
        worker.state = "busy"
    pool.ready.pop(worker.id, None)
    item.worker, item.lease, item.attempt, item.status = worker, lease, attempt, InputStatus.RUNNING
    worker.leases[lease] = item
    worker.ran += 1
    pool.leased += 1
    item.call.running += 1


def _forget_claims(t: Tables, worker: Worker) -> None:
    for key in [key for key, claimed in t.claims.items() if claimed[0] is worker]:
        del t.claims[key]
