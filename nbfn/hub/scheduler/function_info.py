"""Builds the `FunctionInfo` that clients receive."""

from __future__ import annotations

import msgspec

from nbfn.hub.scheduler import admission, pool_scaling, web_endpoints
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.registry import FunctionRecord
from nbfn.protocol import messages as m

_replace = msgspec.structs.replace


def of(t: HubState, record: FunctionRecord, version: int, *, created: bool) -> m.FunctionInfo:
    """Return the info of a version of a Function."""
    definition = record.versions[version]
    labels = web_endpoints.labels_of(record, definition)
    return m.FunctionInfo(
        id=record.id,
        app_id=record.app_id,
        app=record.app,
        name=record.name,
        version=version,
        deployed=record.deployed,
        is_generator=definition.is_generator,
        is_async=definition.is_async,
        signature=definition.signature,
        doc=definition.doc,
        environment=definition.environment,
        timeout=definition.timeout,
        pool=definition.pool,
        created=created,
        kind=definition.kind,
        methods=tuple(
            _replace(method, endpoint=_labelled(method.endpoint, labels.get(method.name, "")))
            for method in definition.methods
        ),
        parameters=definition.parameters,
        endpoint=_labelled(definition.endpoint, labels.get("", "")),
        batching=definition.batching,
        environment_name=record.environment_name,
        takes_arguments=definition.takes_arguments,
        owner=definition.owner,
        made=definition.made,
        warm=pool_scaling.settings_of(t, record, version).min_containers,
        impossible=admission.impossible(t, record.name, definition.resources),
    )


def _labelled(endpoint: m.Endpoint | None, label: str) -> m.Endpoint | None:
    return None if endpoint is None else _replace(endpoint, label=label)
