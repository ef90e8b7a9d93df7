"""Slots of inputs that wait for other calls: lent to whoever has work, so that nested calls cannot
block their own pool.

A worker lends while calls that its user code made, and waits for, are open. A pool may then have
one worker more than its max for each that lends; how far that goes is bounded by `MOST_NESTED`.
"""

from __future__ import annotations

from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Client, Pool, Worker
from nbfn.protocol import messages as m

#: Workers there may be in all, as a multiple of the machine's limit, when most of them only wait
#: for others.
MOST_NESTED = 4


def lend(t: HubState, client: Client, calls: int) -> None:
    """Note that the code of a client that runs in a worker waits for one call more, or one less."""
    worker = t.workers.get(client.worker)
    if worker is None:
        return
    worker.lent = max(0, worker.lent + calls)
    note(t, worker)


def note(t: HubState, worker: Worker) -> None:
    """Look whether a worker lends its slot: something that it runs waits, and it has no room for more."""
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
        # What waits behind the one that waits may be what that one waits for.
        t.send(worker.id, m.Recall())
    t.supply_due = True
    t.touch(pool)


def _full(pool: Pool, worker: Worker) -> bool:
    return pool.most_at_once == 1 or pool.room(worker) <= 0


def room(t: HubState) -> int:
    """Return how many more workers there may be: those that lend do not count, up to a limit."""
    bound = sum(len(pool.workers) for pool in t.pools.values())
    lent = sum(pool.lent for pool in t.pools.values())
    limit = t.limits.max_workers
    return min(limit - (bound - lent), MOST_NESTED * limit - bound)
