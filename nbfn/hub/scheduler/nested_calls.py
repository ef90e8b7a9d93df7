"""Lends the slots of inputs that wait for other calls, so that nested calls cannot block their own pool.

A worker lends its slot while its user code waits for calls that it made. For each lending worker, a pool may
have one more worker than its max; `MOST_NESTED` bounds the total.
"""

from __future__ import annotations

from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Client, Pool, Worker
from nbfn.protocol import messages as m

#: Most workers in total, including lending ones, as a multiple of the setting ``max_workers``.
MOST_NESTED = 4


def lend(t: HubState, client: Client, calls: int) -> None:
    """Add a number of calls, which may be negative, to those that the code of a worker waits for."""
    worker = t.workers.get(client.worker)
    if worker is None:
        return
    worker.lent = max(0, worker.lent + calls)
    note(t, worker)


def note(t: HubState, worker: Worker) -> None:
    """Update whether a worker lends its slot: one of its inputs waits, and it has no room for more."""
    pool = worker.pool
    if pool is None or worker.lending == (lends := bool(worker.lent) and _full(pool, worker)):
        return
    worker.lending = lends
    pool.lent += 1 if lends else -1
    if pool.admits(worker):
        pool.ready[worker.id] = worker
    else:
        pool.ready.pop(worker.id, None)
    if lends and pool.prefetches and len(worker.leases) > 1:
        # An input that waits behind it may be the one that it waits for.
        t.send(worker.id, m.Recall())
    t.supply_due = True
    t.touch(pool)


def _full(pool: Pool, worker: Worker) -> bool:
    return pool.most_at_once == 1 or pool.room(worker) <= 0


def room(t: HubState) -> int:
    """Return how many more workers are allowed; lending ones do not count, up to a limit.

    Workers with sessions do not count either: a session lives as long as its notebook, and its cells call Functions.
    """
    bound = lent = 0
    for worker in t.workers.values():  # there are fewer workers than pools that may lack some
        pool = worker.pool
        if pool is not None and not pool.is_session and t.pools.get(pool.key) is pool:
            bound += worker.id in pool.workers
            lent += worker.lending
    limit = t.limits.max_workers
    return min(limit - (bound - lent), MOST_NESTED * limit - bound)
