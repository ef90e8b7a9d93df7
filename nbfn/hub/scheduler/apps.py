"""The life cycle of Apps: deployment, rollback, run, stop, and loss of the owner.

Rule 1: only `_make_current` and `function_put` change the current versions of an App's Functions.
Rule 2: a rolling deployment affects new calls only; running calls keep their version.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from nbfn.hub.scheduler import (
    cancellation,
    clients,
    cron_times,
    function_info,
    pool_scaling,
    secret_store,
    sessions,
    status,
    web_endpoints,
    worker_shutdown,
)
from nbfn.hub.scheduler.app_records import AppRecord, Deployment
from nbfn.hub.scheduler.effects import (
    ForgetApp,
    SaveApp,
    SaveEnvironments,
    SaveFunction,
    SaveSettings,
    Send,
)
from nbfn.hub.scheduler.events import AppsRestored, ClientJoined, ClientLost
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.registry import DEFAULT_ENVIRONMENT, STOPPED_KEPT, FunctionRecord
from nbfn.protocol import messages as m

# --- registration --------------------------------------------------------------------------------


def _refusal(t: HubState, sender: str, message: m.Register) -> tuple[str, str]:
    """Return the code and the reason why a Function cannot be registered; the reason is "" if it can."""
    if problem := _closed(t, message.app_id, message.environment_name):
        return "not_found", problem
    if taken := web_endpoints.collision(t, sender, message):
        return "conflict", taken
    schedule = message.definition.schedule
    if schedule is not None and (problem := cron_times.problem(schedule)):
        return "invalid", problem
    return "not_found", secret_store.missing(t, message.environment_name, message.definition)


def function_put(t: HubState, sender: str, message: m.Register) -> None:
    """Register a version; unless it is staged, it becomes current and older versions' pools are retired."""
    code, problem = _refusal(t, sender, message)
    if problem:
        t.send(sender, m.Failed(message.request, code, problem))
        return
    for record in web_endpoints.taken_over(t, sender, message):
        retire(t, record)
    known = set(t.registry.apps)
    given = (message.app, message.app_id, message.environment_name, message.definition, sender)
    if message.staged:
        record, version, created = t.registry.stage(*given)
    else:
        record, created = t.registry.put(*given)
        version = record.latest
    app = t.registry.apps[record.app_id]
    _reassign_owner(t, app, sender)
    if (record.id, version) in t.unsaved:  # its save failed before: save it again
        t.unsaved.discard((record.id, version))
        created = True
    if app.id not in known:
        app.created = t.wall
    if created:
        t.emit(SaveFunction(record, version, record.latest))
        t.changed()
    if not message.staged:
        t.touch(pool_scaling.pool_of(t, record, version))
        _activate(t, record)
        if created and app.deployed:  # a new version of a deployed App is a deployment, too
            made = {record.name: version}
            record_deployment(
                t, app, app_functions(t, app), m.Deploy(0, app.name, made, "", partial=True)
            )
    if created or app.id not in known:
        save(t, app, deployed=app.deployed and not message.staged)
    info = function_info.of(t, record, version, created=created)
    t.send(sender, m.Registered(message.request, info), after_commit=created)


def _closed(t: HubState, app_id: str, environment_name: str) -> str:
    app = t.registry.apps.get(app_id)
    if app is not None and app.final:
        name = f"App {app.name!r}" if app.name else f"App {app.id}"
        return f"{name} was stopped. Run it again, or deploy it."
    return t.registry.no_environment(environment_name)


def app_functions(t: HubState, app: AppRecord) -> dict[str, int]:
    """Return the current version of each Function of an App."""
    return {f.name: f.latest for f in t.registry.functions_of(app) if f.live}


def _activate(t: HubState, record: FunctionRecord) -> None:
    """Keep the pool of a Function's current version, and retire the pools of the others."""
    for renewed in record.with_variants:
        pool_scaling.retire_older_versions(t, renewed)
        if (pool := t.pools.get((renewed.id, renewed.latest))) is not None:
            pool.retired = False
            pool.settings = pool_scaling.settings_of(t, renewed, renewed.latest)
            t.touch(pool)


# --- deployments ---------------------------------------------------------------------------------


