"""Stores secrets, and sends workers the environment variables of their Function.

The hub sends secret values only to workers of a Function that names the secret.
"""

from __future__ import annotations

from operator import attrgetter

import msgspec

from nbfn.hub.scheduler.effects import SaveSecret
from nbfn.hub.scheduler.hub_state import HubState, threads_of
from nbfn.hub.scheduler.models import Pool, Worker
from nbfn.hub.scheduler.registry import DEFAULT_ENVIRONMENT, SecretRecord
from nbfn.protocol import messages as m
from nbfn.protocol.messages import Definition


def secret_put(t: HubState, sender: str, message: m.PutSecret) -> None:
    """Store a secret; replace one of that name only with ``overwrite``."""
    key = (message.environment_name or DEFAULT_ENVIRONMENT, message.name)
    if problem := t.registry.no_environment(message.environment_name):
        t.send(sender, m.Failed(message.request, "not_found", problem))
        return
    if key in t.secrets and not message.overwrite:
        text = f"There is a secret {message.name!r} already. Delete it, or overwrite it."
        t.send(sender, m.Failed(message.request, "already_exists", text))
        return
    t.secrets[key] = SecretRecord(message.name, key[0], dict(message.values), t.wall)
    for pool in t.short:  # they may have lacked this secret
        t.touch(pool)
    t.emit(SaveSecret(message.name, key[0], dict(message.values), t.wall))
    t.send(sender, m.Done(message.request), after_commit=True)


def secret_deleted(t: HubState, sender: str, message: m.DeleteSecret) -> None:
    """Delete a secret; running workers keep its values."""
    key = (message.environment_name or DEFAULT_ENVIRONMENT, message.name)
    if t.secrets.pop(key, None) is None:
        text = f"No secret {message.name!r} is stored{_where(key[0])}."
        t.send(sender, m.Failed(message.request, "not_found", text))
        return
    t.emit(SaveSecret(message.name, key[0], None))
    t.send(sender, m.Done(message.request), after_commit=True)


def secrets_requested(t: HubState, sender: str, message: m.ListSecrets) -> None:
    """List secrets, without their values."""
    wanted = message.environment_name or DEFAULT_ENVIRONMENT
    if problem := t.registry.no_environment(wanted):
        t.send(sender, m.Failed(message.request, "not_found", problem))
        return
    found = [
        m.SecretRow(record.name, environment, record.created, tuple(sorted(record.values)))
        for (environment, _), record in t.secrets.items()
        if environment == wanted
    ]
    t.send(sender, m.Secrets(message.request, tuple(found)))


def move(t: HubState, environment_name: str, new_name: str) -> None:
    """Move the secrets of a renamed environment, or delete those of a deleted one."""
    for key in [key for key in t.secrets if key[0] == environment_name]:
        record = t.secrets.pop(key)
        t.emit(SaveSecret(record.name, environment_name, None))
        if new_name:
            moved = SecretRecord(record.name, new_name, record.values, record.created)
            t.secrets[new_name, record.name] = moved
            t.emit(SaveSecret(record.name, new_name, dict(record.values), record.created))


def missing(t: HubState, environment_name: str, definition: Definition) -> str:
    """Return which secret of a definition is missing, or ""."""
    for secret in filter(attrgetter("name"), definition.secrets):
        environment = secret.environment_name or environment_name or DEFAULT_ENVIRONMENT
        record = t.secrets.get((environment, secret.name))
        needs = f"{definition.name!r} needs secret {secret.name!r}"
        if record is None:
            return (
                f"{needs}, which is not stored{_where(environment)}. "
                f"Create it: nbfn secret create {secret.name} NAME=-"
            )
        if lacking := [key for key in secret.required_keys if key not in record.values]:
            return f"{needs} with {', '.join(lacking)}, which it does not have."
    return ""


def bind(t: HubState, worker: Worker, pool: Pool) -> None:
    """Send a worker its definition and the current environment variables."""
    record, definition = pool.record, pool.definition
    variables: dict[str, str] = {}
    for secret in definition.secrets:
        environment = secret.environment_name or record.environment_name
        stored = t.secrets.get((environment, secret.name)) if secret.name else None
        variables |= stored.values if stored is not None else secret.values
    variables |= definition.env
    if worker.gpus:
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(worker.gpus)
    count, _ = threads_of(definition, pool.settings, t.limits)
    # The worker gets each variable once, resolved, without its source.
    shown = msgspec.structs.replace(definition, env={}, secrets=())
    t.send(worker.id, m.Bind(*pool.key, shown, variables, record.environment_name, count))


def _where(environment: str) -> str:
    return "" if environment == DEFAULT_ENVIRONMENT else f" in the {environment!r} environment"
