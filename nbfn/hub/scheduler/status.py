"""Builds the rows of the overview: Apps, Functions, calls and workers, and the counters of one Function."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec

from nbfn.hub.scheduler import call_state, cron_times, pool_scaling, web_endpoints
from nbfn.hub.scheduler.app_records import AppRecord
from nbfn.hub.scheduler.hub_state import HubState, threads_of
from nbfn.hub.scheduler.models import Call, Pool, Worker, at_once, largest_batch
from nbfn.hub.scheduler.registry import DEFAULT_ENVIRONMENT, FunctionRecord
from nbfn.protocol.call_states import CallState
from nbfn.protocol.messages import AppRow, Definition

#: Most running calls in the overview.
MOST_CALLS = 1000


@dataclass(frozen=True, slots=True)
class Counters:
    """The current load of a Function."""

    backlog: int
    workers: int
    running: int
    headroom: int


def counters(t: HubState, record: FunctionRecord) -> Counters:
    """Return the counters of a Function, summed over its versions."""
    pools = _pools(t, record)
    newest = pool_scaling.settings_of(t, record, record.latest)
    each = at_once(record.definition) * largest_batch(record.definition)
    workers = sum(len(pool.workers) for pool in pools)
    running = sum(pool.leased for pool in pools)
    return Counters(
        backlog=sum(pool.backlog for pool in pools),
        workers=workers,
        running=running,
        headroom=max(0, newest.max_containers * each - running),
    )


def functions(t: HubState) -> list[dict[str, Any]]:
    """Return a row for each Function that is deployed, or whose owner is connected."""
    shown = [
        record
        for record in t.registry.functions.values()
        if record.live and _there(t, t.registry.apps[record.app_id])
    ]
    running = Counter(
        worker.pool.record.id
        for worker in t.workers.values()
        if worker.pool is not None
        for _ in call_state.running_at(worker)
    )
    shown.sort(key=lambda record: (record.app, record.name))
    return [_function(t, record, running[record.id]) for record in shown]


def _there(t: HubState, app: AppRecord) -> bool:
    if app.stopped is not None:
        return False
    owner = t.clients.get(app.owner)
    return app.deployed or app.detached or (owner is not None and owner.connected)


def apps(t: HubState, environment_name: str) -> list[AppRow]:
    """Return a row for each App of an environment, the newest first."""
    where = environment_name or DEFAULT_ENVIRONMENT
    found = [app for app in t.registry.apps.values() if app.environment_name == where]
    return [app_row(t, app) for app in sorted(found, key=lambda app: -app.created)]


def app_row(t: HubState, app: AppRecord) -> AppRow:
    """Return an App's row."""
    functions = [f for f in t.registry.functions_of(app) if f.live]
    return AppRow(
        id=app.id,
        name=app.name,
        environment_name=app.environment_name,
        state=state_of(t, app),
        version=app.version,
        workers=sum(len(pool.workers) for pool in t.pools.values() if pool.record.app_id == app.id),
        created=app.created,
        stopped=app.stopped,
        tags=dict(app.tags),
        functions=tuple(sorted(f.name for f in functions)),
    )


def state_of(t: HubState, app: AppRecord) -> str:
    """Return an App's state as it is displayed."""
    if app.stopped is not None:
        busy = any(call.pool.record.app_id == app.id for call in t.calls.values())
        return "stopping" if busy else "stopped"
    if app.deployed:
        return "deployed"
    return "ephemeral (detached)" if app.detached else "ephemeral"


def environments(t: HubState) -> list[dict[str, Any]]:
    """Return a row for each environment."""
    living = [app.environment_name for app in t.registry.apps.values() if app.stopped is None]
    return [
        {"name": name, "created": created, "apps": living.count(name)}
        for name, created in sorted(t.registry.environments.items())
    ]


def _pools(t: HubState, record: FunctionRecord) -> list[Pool]:
    found = (t.pools.get((record.id, version)) for version in record.versions)
    return [pool for pool in found if pool is not None]