def app_deployed(t: HubState, sender: str, message: m.Deploy) -> None:
    """Deploy versions; deploying the current ones again changes nothing."""
    if problem := t.registry.no_environment(message.environment_name):
        t.send(sender, m.Failed(message.request, "not_found", problem))
        return
    app = t.registry.begin("", message.app, message.environment_name, sender)
    app.created = app.created or t.wall
    if message.tags is not None:
        app.tags = dict(message.tags)
    before = app_functions(t, app)
    wanted = {**before, **message.functions} if message.partial else dict(message.functions)
    named = t.registry.named(app, wanted)
    if isinstance(named, str):
        t.send(sender, m.Failed(message.request, "not_found", named))
        return
    changed = wanted != before or not app.version
    renewed = _make_current(t, app, named, wanted, afresh=not message.partial)
    if changed:
        record_deployment(t, app, wanted, message)
        if message.strategy == "recreate":
            _drain(t, app, but=renewed)
    save(t, app, deployed=changed)
    t.send(sender, _found(t, app, message.request, changed=changed), after_commit=True)
    t.changed()


def _clear_overrides(t: HubState, record: FunctionRecord) -> None:
    for overridden in [one for one in record.with_variants if one.overrides]:
        overridden.overrides.clear()
        t.emit(SaveSettings(overridden.id, {}))


def _make_current(
    t: HubState,
    app: AppRecord,
    named: Mapping[str, FunctionRecord],
    wanted: Mapping[str, int],
    *,
    afresh: bool,
) -> set[tuple[str, int]]:
    """Make these versions current; ``afresh`` also drops the overrides of unchanged Functions.

    Returns the keys of the pools of those that were not current before.
    """
    renewed: set[tuple[str, int]] = set()
    for record in t.registry.functions_of(app):
        if record.name not in named and record.live:
            record.remove()
            retire(t, record)
            t.emit(SaveFunction(record, record.latest, removed=True))
    for name, record in named.items():
        same = record.live and record.latest == wanted[name]
        if not same:
            record.become(wanted[name])
            renewed |= {(one.id, one.latest) for one in record.with_variants}
            t.emit(SaveFunction(record, record.latest))
        elif afresh:
            _clear_overrides(t, record)
        _activate(t, record)
    return renewed


def save(t: HubState, app: AppRecord, *, deployed: bool = False) -> None:
    """Store an App, and its current deployment if that is new."""
    kept = app.deployments.get(app.version) if deployed else None
    t.emit(SaveApp(dataclasses.replace(app, tags=dict(app.tags), deployments={}), kept))


def record_deployment(
    t: HubState, app: AppRecord, functions: Mapping[str, int], message: m.Deploy
) -> None:
    """Add a deployment of these versions to an App's history."""
    details = (message.nbfn, message.by, message.commit, message.tag, dict(functions))
    app.add_deployment(Deployment(app.version + 1, t.wall, *details))
    app.anchors = {
        name: t.wall if name in message.functions else app.anchors.get(name, t.wall)
        for name in functions
    }


def app_rolled_back(t: HubState, sender: str, message: m.Rollback) -> None:
    """Deploy the versions of an earlier deployment again."""
    app = t.registry.apps.get(message.app_id)
    if app is None or app.final or not app.deployed:
        text = f"No app with the id {message.app_id!r} is deployed."
        t.send(sender, m.Failed(message.request, "not_found", text))
        return
    version = message.version if message.version > 0 else app.version - (message.version == 0)
    kept = app.deployments.get(version)
    if kept is None:
        known = ", ".join(f"v{n}" for n in sorted(app.deployments))
        text = f"App {app.name!r} has no version {version} to go back to (kept: {known or 'none'})."
        t.send(sender, m.Failed(message.request, "not_found", text))
        return
    named = t.registry.named(app, kept.functions)
    if isinstance(named, str):
        t.send(sender, m.Failed(message.request, "not_found", named))
        return
    _make_current(t, app, named, kept.functions, afresh=True)
    details = m.Deploy(
        message.request,
        app.name,
        kept.functions,
        app.environment_name,
        tag=kept.tag,
        by=message.by,
        commit=kept.commit,
        nbfn=message.nbfn,
    )
    record_deployment(t, app, kept.functions, details)
    if message.strategy == "recreate" or message.version < 0:
        _drain(t, app)
    save(t, app, deployed=True)
    t.send(sender, _found(t, app, message.request, changed=True), after_commit=True)
    t.changed()


def _drain(t: HubState, app: AppRecord, but: Collection[tuple[str, int]] = ()) -> None:
    """Drain the workers of an App; new inputs wait for new workers.

    Pools with the keys ``but`` are skipped: their workers loaded the new version before it was deployed.
    """
    for worker in list(t.workers.values()):
        pool = worker.pool
        if pool is not None and pool.record.app_id == app.id and pool.key not in but:
            worker_shutdown.stop(t, worker)


def retire(t: HubState, record: FunctionRecord) -> None:
    """Retire the pools of a Function and its variants: their workers end when no input waits."""
    ids = {one.id for one in record.with_variants}
    for pool in t.pools.values():
        if pool.record.id in ids:
            pool.retired = True
            t.touch(pool)


