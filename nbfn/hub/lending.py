"""Slots of inputs that wait for other calls: lent to whoever has work, so that nested calls cannot
block their own pool.

A worker lends while calls that its user code made, and waits for, are open. A pool may then have
one worker more than its max for each that lends; how far that goes is bounded by `MOST_NESTED`.
"""

from __future__ import annotations

from nbfn.hub.effects import (
    RecallLeases,
)
from nbfn.hub.tables import Client, Tables

#: Workers there may be in all, as a multiple of the machine's limit, when most of them only wait
#: for others.
MOST_NESTED = 4


def lend(t: Tables, client: Client, calls: int) -> None:
    """Note that the code of a client that runs in a worker waits for one call more, or one less."""
    worker = t.workers.get(client.worker)
    if worker is None:
        return
    before, worker.lent = worker.lent, max(0, worker.lent + calls)
    pool = worker.pool
    if pool is not None and bool(before) != bool(worker.lent):
        pool.lent += 1 if worker.lent else -1
        if worker.lent:
            pool.ready.pop(worker.id, None)
            if (
                len(worker.leases) > 1
            ):  # what waits behind the one that waits may be what that one waits for
                t.emit(RecallLeases(worker.id))
        t.supply_due = True
        t.touch(pool)


def room(t: Tables) -> int:
    """Return how many more workers there may be: those that lend do not count, up to a limit."""
    bound = sum(len(pool.workers) for pool in t.pools.values())
    lent = sum(pool.lent for pool in t.pools.values())
    limit = t.limits.max_workers
    return min(limit - (bound - lent), MOST_NESTED * limit - bound)
