"""Provisions workers: starts blank ones, keeps spare ones, binds them to pools, and stops idle ones for others.

A worker starts blank, with one Python executable; it is then bound to one Function version for good. Spare
blank workers are kept for each executable that a client uses. When the limit is reached, idle workers above
``min_containers`` of their pool are stopped, least recently used first.
"""

from __future__ import annotations

from collections.abc import Sequence

from nbfn.hub.scheduler import (
    admission,
    nested_calls,
    secret_store,
    startup_failures,
    worker_shutdown,
)
from nbfn.hub.scheduler.effects import StartWorker, StopWorker
from nbfn.hub.scheduler.events import WorkerNotStarted
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Pool, Worker
from nbfn.protocol import messages as m
from nbfn.types import InputStatus

#: Seconds in which a started process must connect.
START_TIMEOUT = 60.0


def supply(t: HubState) -> None:
    """Start the blank workers that pools lack, and spare ones."""
    t.supply_due = False
    if t.closing:
        return
    for pool in [pool for pool in t.lacking if pool.backlog]:
        _make_room(t, pool)
    short: dict[str, int] = {}
    for pool in t.short:
        short[pool.executable] = short.get(pool.executable, 0) + pool.short
    room = nested_calls.room(t)
    missing = sum(short.values())
    if missing > room:
        _reclaim(t, missing - max(room, 0))
    for executable in t.blanks.keys() | short.keys():
        needed = min(short.get(executable, 0), max(room, 0))
        spare = t.limits.blank_workers if _in_use(t, executable) else 0
        have = len(t.blanks.get(executable, ())) + len(t.starting.get(executable, ()))
        _start(t, executable, needed + spare - have)


def _in_use(t: HubState, executable: str) -> bool:
    return any(c.connected and c.executable == executable for c in t.clients.values())


def _start(t: HubState, executable: str, count: int) -> None:
    failures, not_before = t.start_backoff.get(executable, (0, 0.0))
    if count <= 0 or (failures and t.now < not_before):
        return
    for _ in range(1 if failures else count):
        worker = Worker(t.new_id("wk"), executable, t.now)
        t.workers[worker.id] = worker
        t.timeline.open_lane(worker.id, t.wall)
        t.starting.setdefault(executable, {})[worker.id] = worker
        t.emit(StartWorker(worker.id, executable))
        t.after(START_TIMEOUT, _check_started, worker)


def _check_started(t: HubState, worker: Worker) -> None:
    if worker.state == "starting" and worker.id in t.workers:
        t.emit(StopWorker(worker.id, 0.0))
        worker_not_started(t, WorkerNotStarted(worker.id, f"no hello within {START_TIMEOUT:g} s"))


def worker_not_started(t: HubState, event: WorkerNotStarted) -> None:
    """Handle a worker process that could not be started."""
    worker = t.workers.get(event.worker)
    if worker is not None:
        worker_shutdown.remove(t, worker)
        startup_failures.blank_failed(t, worker, event.reason)


def _reclaim(t: HubState, count: int) -> None:
    """Stop idle workers above ``min_containers`` of their pools, least recently used first.

    If there are none, and a pool with inputs has no worker at all, stop a warm one: running a call
    is more important than keeping another pool warm.
    """
    pools = [pool for pool in t.pools.values() if not pool.short]
    spare = [w for pool in pools for w in list(pool.idle.values())[: _surplus(pool)]]
    if not spare and (starving := _starving(t)):
        spare = [worker for pool in t.pools.values() for worker in pool.idle.values()]
        count = 1
        if not spare:
            _refuse_nesting(t, starving)
    for worker in sorted(spare, key=lambda worker: worker.idle_since)[:count]:
        worker_shutdown.stop(t, worker)


def _make_room(t: HubState, pool: Pool) -> None:
    """Stop an idle worker that holds resources which a pool lacks: the least recently used one above
    ``min_containers`` of its pool, or a warm one if the pool has no worker.
    """
    holding = admission.holders(t)
    if any(worker.state == "draining" for worker in holding):
        return  # it frees its resources soon
    no_worker = len(pool.workers) <= pool.lent
    if found := _dispensable(holding, pool, any_idle=no_worker):
        worker_shutdown.stop(t, min(found, key=lambda worker: worker.idle_since))
    elif no_worker and holding and all(worker.lending for worker in holding):
        _refuse_lacking(t, pool)


def _dispensable(holding: Sequence[Worker], pool: Pool, *, any_idle: bool) -> list[Worker]:
    """Return the idle workers of other pools that these have too many of; with ``any_idle`` all if there are none."""
    others = [worker for worker in holding if worker.pool not in (pool, None)]
    idle = [worker for worker in others if worker.state == "idle"]
    spare = [worker for worker in idle if worker.pool is not None and _surplus(worker.pool)]
    return spare or (idle if any_idle else [])