# --- run and stop --------------------------------------------------------------------------------


def app_run_requested(t: HubState, sender: str, message: m.RunApp) -> None:
    """Start an ephemeral App; a repeated request changes nothing."""
    if problem := _closed(t, message.app_id, message.environment_name):
        t.send(sender, m.Failed(message.request, "not_found", problem))
        return
    known = t.registry.apps.get(message.app_id)
    if known is not None and (known.deployed or known.owner != sender):
        text = f"App {message.app_id} belongs to another client."
        t.send(sender, m.Failed(message.request, "conflict", text))
        return
    app = t.registry.begin(message.app_id, message.name, message.environment_name, sender)
    app.scoped, app.detached = True, message.detached
    app.tags = dict(message.tags)
    app.created = app.created or t.wall
    save(t, app)
    t.send(sender, _found(t, app, message.request, changed=True), after_commit=True)
    t.changed()


def _app_of(
    t: HubState, sender: str, message: m.StopApp | m.SetTags | m.FollowApp
) -> AppRecord | None:
    """Return the App of a message; if there is none, refuse the message."""
    app = t.registry.apps.get(message.app_id)
    if app is None:
        text = f"No app has the id {message.app_id!r}."
        t.send(sender, m.Failed(message.request, "not_found", text))
    return app


def app_stopped(t: HubState, sender: str, message: m.StopApp) -> None:
    """Stop an App; a repeated request changes nothing."""
    app = _app_of(t, sender, message)
    if app is None:
        return
    inside = [call for call in t.calls.values() if call.pool.record.app_id == app.id]
    if not message.end_session and sessions.refuses(t, sender, message.request, inside):
        return
    if message.scope:
        _end_scope(t, app)
    else:
        stop(t, app)
    answer = Send(sender, m.Done(message.request), after_commit=True)
    worker_shutdown.answer_after_hooks(t, app, answer)


def _end_scope(t: HubState, app: AppRecord) -> None:
    """End the run of an ephemeral App: cancel its calls, except durable ones."""
    if app.stopped is not None:
        return
    app.owner = ""
    for call in list(t.calls.values()):
        if call.pool.record.app_id == app.id and not call.durable:
            cancellation.cancel(t, call)
    _mark_stopped(t, app)
    _forget_oldest(t)
    t.changed()


def _mark_stopped(t: HubState, app: AppRecord) -> None:
    app.stopped = t.wall
    save(t, app)
    for record in t.registry.functions_of(app):
        retire(t, record)


def stop(t: HubState, app: AppRecord) -> None:
    """Stop an App: cancel its calls, retire its pools and release its name."""
    if app.final:
        return
    app.stopped, app.final = t.wall, True
    t.registry.close(app)
    for call in list(t.calls.values()):
        if call.pool.record.app_id == app.id:
            cancellation.cancel(t, call)
    for record in t.registry.functions_of(app):
        retire(t, record)
    save(t, app)
    _forget_oldest(t)
    t.changed()


def _forget_oldest(t: HubState) -> None:
    """Delete the oldest stopped Apps without calls or pools."""
    busy = {call.pool.record.app_id for call in t.calls.values()}
    busy |= {pool.record.app_id for pool in t.pools.values()}
    old = [a for a in t.registry.apps.values() if a.stopped is not None and a.id not in busy]
    for app in sorted(old, key=lambda app: app.stopped or 0.0)[:-STOPPED_KEPT]:
        functions = [record.id for record in t.registry.functions_of(app)]
        t.registry.forget_app(app)
        t.emit(ForgetApp(app.id, functions))


def client_joined(t: HubState, event: ClientJoined) -> None:
    """Add a client; if it reconnected, its ephemeral Apps continue."""
    clients.client_joined(t, event)
    for app in t.registry.apps.values():
        if app.owner == event.client:
            _reactivate(t, app)


def _reassign_owner(t: HubState, app: AppRecord, client: str) -> None:
    """Assign an ephemeral App to the new client of its process, after the earlier client was closed."""
    mine = t.clients.get(client)
    if app.owner and app.stopped is not None and mine is not None and not mine.worker:
        app.owner = client
        for record in t.registry.functions_of(app):
            for one in record.with_variants:
                one.owner = client
        _reactivate(t, app)


def _reactivate(t: HubState, app: AppRecord) -> None:
    if app.stopped is None or app.final:
        return
    app.stopped = None
    save(t, app)
    for record in t.registry.functions_of(app):
        if record.live:
            _activate(t, record)


