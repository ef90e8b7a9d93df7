"""Labels of web endpoints: the last part of their URLs, unique among reachable endpoints.

They are computed from the registry and not stored, so they are always consistent with it.
"""

from __future__ import annotations

from collections.abc import Iterator

from nbfn._names import to_ascii
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.registry import DEFAULT_ENVIRONMENT, FunctionRecord
from nbfn.protocol import messages as m
from nbfn.protocol.messages import Definition


def labels_of(record: FunctionRecord, definition: Definition) -> dict[str, str]:
    """Return the labels of a definition's endpoints, by method; a Function's own is ""."""
    return _labels(record.app, record.environment_name, definition, deployed=record.deployed)


def find(t: HubState, label: str) -> tuple[FunctionRecord, str] | None:
    """Return the Function with a label, and its method; of several, the latest."""
    return next(
        (
            (record, method)
            for record in _reachable(t)
            for method, its in labels_of(record, record.definition).items()
            if its == label
        ),
        None,
    )


def deployed(t: HubState) -> bool:
    """Return whether a deployed Function has a web endpoint."""
    return any(record.deployed and _has_endpoint(record.definition) for record in _reachable(t))


def labels(t: HubState) -> list[str]:
    """Return the labels of all reachable endpoints, those of deployed Apps first."""
    found = [record for record in _reachable(t) if _has_endpoint(record.definition)]
    records = sorted(found, key=lambda record: not record.deployed)
    return [label for record in records for label in labels_of(record, record.definition).values()]


def collision(t: HubState, sender: str, message: m.Register) -> str:
    """Return why a definition cannot be registered: another Function has one of its labels.

    A process may take over its own labels: a notebook that creates its App again means the new one.
    """
    environment = message.environment_name or DEFAULT_ENVIRONMENT
    for label in wanted(message):
        found = find(t, label)
        if found is None:
            continue
        record, method = found
        named = (record.app, record.environment_name, record.name)
        if record.deployed and named == (message.app, environment, message.definition.name):
            continue
        if not record.deployed and record.owner == sender:
            continue
        theirs = f"{record.name}.{method}" if method else record.name
        return (
            f"The label {label!r} of {message.definition.name!r} (app {message.app!r}) is taken by {theirs!r} "
            f"of app {record.app!r}. Give one of the two another: label='...'."
        )
    return ""


def taken_over(t: HubState, sender: str, message: m.Register) -> list[FunctionRecord]:
    """Return the Functions of the same process whose labels a definition takes over."""
    theirs = set(wanted(message))
    return [
        record
        for record in _reachable(t)
        if record.definition.endpoint is not None
        and record.owner == sender
        and (record.app_id, record.name) != (message.app_id, message.definition.name)
        and theirs & set(labels_of(record, record.definition).values())
    ]


def wanted(message: m.Register) -> list[str]:
    """Return the labels of the definition in a message."""
    environment = message.environment_name or DEFAULT_ENVIRONMENT
    found = _labels(message.app, environment, message.definition, deployed=not message.app_id)
    return list(found.values())


def _reachable(t: HubState) -> Iterator[FunctionRecord]:
    for record in reversed(t.registry.functions.values()):
        app = t.registry.apps[record.app_id]
        if record.base or not record.live or app.stopped is not None:
            continue  # a variant has no endpoints of its own
        owner = t.clients.get(record.owner)
        if record.deployed or app.detached or (owner is not None and owner.connected):
            yield record


def _has_endpoint(definition: Definition) -> bool:
    return definition.endpoint is not None or any(m.endpoint for m in definition.methods)


def _labels(
    app: str, environment: str, definition: Definition, *, deployed: bool
) -> dict[str, str]:
    found = {"": definition.endpoint} if definition.endpoint is not None else {}
    found |= {m.name: m.endpoint for m in definition.methods if m.endpoint is not None}
    return {
        method: endpoint.label + ("" if deployed else "-dev")
        if endpoint.label
        else _default(app, environment, definition.name, method, deployed=deployed)
        for method, endpoint in found.items()
    }


def _default(app: str, environment: str, name: str, method: str, *, deployed: bool) -> str:
    parts = [environment if environment != DEFAULT_ENVIRONMENT else "", app, name, method]
    return to_ascii("-".join(part for part in parts if part)) + ("" if deployed else "-dev")
