"""A worker's life as the hub hears of it: joined, loaded, lost, back, gone."""

from __future__ import annotations

from nbfn.hub.machine import adoption, departures, journal, leases, losses, sizing, supply, vault
from nbfn.hub.machine.effects import DrainWorker, Fault, Outcome, RefuseWorker, StopWorker
from nbfn.hub.machine.events import (
    WorkerBound,
    WorkerBroken,
    WorkerExited,
    WorkerJoined,
    WorkerLeft,
    WorkerLost,
)
from nbfn.hub.machine.rows import Pool, Worker
from nbfn.hub.machine.tables import Tables
from nbfn.types import InputStatus

#: Workers in a row that die while they load a function until its waiting inputs fail.
LOAD_FAILURES = 3


def worker_joined(t: Tables, event: WorkerJoined) -> None:
    """A worker said hello: new, back after a broken connection, or left over from the hub
    before.
    """
    worker = known = t.workers.get(event.worker)
    if event.worker in t.fenced:
        t.emit(RefuseWorker(event.worker, "superseded"))
        return
    if worker is None:
        worker = _stranger(t, event)
        if worker is None:
            return
    worker.pid = event.pid
    t.supply_due = True
    if worker.state == "starting":
        t.starting.get(worker.executable, {}).pop(worker.id, None)
        t.start_backoff.pop(worker.executable, None)
        worker.state = "blank"
        t.blanks.setdefault(worker.executable, {})[worker.id] = worker
        for pool in t.short.values():
            t.touch(pool)
    elif worker.state == "lost":
        _back(t, worker, event)
    elif worker.state == "draining":
        t.emit(DrainWorker(worker.id))
    elif known is not None:  # on a new connection, before anybody noticed the end of the old one
        departures.out_of_service(t, worker)
        _back(t, worker, event)
    t.changed()


def _stranger(t: Tables, event: WorkerJoined) -> Worker | None:
    worker = Worker(event.worker, event.executable, t.now)
    record = t.registry.functions.get(event.function)
    if event.function and (record is None or event.version not in record.versions):
        t.emit(RefuseWorker(event.worker, "its function is not known to this hub"))
        return None
    t.workers[worker.id] = worker
    if record is not None:
        pool = worker.pool = sizing.pool_of(t, record, event.version)
        worker.state = "idle"
        worker.ran = 1
        worker.gpus = tuple(event.gpus)
        pool.workers[worker.id] = worker
        pool.idle[worker.id] = worker
        adoption.adopt(t, worker, event.running)
        leases.freed(t, worker)
    return worker


def _back(t: Tables, worker: Worker, event: WorkerJoined) -> None:
    """A lost worker is there again in time: it keeps what it still has; what never reached it
    goes back.
    """
    has = {lease for lease, *_ in event.running}
    if worker.pool is None:
        worker.state = "blank"
        t.blanks.setdefault(worker.executable, {})[worker.id] = worker
        return
    if not event.function:  # the word to bind was lost on the way
        worker.state = "binding"
        worker.pool.binding[worker.id] = worker
        worker.pool.workers[worker.id] = worker
        vault.bind(t, worker, worker.pool)
    else:
        worker.state = "busy" if worker.leases else "idle"
        worker.pool.busy += bool(worker.leases)
    leases.give_back(t, worker, [lease for lease in worker.leases if lease not in has])
    leases.freed(t, worker)


def worker_bound(t: Tables, event: WorkerBound) -> None:
    """A worker has its function and takes inputs."""
    worker = t.workers.get(event.worker)
    if worker is None or worker.pool is None or worker.state != "binding":
        return
    pool = worker.pool
    pool.binding.pop(worker.id, None)
    pool.start_failures = pool.load_failures = 0
    worker.state = "idle"
    worker.idle_since = t.now
    pool.idle[worker.id] = worker
    pool.ready[worker.id] = worker
    t.touch(pool)
    t.changed()


def worker_broken(t: Tables, event: WorkerBroken) -> None:
    """A function cannot be loaded: another try would end the same way, so what waits for it
    fails now.
    """
    worker = t.workers.get(event.worker)
    if worker is not None and worker.pool is not None:
        pool = worker.pool
        text = f"{pool.record.name!r} could not be loaded:\n{event.text.rstrip()}"
        journal.system(t, pool, text, worker=worker.id, told=_told(t, pool))
        departures.stop(t, worker)
        supply.load_failed(t, pool)
        failed = (0, int(InputStatus.INIT_FAILURE), event.payload, event.fault)
        departures.fail_waiting(t, pool, Outcome(*failed, worker=worker.id))


def _told(t: Tables, pool: Pool) -> frozenset[str]:
    """Return the clients for which the error of a pool's worker is raised: they wait for a call."""
    waiting = (call for call in t.calls.values() if call.pool is pool and not call.unattended)
    return frozenset(call.client for call in waiting if call.kind != "web")


def worker_lost(t: Tables, event: WorkerLost) -> None:
    """A worker's connection ended: it gets nothing new, and its inputs wait until its lease runs
    out.
    """
    worker = t.workers.get(event.worker)
    if worker is None or worker.state in ("lost", "draining"):
        return  # one that was told to go has a timer of its own
    departures.out_of_service(t, worker)
    worker.state, worker.lost_since = "lost", t.now
    t.after(t.limits.lease, _lease_over, (worker, t.now))
    t.changed()


def _lease_over(t: Tables, what: tuple[Worker, float]) -> None:
    worker, since = what  # it may have been back and lost again meanwhile
    lost = worker.state == "lost" and worker.lost_since == since
    if lost and t.workers.get(worker.id) is worker:
        departures.gone(t, worker)
        losses.lose_all(t, worker)
        t.fenced.append(worker.id)
        t.emit(StopWorker(worker.id, 0.0))


def worker_left(t: Tables, event: WorkerLeft) -> None:
    """A worker said goodbye in good order."""
    worker = t.workers.get(event.worker)
    if worker is not None:
        leases.confirm_now(t, worker)  # it waits for the word
        departures.gone(t, worker)
        losses.lose_all(t, worker, count=False)


def worker_exited(t: Tables, event: WorkerExited) -> None:
    """A worker process ended; why decides what becomes of its inputs."""
    worker = t.workers.get(event.worker)
    if worker is None:
        return
    pool, state = worker.pool, worker.state
    departures.gone(t, worker)
    if state == "starting":
        supply.start_failed(t, worker)
    elif state == "binding" and pool is not None and not worker.stopping:
        text = f"Worker {worker.id} died while loading {pool.record.name!r} ({losses.how(event)})."
        journal.system(t, pool, text, worker=worker.id)
        pool.start_failures += 1
        supply.load_failed(t, pool)
        if pool.start_failures >= LOAD_FAILURES:
            pool.start_failures = 0
            message = losses.crash_message(pool, event).replace("while running", "while loading")
            fault: Fault = ("worker_crashed", message, losses.crash_details(pool, event))
            departures.fail_waiting(t, pool, Outcome(0, int(InputStatus.INIT_FAILURE), None, fault))
    losses.crashed(t, worker, event)
