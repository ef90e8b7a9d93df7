"""Stops a Function, or removes it from its App."""

from __future__ import annotations

from nbfn.hub.scheduler import apps, cancellation, pool_scaling, sessions, worker_shutdown
from nbfn.hub.scheduler.effects import SaveFunction, SaveSettings
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call
from nbfn.hub.scheduler.registry import FunctionRecord
from nbfn.protocol import messages as m

#: Settings with which a pool keeps no workers.
_NONE = {"min_containers": 0, "buffer_containers": 0}


def function_stopped(t: HubState, sender: str, message: m.StopFunction) -> None:
    """Cancel the calls of a Function and its variants, end their workers, and keep none warm."""
    record = _to_stop(t, sender, message, t.registry.functions.get(message.function))
    if record is None:
        return
    for one in record.with_variants:
        one.overrides.update(_NONE)
        one.stopped_at = t.now
        t.emit(SaveSettings(one.id, dict(one.overrides)))
    calls, workers = _stop(t, record)
    t.send(sender, m.FunctionStopped(message.request, calls, workers), after_commit=True)
    t.changed()


def _to_stop(
    t: HubState,
    sender: str,
    message: m.StopFunction | m.RemoveFunction,
    record: FunctionRecord | None,
) -> FunctionRecord | None:
    """Return the Function, or None after the request was refused: there is none, or it has sessions."""
    if record is None or not record.live:
        t.send(sender, m.Failed(message.request, "not_found", t.registry.refusal(record, 0)))
        return None
    if not message.end_session and sessions.refuses(t, sender, message.request, _calls(t, record)):
        return None
    return record


def _stop(t: HubState, record: FunctionRecord) -> tuple[int, int]:
    """End the calls and workers of a Function and its variants; return how many there were."""
    calls = _calls(t, record)
    for call in calls:
        cancellation.cancel(t, call)
    workers, ids = 0, {one.id for one in record.with_variants}
    for pool in [pool for pool in t.pools.values() if pool.record.id in ids]:
        pool.settings = pool_scaling.settings_of(t, pool.record, pool.key[1])
        workers += len(pool.workers)
        for worker in list(pool.workers.values()):
            worker_shutdown.stop(t, worker)
        t.touch(pool)
    return len(calls), workers


def _calls(t: HubState, record: FunctionRecord) -> list[Call]:
    """Return the unfinished calls of a Function and its variants."""
    ids = {one.id for one in record.with_variants}
    return [call for call in t.calls.values() if call.pool.record.id in ids]


def function_removed(t: HubState, sender: str, message: m.RemoveFunction) -> None:
    """Stop a Function and remove it from its App; if that is deployed, this is a deployment."""
    record = t.registry.functions.get(message.function)
    if record is not None and record.base:
        record = t.registry.functions.get(record.base)
    record = _to_stop(t, sender, message, record)
    if record is None:
        return
    _stop(t, record)
    record.remove()
    apps.retire(t, record)
    t.emit(SaveFunction(record, record.latest, removed=True))
    app = t.registry.apps[record.app_id]
    if app.deployed:
        left = apps.app_functions(t, app)
        tag = f"without {record.name}"
        deploy = m.Deploy(message.request, app.name, {}, app.environment_name, tag=tag)
        apps.record_deployment(t, app, left, deploy)
    apps.save(t, app, deployed=app.deployed)
    t.send(sender, m.Done(message.request), after_commit=True)
    t.changed()
