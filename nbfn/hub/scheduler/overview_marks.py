"""A cheap value for each row of the overview, which changes whenever the row changes.

Building all rows several times a second would occupy the hub; comparing these values costs a tenth of it. Ages,
and the memory of workers, are not part of a mark.
"""

from __future__ import annotations

from typing import Any

from nbfn.hub.scheduler import call_state
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


def of_call(t: HubState, call: Call, running: int) -> Mark:
    """Return the mark of the row of a call that has not ended, and of which this many inputs run."""
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
        call_state.state_of(t, call, running),
    )


def of_worker(worker: Worker) -> Mark:
    """Return the mark of a worker's row."""
    session = next(iter(worker.leases), 0) if worker.pool and worker.pool.is_session else 0
    return (worker.state, worker.pid, worker.pool, worker.joined, worker.gpus, session)