def client_lost(t: HubState, event: ClientLost) -> None:
    """Handle a lost connection of a client; its Apps end after the same grace period as its calls."""
    clients.client_lost(t, event)
    t.after(t.limits.client_grace, _end_if_owner_gone, event.client)


def client_left(t: HubState, sender: str, message: m.ClientLeaves) -> None:
    """Handle a closed client: end its Apps, except their durable calls."""
    _end_owned(t, sender)


def apps_restored(t: HubState, _: AppsRestored) -> None:
    """Start the grace period in which owners of ephemeral Apps may reconnect."""
    for owner in {app.owner for app in t.registry.apps.values() if app.owner and not app.final}:
        t.after(t.limits.client_grace, _end_if_owner_gone, owner)


def _end_if_owner_gone(t: HubState, client: str) -> None:
    """End the Apps of a client that did not reconnect, except their durable calls."""
    if client not in t.clients:
        _end_owned(t, client)


def _end_owned(t: HubState, client: str) -> None:
    for app in list(t.registry.apps.values()):
        if app.owner != client or app.stopped is not None or app.detached:
            continue
        _mark_stopped(t, app)
    _forget_oldest(t)
    t.changed()


# --- other requests -------------------------------------------------------------------------------


def _found(t: HubState, app: AppRecord, request: int, *, changed: bool) -> m.AppFound:
    return m.AppFound(request, status.app_row(t, app), changed)


def app_requested(t: HubState, sender: str, message: m.FindApp) -> None:
    """Look up an App, or create an empty deployed one."""
    found = t.registry.app(message.app, message.environment_name)
    missing = isinstance(found, str)
    if missing and message.create and not t.registry.no_environment(message.environment_name):
        found = t.registry.begin("", message.app, message.environment_name, sender)
        found.created = t.wall
        save(t, found)
    if isinstance(found, str):
        t.send(sender, m.Failed(message.request, "not_found", found))
    else:
        t.send(sender, _found(t, found, message.request, changed=missing), after_commit=missing)


def app_tagged(t: HubState, sender: str, message: m.SetTags) -> None:
    """Replace an App's tags."""
    app = _app_of(t, sender, message)
    if app is None:
        return
    app.tags = dict(message.tags)
    save(t, app)
    t.send(sender, m.Done(message.request), after_commit=True)


def app_followed(t: HubState, sender: str, message: m.FollowApp) -> None:
    """Send a client the output of an App's workers from now on."""
    app = _app_of(t, sender, message)
    if app is None:
        return
    app.followers = {name for name in app.followers if name in t.clients} | {sender}
    t.send(sender, m.Done(message.request))


# --- environments --------------------------------------------------------------------------------


def _refused_change(t: HubState, message: m.ChangeEnvironment) -> tuple[str, str]:
    """Return the code and the reason why an environment cannot be changed; the reason is "" if it can."""
    if message.name == DEFAULT_ENVIRONMENT:
        return "invalid", f"The environment {message.name!r} always exists."
    if message.name and (problem := t.registry.no_environment(message.name)):
        return "not_found", problem
    if message.name and not message.new_name and (problem := _sessions(t, message.name)):
        return "conflict", problem
    taken = message.new_name in t.registry.environments
    return "conflict", f"There is an environment {message.new_name!r}." if taken else ""


def _move_or_stop(t: HubState, app: AppRecord, environment_name: str) -> None:
    """Move an App to another environment; stop it if there is none."""
    if not environment_name:
        stop(t, app)
        return
    t.registry.move(app, environment_name)
    save(t, app)
    for record in t.registry.functions_of(app):
        t.emit(SaveFunction(record, max(record.versions), record.latest, record.removed))
        t.emit(SaveSettings(record.id, dict(record.overrides)))


def environment_changed(t: HubState, sender: str, message: m.ChangeEnvironment) -> None:
    """Create, rename or delete an environment; its Apps move with it or are stopped."""
    environments = t.registry.environments
    code, problem = _refused_change(t, message)
    if problem:
        t.send(sender, m.Failed(message.request, code, problem))
        return
    if message.name:
        for app in list(t.registry.apps.values()):
            if app.environment_name == message.name:
                _move_or_stop(t, app, message.new_name)
        secret_store.move(t, message.name, message.new_name)
    created = environments.pop(message.name, t.wall)
    if message.new_name:
        environments[message.new_name] = created
    t.emit(SaveEnvironments(dict(environments)))
    t.send(sender, m.Done(message.request), after_commit=True)


def _sessions(t: HubState, environment_name: str) -> str:
    """Return why an environment must not be deleted: it has sessions; "" if it has none."""
    calls = t.calls.values()
    return sessions.refusal(c for c in calls if c.pool.record.environment_name == environment_name)
