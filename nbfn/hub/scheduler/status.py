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

#: Most calls in the overview that have not ended.
MOST_CALLS = 5000
#: The name of the Function of a script cell without a name; also in nbfn/jupyter/cells/script_runner.py.
SCRIPT = "cell"


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


def shown_functions(t: HubState) -> list[FunctionRecord]:
    """Return the Functions that are deployed, or whose owner is connected."""
    apps = {app.id for app in t.registry.apps.values() if _there(t, app)}
    return [f for f in t.registry.functions.values() if f.app_id in apps and f.live]


def running_inputs(t: HubState) -> tuple[Counter[Call], Counter[str]]:
    """Return how many inputs run, by call and by Function."""
    by_call = call_state.running_by_call(t.workers.values())
    by_function: Counter[str] = Counter()
    for call, count in by_call.items():
        by_function[call.pool.record.id] += count
    return by_call, by_function


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


def function_row(t: HubState, record: FunctionRecord, running: int) -> dict[str, Any]:
    """Return the row of a Function, of which this many inputs run."""
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
        "app_id": record.app_id,
        "purpose": _purpose(record),
        "owner": definition.owner,
    }


def _purpose(record: FunctionRecord) -> str:
    """Return what a Function is for. A cell that is a script is a Function of an ephemeral App."""
    if record.definition.kind == "session":
        return "session"
    return "script" if record.name == SCRIPT and not record.deployed else "function"


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
    if _is_stopped(t, record, now):
        state = "stopped"
    else:
        state = _state(failing=failing, running=bool(running), starting=bool(starting))
    return {
        "state": state,
        "backlog": now.backlog + now.running - running,
        "running": running,
        "workers": now.workers,
        "starting": starting,
        "waiting_for": (pool.waiting_for or None) if pool else None,
    }


def _is_stopped(t: HubState, record: FunctionRecord, now: Counters) -> bool:
    """Whether a Function was stopped, and neither called nor given warm workers since then."""
    if record.stopped_at is None or now.backlog or now.workers:
        return False
    if pool_scaling.settings_of(t, record, record.latest).min_containers:
        return False
    return all((pool.called or 0.0) <= record.stopped_at for pool in _pools(t, record))


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
        "called": t.wall_of(max(called)) if called else None,
    }


def shown_calls(t: HubState) -> list[Call]:
    """Return calls that have not ended, oldest first.

    Above `MOST_CALLS`, calls with inputs at workers come before waiting ones.
    """
    shown = list(t.calls.values())
    if len(shown) > MOST_CALLS:
        active = [call for call in shown if call.leased][:MOST_CALLS]
        waiting = (call for call in shown if not call.leased)
        shown = active + list(itertools.islice(waiting, MOST_CALLS - len(active)))
    return shown


def ended_call_row(t: HubState, call: Call, ended: float) -> dict[str, Any]:
    """Return the row of a call that ended at this time."""
    return call_row(t, call, 0, end=call_state.end_state(call), until=ended)


def call_row(
    t: HubState, call: Call, running: int, *, end: CallState | None = None, until: float = 0.0
) -> dict[str, Any]:
    """Return the row of a call.

    Args:
        t: The state of the hub.
        call: The call.
        running: How many of its inputs run.
        end: Its state, if it has ended.
        until: When it ended.
    """
    counts = call_state.counts_of(call, running, ended=end is not None)
    return {
        "id": call.id,
        "function": call.pool.record.name + (f".{call.method}" if call.method else ""),
        "app": call.pool.record.app,
        "kind": "session" if call.pool.is_session else call.kind,
        "state": end or call_state.state_of(t, call, running),
        **msgspec.structs.asdict(counts),
        "age": round(max((until if end else t.now) - call.created, 0.0), 3),
        "origin": call.origin,
        "since": round(max(t.now - call.created, 0.0), 3),
        "more": end is None and call_state.is_open(call),
        "function_id": call.pool.record.id,
        "version": call.pool.key[1],
        "purpose": _purpose(call.pool.record),
        "started": t.wall_of(call.created),
        "ended": t.wall_of(until) if end else None,
        "durable": call.durable,
        "notify": call.notify,
    }


def _session(worker: Worker) -> str:
    """Return the id of the call of the session that a worker runs, or ""."""
    if worker.pool is None or not worker.pool.is_session:
        return ""
    return next((item.call.id for item in worker.leases.values()), "")


def worker_row(t: HubState, worker: Worker) -> dict[str, Any]:
    """Return the row of a worker process."""
    record = worker.pool.record if worker.pool is not None else None
    lane = t.timeline.lanes.get(worker.id)
    return {
        "id": worker.id,
        "function": record.name if record else None,
        "function_id": record.id if record else None,
        "app": record.app if record else None,
        "app_id": record.app_id if record else None,
        "state": "starting" if worker.state == "binding" else worker.state,
        "pid": worker.pid,
        "host": lane.host if lane else "",
        "age": round(t.now - worker.joined, 3),
        "joined": t.wall_of(worker.joined),
        "gpus": worker.gpus,
        "session": _session(worker),
    }
