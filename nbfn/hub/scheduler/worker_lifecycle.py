"""The life cycle of workers: joined, loaded, lost, reconnected, gone."""

from __future__ import annotations

from nbfn.hub.scheduler import (
    admission,
    call_state,
    exit_reasons,
    input_logs,
    output,
    pool_scaling,
    results,
    secret_store,
    spans,
    startup_failures,
    worker_failures,
    worker_recovery,
    worker_shutdown,
)
from nbfn.hub.scheduler.effects import StopWorker
from nbfn.hub.scheduler.events import BindNotSent, WorkerExited, WorkerJoined, WorkerLost
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Worker
from nbfn.protocol import messages as m
from nbfn.types import InputStatus

_INIT_FAILURE = int(InputStatus.INIT_FAILURE)


def worker_joined(t: HubState, event: WorkerJoined) -> None:
    """Handle a worker that connected: a new one, one that reconnected, or one of the previous hub."""
    worker = known = t.workers.get(event.worker)
    if event.worker in t.fenced:
        t.send(event.worker, m.Refused("conflict", "superseded"))
        return
    if worker is None:
        worker = _register(t, event)
        if worker is None:
            return
    worker.pid = event.pid
    _note_connection(t, event)
    worker.last_output = max(worker.last_output, event.output)
    t.supply_due = True
    if worker.state == "starting":
        t.starting.get(worker.executable, {}).pop(worker.id, None)
        worker.state = "blank"
        t.blanks.setdefault(worker.executable, {})[worker.id] = worker
        for pool in t.short:
            t.touch(pool)
    elif worker.state == "lost":
        _reconnect(t, worker, event)
    elif worker.state == "draining":
        t.send(worker.id, m.Drain())
    elif known is not None:  # on a new connection, before the end of the old one was noticed
        worker_shutdown.take_out_of_service(t, worker)
        _reconnect(t, worker, event)
    t.changed()


def _note_connection(t: HubState, event: WorkerJoined) -> None:
    lane = t.timeline.lanes.get(event.worker)
    if lane is not None:
        lane.pid, lane.host = event.pid, event.host
        lane.connected = lane.connected or t.wall


def _note_end(t: HubState, worker: Worker, how: str, *, lost: bool) -> None:
    lane = t.timeline.lanes.get(worker.id)
    if lane is not None and not lane.how:
        lane.how, lane.lost = how, lost


def _register(t: HubState, event: WorkerJoined) -> Worker | None:
    worker = Worker(event.worker, event.executable, t.now)
    record = t.registry.functions.get(event.function)
    if event.function and (record is None or event.version not in record.versions):
        t.send(event.worker, m.Refused("conflict", "this hub does not know its function"))
        return None
    t.workers[worker.id] = worker
    lane = t.timeline.open_lane(worker.id, t.wall)
    if record is not None:
        lane.bound = lane.loaded = t.wall
        lane.function, lane.name, lane.app = record.id, record.name, record.app
        pool = worker.pool = pool_scaling.pool_of(t, record, event.version)
        worker.loaded = worker.served = True
        worker.state = "idle"
        worker.inputs_run = 1
        free = admission.free_gpus(t)
        worker.gpus = tuple(gpu for gpu in free if gpu in event.gpus)
        pool.workers[worker.id] = worker
        pool.idle[worker.id] = worker
        worker_recovery.adopt(t, worker, event.running)
        results.update_availability(t, worker)
    return worker


def _reconnect(t: HubState, worker: Worker, event: WorkerJoined) -> None:
    """Handle a worker that reconnected: it keeps its inputs; inputs that never reached it are requeued."""
    has = {lease for lease, *_ in event.running} if event.function else set()
    worker_recovery.keep_claims(t, worker, has)
    if worker.pool is None:
        worker.state = "blank"
        t.blanks.setdefault(worker.executable, {})[worker.id] = worker
        return
    if not event.function:  # the `Bind` message was lost
        worker.state = "binding"
        worker.pool.binding[worker.id] = worker
        worker.pool.workers[worker.id] = worker
        secret_store.bind(t, worker, worker.pool)
    else:
        worker.state = "busy" if worker.leases else "idle"
        worker.pool.busy += bool(worker.leases)
    results.give_back(t, worker, [lease for lease in worker.leases if lease not in has])
    results.update_availability(t, worker)


def _remove(t: HubState, worker: Worker) -> None:
    """Remove a worker and its claims; the caller handles its inputs."""
    worker_shutdown.remove(t, worker)
    worker_recovery.forget_claims(t, worker)


