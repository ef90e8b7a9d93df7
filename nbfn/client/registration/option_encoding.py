"""The ways to run a Function: what decorators and variants were told, in the words of the wire."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from nbfn.declarations.env_vars import Variables
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
from nbfn.serialization.payload import Carrier

#: Options that have the same name in a `Variant`.
_SAME = ("timeout", "retries", "resources", "concurrency", "batching", "secrets")


def variant_of(changes: Mapping[str, Any]) -> Variant:
    """Return the variant that options make, as `Options.changes` gives them."""
    said = ways_to_run(Options(**changes))
    pool = {n: changes[n] for n in PoolSettings.__struct_fields__ if n in changes}
    given = {name: said[name] for name in _SAME if name in changes}
    if pool:
        given["pool"] = PoolSettings(**pool)
    if "env" in changes:  # in one order: the same variables are the same variant
        given["env"] = dict(sorted(said["env"].items()))
    return Variant(**given)


def variant_digest(variant: Variant) -> str:
    """Return what identifies a variant of a Function: the same settings, the same digest."""
    return hashlib.sha256(msgspec.msgpack.encode(variant)).hexdigest()


def ways_to_run(options: Options) -> dict[str, Any]:
    """Return the fields of a `Definition` that say how it is run; the same for functions and classes."""
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
        "endpoint": None if options.endpoint is None else like(Endpoint, options.endpoint),
    }


def like(kind: Callable[..., Any], source: object | None) -> Any:
    """Return a part of a message with the values of a dataclass that has the same names."""
    if source is None:
        return kind()
    fields = msgspec.structs.fields(kind)  # type: ignore[arg-type]
    return kind(**{field.name: getattr(source, field.name) for field in fields})


def _secret(given: Variables) -> Secret:
    if given.withheld:
        raise InvalidError(
            f"{given!r} came here without its values, which do not travel. Make it here, or store it: "
            "Secret.objects.create(...)."
        )
    return Secret(given.name, given.environment_name, given.required_keys, dict(given.values))


def _image_variables(options: Options) -> Iterable[Secret]:
    """Return the variables of the image, which everything else wins over."""
    if options.image is not None and options.image.variables:
        yield Secret("", "", (), dict(options.image.variables))


def schedule_of(options: Options) -> Schedule | None:
    """Return when the hub calls it by itself."""
    if options.schedule is None:
        return None
    nothing = Payload(Carrier.nothing())
    if isinstance(options.schedule, Cron):
        return Schedule(nothing, options.schedule.cron_string, options.schedule.timezone)
    return Schedule(nothing, **dataclasses.asdict(options.schedule))
