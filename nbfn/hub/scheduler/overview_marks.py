"""A cheap value for each row of the overview, which changes whenever the row changes.

Building all rows several times a second would occupy the hub; comparing these values costs a tenth of it. Ages,
and the memory of workers, are not part of a mark.
"""

from __future__ import annotations

from typing import Any

from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call, Pool, Worker
from nbfn.hub.scheduler.registry import FunctionRecord

Mark = tuple[Any, ...]


def of_function(t: HubState, record: FunctionRecord, running: int) -> Mark:
    """Return the mark of the row of a Function, of which this many inputs run."""
    pools = t.pools
    found = [pools.get((record.id, version)) for version in record.versions]
    return (
        running,
        record.latest,
        record.name,
        record.app,
        record.stopped_at,
        *record.overrides.values(),
        *[_of_pool(t, pool) for pool in found if pool is not None],
    )


def _of_pool(t: HubState, pool: Pool) -> Mark:
    return (
        pool.backlog,
        pool.leased,
        len(pool.workers),
        pool.starting,
        pool.waiting_for,
        pool.failed,
        pool.cold_starts,
        pool.called,
        pool.mean_duration,
        pool.start_failures,
        pool.executable in t.start_backoff,
    )


def connected_clients(t: HubState) -> frozenset[str]:
    """Return the clients that are connected, for `of_call`."""
    return frozenset(name for name, client in t.clients.items() if client.connected)


def of_call(call: Call, running: int, connected: frozenset[str]) -> Mark:
    """Return the mark of the row of a call that has not ended.

    Args:
        call: The call.
        running: How many of its inputs run.
        connected: The clients that are connected, of which depends whether it is detached.
    """
    pool = call.pool
    return (
        call.created,  # a retry begins it anew
        call.total,
        call.expected,
        call.closed,
        call.cancelled,
        call.succeeded,
        call.failed,
        call.cancelled_inputs,
        call.not_run,
        running,
        call.client in connected or not connected.isdisjoint(call.watchers),
        not pool.binding and pool.short == 0,
    )


def of_worker(worker: Worker) -> Mark:
    """Return the mark of a worker's row."""
    session = next(iter(worker.leases), 0) if worker.pool and worker.pool.is_session else 0
    return (worker.state, worker.pid, worker.pool, worker.joined, worker.gpus, session)