def worker_bound(t: HubState, sender: str, message: m.Bound) -> None:
    """Handle a worker that has loaded its function."""
    worker = t.workers.get(sender)
    if worker is None or worker.pool is None:
        return
    worker.loaded = True
    if (lane := t.timeline.lanes.get(sender)) is not None:
        lane.loaded = lane.loaded or t.wall
    if worker.state != "binding":
        return
    pool = worker.pool
    pool.binding.pop(worker.id, None)
    startup_failures.worker_loaded(t, worker)
    worker.state = "idle"
    worker.idle_since = t.now
    pool.idle[worker.id] = worker
    pool.ready[worker.id] = worker
    t.touch(pool)
    t.changed()


def bind_failed(t: HubState, sender: str, message: m.BindFailed) -> None:
    """Handle a worker that could not load its function."""
    failed = m.Output(0, _INIT_FAILURE, message.payload, worker=sender)
    _cannot_load(t, sender, message.text, failed)


def bind_not_sent(t: HubState, event: BindNotSent) -> None:
    """Handle a definition that is too large to be sent to its worker."""
    failed = m.Output(0, _INIT_FAILURE, None, event.fault, worker=event.worker)
    _cannot_load(t, event.worker, event.fault.message, failed)


def _cannot_load(t: HubState, worker_id: str, text: str, failed: m.Output) -> None:
    """Stop a worker that cannot load its function; waiting inputs may fail."""
    worker = t.workers.get(worker_id)
    if worker is not None and worker.pool is not None:
        _note_end(t, worker, "it could not load its function", lost=True)
        text = f"{worker.pool.record.name!r} could not be loaded:\n{text.rstrip()}"
        raised_for = worker_shutdown.raised_for(t, worker.pool)
        input_logs.system(t, worker.pool, text, worker=worker.id, already_sent=raised_for)
        worker_shutdown.stop(t, worker)
        startup_failures.cannot_load(t, worker, failed)


def worker_lost(t: HubState, event: WorkerLost) -> None:
    """Handle a lost connection: the worker gets no inputs, and keeps its own until its lease expires."""
    worker = t.workers.get(event.worker)
    if worker is None or worker.state in ("lost", "draining"):
        return  # a draining worker has a timer of its own
    worker_shutdown.take_out_of_service(t, worker)
    worker.state, worker.lost_since = "lost", t.now
    t.after(t.limits.lease, _lease_expired, (worker, t.now))
    t.changed()


def _lease_expired(t: HubState, what: tuple[Worker, float]) -> None:
    worker, since = what  # it may have reconnected and been lost again
    lost = worker.state == "lost" and worker.lost_since == since
    if lost and t.workers.get(worker.id) is worker:
        _note_end(t, worker, exit_reasons.UNREACHABLE, lost=True)
        spans.add_lost(t, worker, call_state.running_at(worker))
        _remove(t, worker)
        began = bool(worker.leases)
        worker_failures.release_all(t, worker, exit_reasons.UNREACHABLE)
        t.fenced.append(worker.id)
        t.emit(StopWorker(worker.id, 0.0))
        if not began:
            startup_failures.ended_early(
                t, worker, WorkerExited(worker.id), exit_reasons.UNREACHABLE
            )


def worker_left(t: HubState, sender: str, message: m.Goodbye) -> None:
    """Handle the goodbye of a worker."""
    worker = t.workers.get(sender)
    if worker is not None:
        results.send_confirmation(t, worker)  # it waits for the confirmation
        _ended_normally(t, worker, message.signal)


def _ended_normally(t: HubState, worker: Worker, signal: int) -> None:
    how = exit_reasons.shut_down_by(signal) if signal else ""
    _note_end(t, worker, how, lost=bool(signal) and not worker.stopping)
    _remove(t, worker)
    charged = bool(signal and worker.leases)
    worker_failures.worker_ended(t, worker, signal)
    if not charged:
        how = exit_reasons.shut_down_by(signal) if signal else "it ended by itself"
        startup_failures.ended_early(t, worker, WorkerExited(worker.id, signal=signal or None), how)


def worker_exited(t: HubState, event: WorkerExited) -> None:
    """Handle the end of a worker process."""
    worker = t.workers.get(event.worker)
    if worker is None:
        return
    output.recovered(t, worker, event)
    if (lane := t.timeline.lanes.get(worker.id)) is not None:
        lane.memory_peak = event.memory_peak or 0
    if event.finished:  # its goodbye has not arrived yet, or was lost
        _ended_normally(t, worker, event.ended_by)
        return
    _note_end(t, worker, exit_reasons.how(event), lost=not (worker.stopping or t.closing))
    _remove(t, worker)
    blamed = worker_failures.crashed(t, worker, event)
    if worker.pool is None and not worker.stopping:
        startup_failures.blank_failed(
            t, worker, exit_reasons.how(event) + exit_reasons.last_lines(event)
        )
    elif not blamed:
        startup_failures.ended_early(t, worker, event)