def _refuse_lacking(t: HubState, pool: Pool) -> None:
    """Fail the inputs of a pool: workers that wait for other calls hold all the resources it lacks."""
    message = (
        f"{pool.record.name!r} {pool.waiting_for}, and all workers that have it wait for other calls. "
        "Nest calls less deeply, or request less."
    )
    fault = m.Fault("resource_exhausted", message)
    worker_shutdown.fail_waiting(t, pool, m.Output(0, int(InputStatus.FAILURE), None, fault))
    t.touch(pool)


def _refuse_nesting(t: HubState, starving: list[Pool]) -> None:
    """Fail nested calls when all workers wait for calls that wait for a worker."""
    pools = [pool for pool in t.pools.values() if not pool.is_session]
    workers = [worker for pool in pools for worker in pool.workers.values()]
    if workers and all(worker.lending for worker in workers):
        message = (
            f"{len(workers)} workers wait for calls that wait for another worker, and there can be no more. "
            "Nest calls less deeply, or raise the setting max_workers."
        )
        fault = m.Fault("resource_exhausted", message)
        for pool in starving:
            worker_shutdown.fail_waiting(
                t, pool, m.Output(0, int(InputStatus.FAILURE), None, fault)
            )
            t.touch(pool)


def _surplus(pool: Pool) -> int:
    return max(0, len(pool.workers) - pool.settings.min_containers)


def _starving(t: HubState) -> list[Pool]:
    return [pool for pool in t.short if pool.backlog and len(pool.workers) <= pool.lent]


def bind_blank(t: HubState, pool: Pool) -> bool:
    """Bind a blank worker to a pool, if there is one and the machine has room."""
    if pool.definition.secrets and _lacks_a_secret(t, pool):
        return False
    blanks = t.blanks.get(pool.executable)
    room = admission.fitting(t, pool, nested_calls.room(t))
    if not startup_failures.may_bind(t, pool):
        return False
    if not pool.backlog:
        room -= len(_starving(t))  # pools with inputs and without workers come first
    if not blanks or room <= 0:
        return False
    worker = blanks.pop(next(iter(blanks)))
    worker.gpus = admission.set_aside(t, pool)
    worker.pool = pool
    worker.state = "binding"
    worker.bound_at = t.now
    t.start_backoff.pop(pool.executable, None)
    pool.workers[worker.id] = worker
    pool.binding[worker.id] = worker
    pool.cold_starts += bool(pool.backlog)
    if (lane := t.timeline.lanes.get(worker.id)) is not None:
        record = pool.record
        lane.bound, lane.cold = t.wall, bool(pool.backlog)
        lane.function, lane.name, lane.app = record.id, record.name, record.app
    secret_store.bind(t, worker, pool)
    limit = pool.definition.startup_timeout or pool.definition.timeout
    t.after(limit, _check_loaded, worker)
    t.supply_due = True
    t.changed()
    return True


def _check_loaded(t: HubState, worker: Worker) -> None:
    """Stop a worker that takes too long to load; waiting inputs fail, unless other workers run them."""
    pool = worker.pool
    if pool is None or worker.loaded or worker.stopping or t.workers.get(worker.id) is not worker:
        return
    worker_shutdown.stop(t, worker)
    t.emit(StopWorker(worker.id, 0.0))
    limit = pool.definition.startup_timeout or pool.definition.timeout
    message = (
        f"A worker of {pool.record.name!r} took longer than its startup_timeout of {limit:g} s to load "
        "(imports and enter hooks included) and was ended."
    )
    fault = m.Fault("function_timeout", message)
    startup_failures.cannot_load(t, worker, m.Output(0, int(InputStatus.INIT_FAILURE), None, fault))


def _lacks_a_secret(t: HubState, pool: Pool) -> bool:
    """Whether a secret of the Function was deleted; if so, its waiting inputs fail."""
    problem = secret_store.missing(t, pool.record.environment_name, pool.definition)
    if problem and pool.backlog:
        fault = m.Fault("not_found", problem)
        worker_shutdown.fail_waiting(
            t, pool, m.Output(0, int(InputStatus.INIT_FAILURE), None, fault)
        )
    return bool(problem)


def release_blanks(t: HubState, executable: str) -> None:
    """Stop the blank workers of a Python that no client uses."""
    if not _in_use(t, executable):
        for worker in list(t.blanks.pop(executable, {}).values()):
            worker_shutdown.stop(t, worker)
