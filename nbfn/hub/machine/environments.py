"""Environments: made, renamed and deleted, with the Apps and secrets that are in them."""

from __future__ import annotations

from nbfn.hub.machine import apps, vault
from nbfn.hub.machine.effects import Answer, Refuse, SaveEnvironments, SaveFunction, SaveSettings
from nbfn.hub.machine.events import EnvironmentChanged
from nbfn.hub.machine.registry import DEFAULT_ENVIRONMENT
from nbfn.hub.machine.tables import Tables


def environment_changed(t: Tables, event: EnvironmentChanged) -> None:
    """Create, rename or delete an environment; what is deployed in it goes with it."""
    environments = t.registry.environments
    if event.name == DEFAULT_ENVIRONMENT:
        code, problem = "invalid", f"The environment {event.name!r} always exists."
    elif event.name and (problem := t.registry.no_environment(event.name)):
        code = "not_found"
    else:
        taken = event.new_name in environments
        code, problem = "conflict", f"There is an environment {event.new_name!r}." if taken else ""
    if problem:
        t.emit(Refuse(event.client, event.request, code, problem))
        return
    inside = [app for app in t.registry.apps.values() if app.environment_name == event.name]
    for app in inside if event.name else ():
        if event.new_name:
            t.registry.move(app, event.new_name)
            apps.save(t, app)
            for record in t.registry.functions_of(app):
                t.emit(SaveFunction(record, max(record.versions), record.latest, record.removed))
                t.emit(SaveSettings(record.id, dict(record.overrides)))
        else:
            apps.stop(t, app)
    if event.name:
        vault.move(t, event.name, event.new_name)
    created = environments.pop(event.name, t.wall)
    if event.new_name:
        environments[event.new_name] = created
    t.emit(SaveEnvironments(dict(environments)))
    t.emit(Answer(event.client, event.request, "done", after_commit=True))
