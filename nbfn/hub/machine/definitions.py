"""What the state machine reads of the definition of a Function; to it the rest is opaque, as user bytes are."""

# ruff: noqa: D102 - the properties say by their names what they are

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class RetryLike(Protocol):
    """The retry policy of a definition."""

    @property
    def max_retries(self) -> int: ...
    @property
    def backoff_coefficient(self) -> float: ...
    @property
    def initial_delay(self) -> float: ...
    @property
    def max_delay(self) -> float: ...


class PoolLike(Protocol):
    """The pool settings of a definition, each possibly unset."""

    @property
    def min_containers(self) -> int | None: ...
    @property
    def max_containers(self) -> int | None: ...
    @property
    def buffer_containers(self) -> int | None: ...
    @property
    def scaledown_window(self) -> float | None: ...


class EnvironmentLike(Protocol):
    """The environment of a definition."""

    @property
    def executable(self) -> str: ...


class EndpointLike(Protocol):
    """How a Function or method answers HTTP."""

    @property
    def label(self) -> str: ...


class ConcurrencyLike(Protocol):
    """How many inputs a worker runs at once."""

    @property
    def max_inputs(self) -> int | None: ...
    @property
    def target_inputs(self) -> int | None: ...


class BatchingLike(Protocol):
    """How inputs are gathered."""

    @property
    def max_batch_size(self) -> int | None: ...
    @property
    def wait(self) -> float | None: ...


class ResourcesLike(Protocol):
    """What a worker needs."""

    @property
    def cpu(self) -> float | None: ...
    @property
    def cpu_limit(self) -> float | None: ...
    @property
    def memory(self) -> int | None: ...
    @property
    def memory_limit(self) -> int | None: ...
    @property
    def gpus(self) -> int | None: ...


class MethodLike(Protocol):
    """One method of a class."""

    @property
    def name(self) -> str: ...
    @property
    def is_async(self) -> bool: ...
    @property
    def endpoint(self) -> EndpointLike | None: ...
    @property
    def batching(self) -> BatchingLike: ...


class SecretLike(Protocol):
    """Environment variables of a definition: at hand, or stored under a name."""

    @property
    def name(self) -> str: ...
    @property
    def environment_name(self) -> str: ...
    @property
    def required_keys(self) -> tuple[str, ...]: ...
    @property
    def values(self) -> Mapping[str, str]: ...


class ScheduleLike(Protocol):
    """When a definition is to be called by itself: a crontab line, or a period."""

    @property
    def payload(self) -> Payload: ...
    @property
    def cron(self) -> str: ...
    @property
    def timezone(self) -> str: ...
    @property
    def years(self) -> int: ...
    @property
    def months(self) -> int: ...
    @property
    def weeks(self) -> int: ...
    @property
    def days(self) -> int: ...
    @property
    def hours(self) -> int: ...
    @property
    def minutes(self) -> int: ...
    @property
    def seconds(self) -> float: ...


class DefinitionLike(Protocol):
    """What the state machine reads of a definition; the rest of it is opaque."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def module(self) -> str: ...
    @property
    def is_generator(self) -> bool: ...
    @property
    def is_async(self) -> bool: ...
    @property
    def timeout(self) -> float: ...
    @property
    def retries(self) -> RetryLike: ...
    @property
    def pool(self) -> PoolLike: ...
    @property
    def environment(self) -> EnvironmentLike: ...
    @property
    def env(self) -> Mapping[str, str]: ...
    @property
    def secrets(self) -> Sequence[SecretLike]: ...
    @property
    def schedule(self) -> ScheduleLike | None: ...
    @property
    def kind(self) -> str: ...
    @property
    def methods(self) -> Sequence[MethodLike]: ...
    @property
    def arguments(self) -> Payload | None: ...
    @property
    def takes_arguments(self) -> bool: ...
    @property
    def exit_hooks(self) -> bool: ...
    @property
    def endpoint(self) -> EndpointLike | None: ...
    @property
    def resources(self) -> ResourcesLike: ...
    @property
    def concurrency(self) -> ConcurrencyLike: ...
    @property
    def batching(self) -> BatchingLike: ...
    @property
    def single_use(self) -> bool: ...
    @property
    def at_most_once(self) -> bool: ...
    @property
    def startup_timeout(self) -> float | None: ...


#: A failure that the hub itself tells: code, sentence, attributes of the error.
Fault = tuple[str, str, dict[str, Any]]

#: What a variant changes about a definition; `nbfn.variant` lays it over one.
VariantLike = Any

#: User bytes; never looked into.
Payload = Any


class Stored:
    """Stands for the payload of a durable input that is on the disk, not in memory."""

    __slots__ = ("weight",)

    def __init__(self, weight: int) -> None:
        self.weight = weight


def weight(payload: Payload) -> int:
    """Return what a payload counts for in limits, in bytes."""
    found: int = getattr(payload, "weight", 0)
    return found


_data, _segments = operator.attrgetter("data"), operator.attrgetter("segments")


def weights(payloads: Sequence[Payload]) -> list[int]:
    """Return the weight of each payload. Where none has segments, no Python code runs for each."""
    try:
        if not any(map(_segments, payloads)):
            return list(map(len, map(_data, payloads)))
    except AttributeError:
        pass  # some are None, or `Stored`
    return list(map(weight, payloads))