def _function(t: HubState, record: FunctionRecord, running: int) -> dict[str, Any]:
    definition = record.definition
    settings = pool_scaling.settings_of(t, record, record.latest)
    threads, why = threads_of(definition, settings, t.limits)
    return {
        "id": record.id,
        "app": record.app,
        "name": record.name,
        "version": record.latest,
        "kind": _kind(definition),
        "deployed": record.deployed,
        **_load_columns(t, record, running),
        "min_containers": settings.min_containers,
        "max_containers": settings.max_containers,
        "buffer_containers": settings.buffer_containers,
        "scaledown_window": settings.scaledown_window,
        **_history_columns(t, record),
        "schedule": cron_times.text(definition.schedule) if definition.schedule else "",
        "has_workers": definition.arguments is not None or not definition.takes_arguments,
        "label": web_endpoints.labels_of(record, definition).get(""),
        "threads": threads,
        "threads_why": why,
    }


def _kind(definition: Definition) -> str:
    if definition.kind == "function" and definition.is_generator:
        return "generator"
    return definition.kind


def _load_columns(t: HubState, record: FunctionRecord, running: int) -> dict[str, Any]:
    """Return the columns about a Function's workers and queue; inputs that workers have in advance wait."""
    now = counters(t, record)
    pool = t.pools.get((record.id, record.latest))
    starting = pool.starting if pool else 0
    failing = bool(pool and (pool.start_failures or pool.executable in t.start_backoff))
    return {
        "state": _state(failing=failing, running=bool(running), starting=bool(starting)),
        "backlog": now.backlog + now.running - running,
        "running": running,
        "workers": now.workers,
        "starting": starting,
        "waiting_for": (pool.waiting_for or None) if pool else None,
    }


def _state(*, failing: bool, running: bool, starting: bool) -> str:
    if failing:
        return "failing"
    if running:
        return "busy"
    return "starting" if starting else "idle"


def _history_columns(t: HubState, record: FunctionRecord) -> dict[str, Any]:
    """Return the columns with the latest durations, in seconds, and with counts over all versions."""
    pool = t.pools.get((record.id, record.latest))
    durations = sorted(pool.durations) if pool else []
    pools = _pools(t, record)
    called = [pool.called for pool in pools if pool.called is not None]
    return {
        "p50": statistics.median(durations) if durations else None,
        "p95": durations[round(0.95 * (len(durations) - 1))] if durations else None,
        "failed": sum(pool.failed for pool in pools),
        "cold_starts": sum(pool.cold_starts for pool in pools),
        "last_call": round(t.now - max(called), 3) if called else None,
    }


def calls(t: HubState) -> list[dict[str, Any]]:
    """Return calls that have not ended, oldest first, then ended ones, newest first.

    Above `MOST_CALLS`, calls with inputs at workers come before waiting ones.
    """
    shown = list(t.calls.values())
    if len(shown) > MOST_CALLS:
        active = [call for call in shown if call.leased][:MOST_CALLS]
        waiting = (call for call in shown if not call.leased)
        shown = active + list(itertools.islice(waiting, MOST_CALLS - len(active)))
    running = call_state.running_by_call(t.workers.values())
    ended = [
        _call(t, call, call_state.end_state(call), 0, ended) for call, ended in reversed(t.history)
    ]
    return [_call(t, call, None, running[call], t.now) for call in shown] + ended


def _call(
    t: HubState, call: Call, end: CallState | None, running: int, until: float
) -> dict[str, Any]:
    """Return the row of a call; ``end`` is its state if it has ended."""
    counts = call_state.counts_of(call, running, ended=end is not None)
    return {
        "id": call.id,
        "function": call.pool.record.name + (f".{call.method}" if call.method else ""),
        "app": call.pool.record.app,
        "kind": "session" if call.pool.is_session else call.kind,
        "state": end or call_state.state_of(t, call, running),
        **msgspec.structs.asdict(counts),
        "age": round(max(until - call.created, 0.0), 3),
        "origin": call.origin,
        "since": round(max(t.now - call.created, 0.0), 3),
        "more": end is None and call_state.is_open(call),
    }


def _session(worker: Worker) -> str:
    """Return the id of the call of the session that a worker runs, or ""."""
    if worker.pool is None or not worker.pool.is_session:
        return ""
    return next((item.call.id for item in worker.leases.values()), "")


def workers(t: HubState) -> list[dict[str, Any]]:
    """Return a row for each worker process."""
    return [
        {
            "id": worker.id,
            "function": worker.pool.record.name if worker.pool else None,
            "app": worker.pool.record.app if worker.pool else None,
            "app_id": worker.pool.record.app_id if worker.pool else None,
            "state": "starting" if worker.state == "binding" else worker.state,
            "pid": worker.pid,
            "age": round(t.now - worker.joined, 3),
            "session": _session(worker),
        }
        for worker in t.workers.values()
    ]
