"""Creates, renames and deletes environments, with the Apps and secrets in them."""

from __future__ import annotations

from nbfn.hub.scheduler import apps, secret_store, sessions
from nbfn.hub.scheduler.effects import SaveEnvironments, SaveFunction, SaveSettings
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.registry import DEFAULT_ENVIRONMENT
from nbfn.protocol import messages as m


def environment_changed(t: HubState, sender: str, message: m.ChangeEnvironment) -> None:
    """Create, rename or delete an environment; its Apps move with it or are stopped."""
    environments = t.registry.environments
    if message.name == DEFAULT_ENVIRONMENT:
        code, problem = "invalid", f"The environment {message.name!r} always exists."
    elif message.name and (problem := t.registry.no_environment(message.name)):
        code = "not_found"
    elif message.name and not message.new_name and (problem := _sessions(t, message.name)):
        code = "conflict"
    else:
        taken = message.new_name in environments
        code, problem = (
            "conflict",
            f"There is an environment {message.new_name!r}." if taken else "",
        )
    if problem:
        t.send(sender, m.Failed(message.request, code, problem))
        return
    inside = [app for app in t.registry.apps.values() if app.environment_name == message.name]
    for app in inside if message.name else ():
        if message.new_name:
            t.registry.move(app, message.new_name)
            apps.save(t, app)
            for record in t.registry.functions_of(app):
                t.emit(SaveFunction(record, max(record.versions), record.latest, record.removed))
                t.emit(SaveSettings(record.id, dict(record.overrides)))
        else:
            apps.stop(t, app)
    if message.name:
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
