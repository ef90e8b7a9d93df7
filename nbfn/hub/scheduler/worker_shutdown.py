"""Drains, stops and removes workers, and fails inputs for which no worker can start."""

from __future__ import annotations

from nbfn.hub.scheduler import completion, input_logs, sessions
from nbfn.hub.scheduler.app_records import AppRecord
from nbfn.hub.scheduler.effects import Send, StopWorker
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Input, Pool, Worker
from nbfn.protocol import messages as m

#: Seconds for the exit hooks of a class.
EXIT_GRACE = 30.0


def worker_stop_requested(t: HubState, sender: str, message: m.StopWorker) -> None:
    """Stop a worker; its inputs run elsewhere or, if graceful, finish first."""
    worker = t.workers.get(message.worker)
    if worker is None:
        text = f"No worker has the id {message.worker!r}."
        t.send(sender, m.Failed(message.request, "not_found", text))
        return
    held = [item.call for item in worker.leases.values()]
    if not message.end_session and sessions.refuses(t, sender, message.request, held):
        return
    stop(t, worker)
    if not message.graceful:
        t.emit(StopWorker(worker.id, 0.0))
    t.send(sender, m.Done(message.request))


def stop(t: HubState, worker: Worker) -> None:
    """Drain a worker; kill it if it does not exit in time."""
    if worker.stopping:
        return
    worker.stopping = True
    take_out_of_service(t, worker)
    if worker.pool is not None:
        worker.pool.workers.pop(worker.id, None)
        t.touch(worker.pool)
    worker.state = "draining"
    t.send(worker.id, m.Drain())
    hooks = worker.pool is not None and worker.pool.definition.exit_hooks
    t.after(EXIT_GRACE if hooks else 2 * t.limits.kill_grace, _kill_if_running, worker)
    t.changed()


def _kill_if_running(t: HubState, worker: Worker) -> None:
    if t.workers.get(worker.id) is worker:
        t.emit(StopWorker(worker.id, t.limits.kill_grace))


def take_out_of_service(t: HubState, worker: Worker) -> None:
    """Remove a worker from all lists for dispatch and binding; it keeps its leases."""
    t.blanks.get(worker.executable, {}).pop(worker.id, None)
    t.starting.get(worker.executable, {}).pop(worker.id, None)
    pool = worker.pool
    if pool is not None:
        if worker.state == "busy":
            pool.busy -= 1
        for table in (pool.idle, pool.ready, pool.binding):
            table.pop(worker.id, None)


def remove(t: HubState, worker: Worker) -> None:
    """Remove a worker; the caller handles its inputs."""
    take_out_of_service(t, worker)
    worker.state = "gone"
    if worker.lending and worker.pool is not None:
        worker.pool.lent -= 1
        worker.lending = False
    worker.lent = 0
    t.supply_due = True
    t.workers.pop(worker.id, None)
    t.timeline.close_lane(worker.id, t.wall)
    if worker.pool is not None:
        worker.pool.workers.pop(worker.id, None)
        t.touch(worker.pool)
    for pool in (*t.short, *t.lacking):
        t.touch(pool)
    for app, answer in tuple(t.pending_stops):
        if not _runs_hooks(t, app):
            _send_answer(t, answer)
    t.changed()


def answer_after_hooks(t: HubState, app: AppRecord, answer: Send) -> None:
    """Answer a client that stops an App; if it follows the App, after the exit hooks have run."""
    if answer.to in app.followers and _runs_hooks(t, app):
        t.pending_stops.append((app, answer))
        t.after(EXIT_GRACE + 2 * t.limits.kill_grace, _send_answer, answer)
    else:
        t.emit(answer)


def _runs_hooks(t: HubState, app: AppRecord) -> bool:
    """Whether a worker of an App will run exit hooks soon; not one that still runs spawned calls."""
    return any(
        worker.pool.definition.exit_hooks
        and not any(i.call.durable for i in worker.leases.values())
        for worker in t.workers.values()
        if worker.pool is not None and worker.pool.record.app_id == app.id
    )


def _send_answer(t: HubState, answer: Send) -> None:
    if any(one is answer for _, one in t.pending_stops):
        t.pending_stops = [(app, one) for app, one in t.pending_stops if one is not answer]
        t.emit(answer)


def interrupt(t: HubState, item: Input) -> None:
    """Interrupt a cancelled input; kill the worker if that has no effect."""
    if item.worker is not None and not item.cancelled:
        item.cancelled = True
        # If the lease waits for the disk, so must this.
        waits = item.stored or item.call.pool.definition.at_most_once
        t.send(item.worker.id, m.CancelInput(item.lease), after_commit=waits)
        t.after(t.limits.kill_grace, _kill_if_still_running, (item, item.lease))


def _kill_if_still_running(t: HubState, what: tuple[Input, int]) -> None:
    item, lease = what
    if item.lease == lease and item.worker is not None and not item.worker.stopping:
        item.worker.stopping = True
        t.emit(StopWorker(item.worker.id, t.limits.kill_grace))


def fail_waiting(t: HubState, pool: Pool, how: m.Output) -> None:
    """Fail all waiting inputs of a pool that can have no worker; the Function's logs contain the reason."""
    calls = [call for call in t.calls.values() if call.pool is pool]
    if calls and how.fault is not None:
        input_logs.system(
            t, pool, how.fault.message, worker=how.worker, already_sent=raised_for(t, pool)
        )
    for call in calls:
        if call.unattended:
            text = f"{pool.record.name!r} could not be loaded, so this call failed; the App's logs say why."
            input_logs.system(t, pool, text, call=call.id)
        call.pending.drop(call)
        waiting = [item for item in call.inputs.values() if item.worker is None]
        failed = [
            m.Output(item.index, how.status, how.payload, how.fault, 0.0, how.worker, 1)
            for item in waiting
        ]
        completion.finish(t, call, failed)
    pool.solo.clear()


def raised_for(t: HubState, pool: Pool) -> frozenset[str]:
    """Return the clients that raise the error of a pool's worker, because they wait for a call."""
    waiting = (call for call in t.calls.values() if call.pool is pool and not call.unattended)
    return frozenset(call.client for call in waiting if call.kind != "web")
