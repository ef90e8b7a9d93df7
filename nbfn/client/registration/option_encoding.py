"""Encodes the options of decorators and variants as messages of the protocol."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from nbfn.declarations.env_vars import EnvVars
from nbfn.declarations.options import Options
from nbfn.declarations.schedule import Cron
from nbfn.exception import InvalidError
from nbfn.protocol.messages import (
    Batching,
    Concurrency,
    Endpoint,
    Payload,
    PoolSettings,
    Resources,
    RetryPolicy,
    Schedule,
    Secret,
    Variant,
)
from nbfn.runtime import threads
from nbfn.serialization.payload import Serializer

#: Options that have the same name in a `Variant`.
_SAME = ("timeout", "retries", "resources", "concurrency", "batching", "secrets")


def variant_of(changes: Mapping[str, Any]) -> Variant:
    """Return the variant with these options, as `Options.changes` returns them."""
    encoded = encoded_options(Options(**changes))
    pool = {n: changes[n] for n in PoolSettings.__struct_fields__ if n in changes}
    given = {name: encoded[name] for name in _SAME if name in changes}
    if pool:
        given["pool"] = PoolSettings(**pool)
    if "env" in changes:  # sorted, so that the same variables make the same variant
        given["env"] = dict(sorted(encoded["env"].items()))
    return Variant(**given)


def variant_digest(variant: Variant) -> str:
    """Return the digest of a variant; the same settings have the same digest."""
    return hashlib.sha256(msgspec.msgpack.encode(variant)).hexdigest()


def encoded_options(options: Options) -> dict[str, Any]:
    """Return the fields of a `Definition` that functions and classes share."""
    return {
        "timeout": options.timeout,
        "retries": like(RetryPolicy, options.retries),
        "pool": like(PoolSettings, options),
        "resources": like(Resources, options.resources),
        "concurrency": like(Concurrency, options.concurrency),
        "batching": like(Batching, options.batching),
        "env": threads.chosen() | dict(options.env),
        "secrets": (
            *_image_variables(options),
            *(_secret(variables) for variables in options.secrets),
        ),
        "single_use": options.single_use,
        "at_most_once": options.at_most_once,
        "startup_timeout": options.startup_timeout,
        "callback_url": options.callback_url,
        "endpoint": None if options.endpoint is None else like(Endpoint, options.endpoint),
    }


def like(kind: Callable[..., Any], source: object | None) -> Any:
    """Return a struct with the values of a dataclass that has the same field names; with defaults for None."""
    if source is None:
        return kind()
    fields = msgspec.structs.fields(kind)  # type: ignore[arg-type]
    return kind(**{field.name: getattr(source, field.name) for field in fields})


def _secret(given: EnvVars) -> Secret:
    if given.withheld:
        raise InvalidError(
            f"{given!r} was unpickled without its values; secret values are never pickled. Make it here, or store it: "
            "Secret.objects.create(...)."
        )
    return Secret(given.name, given.environment_name, given.required_keys, dict(given.values))


def _image_variables(options: Options) -> Iterable[Secret]:
    """Return the variables of the image, which all other variables override."""
    if options.image is not None and options.image.variables:
        yield Secret("", "", (), dict(options.image.variables))


def schedule_of(options: Options) -> Schedule | None:
    """Return the schedule of a Function; None if it has none."""
    if options.schedule is None:
        return None
    nothing = Payload(Serializer.nothing())
    if isinstance(options.schedule, Cron):
        return Schedule(nothing, options.schedule.cron_string, options.schedule.timezone)
    return Schedule(nothing, **dataclasses.asdict(options.schedule))
