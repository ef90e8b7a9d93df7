"""The options of a Function: read, checked and made plain. No I/O.

Modal's names of both generations are understood, without a word; names that only mean something in
Modal's cloud are accepted and said, once, to have no effect here.
"""

from __future__ import annotations

import difflib
import numbers
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nbfn.exception import InvalidError

#: What a Function's or App's name may be.
NAME_PATTERN = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: Seconds a body may run when nothing is said, and at most (one day).
DEFAULT_TIMEOUT, LONGEST_TIMEOUT = 300.0, 86400.0
#: Seconds an idle worker may be kept at most.
LONGEST_WINDOW = 1200.0

#: Older names to today's.
_RENAMED = {
    "keep_warm": "min_containers",
    "concurrency_limit": "max_containers",
    "_experimental_buffer_containers": "buffer_containers",
    "container_idle_timeout": "scaledown_window",
}

_HERE = "workers run in this notebook's own Python environment"
_NO_LIMIT = "workers share this machine without limits of their own"
#: Options of Modal's cloud, and what happens instead.
_CLOUD_ONLY = {
    "image": _HERE,
    "include_source": _HERE,
    "mounts": _HERE,
    "env": "workers inherit the hub's environment variables",
    "secrets": "workers inherit the hub's environment variables",
    "cpu": _NO_LIMIT,
    "memory": _NO_LIMIT,
    "ephemeral_disk": _NO_LIMIT,
    "gpu": "workers see the GPUs of this machine",
    "volumes": "workers see this machine's files",
    "network_file_systems": "workers see this machine's files",
    "schedule": "call the function yourself; schedules are not run yet",
    "proxy": "workers use this machine's network",
    "block_network": "workers use this machine's network",
    "i6pn": "workers use this machine's network",
    "cloud": "workers run on this machine",
    "region": "workers run on this machine",
    "routing_region": "workers run on this machine",
    "nonpreemptible": "workers are never preempted here",
    "enable_memory_snapshot": "workers are forked from a warm process anyway",
    "restrict_modal_access": "workers may call other Functions",
    "startup_timeout": "a worker has as long as it needs to start",
    "allow_concurrent_inputs": "a worker runs one input at a time",
    "max_inputs": "a worker is used again",
    "single_use_containers": "a worker is used again",
    "experimental_options": "it has no meaning here",
}
_OWN = (
    "name",
    "timeout",
    "retries",
    "min_containers",
    "max_containers",
    "buffer_containers",
    "scaledown_window",
    "serialized",
    "is_generator",
)

_warned: set[str] = set()


@dataclass(frozen=True, slots=True, init=False)
class Retries:
    """How often and after what delays a failed input runs again.

    The n-th delay is ``initial_delay * backoff_coefficient ** (n - 1)`` seconds, at most ``max_delay``.

    Args:
        max_retries: Times a failed input runs again; 2 means up to three attempts.
        backoff_coefficient: Factor from one delay to the next, 1 to 10.
        initial_delay: Seconds before the first retry, 0 to 60.
        max_delay: Most seconds before a retry, 1 to 60.

    Raises:
        InvalidError: If a number is out of its bounds.

    Examples:
        >>> Retries(max_retries=3, initial_delay=0.5).max_retries
        3
    """

    __module__ = "nbfn"

    max_retries: int
    backoff_coefficient: float
    initial_delay: float
    max_delay: float

    def __init__(
        self,
        *,
        max_retries: int,
        backoff_coefficient: float = 2.0,
        initial_delay: float = 1.0,
        max_delay: float = 60.0,
    ) -> None:
        if not _is_int(max_retries) or max_retries < 0:
            raise InvalidError(
                f"max_retries is {max_retries!r}; it must be a whole number, 0 or more."
            )
        for name, value, low, high in (
            ("backoff_coefficient", backoff_coefficient, 1, 10),
            ("initial_delay", initial_delay, 0, 60),
            ("max_delay", max_delay, 1, 60),
        ):
            if not _is_number(value) or not low <= value <= high:
                raise InvalidError(f"{name} is {value!r}; it must be between {low} and {high}.")
        object.__setattr__(self, "max_retries", int(max_retries))
        object.__setattr__(self, "backoff_coefficient", float(backoff_coefficient))
        object.__setattr__(self, "initial_delay", float(initial_delay))
        object.__setattr__(self, "max_delay", float(max_delay))


@dataclass(frozen=True, slots=True)
class Options:
    """What `App.function` was told, checked."""

    name: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    retries: Retries | None = None
    min_containers: int | None = None
    max_containers: int | None = None
    buffer_containers: int | None = None
    scaledown_window: float | None = None
    serialized: bool = False
    is_generator: bool | None = None

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Options:
        """Check options given by name.

        Args:
            given: Names and values, None standing for "not given" where None is the default.

        Raises:
            InvalidError: If a name is unknown (the nearest known one is named) or a value does not fit.
        """
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name in _CLOUD_ONLY:
                _warn_once(name, value)
            elif (ours := _RENAMED.get(name, name)) not in _OWN:
                raise InvalidError(_unknown(name))
            elif value is not None or ours == "timeout":
                values[ours] = value
        values = {name: _CHECKS[name](name, value) for name, value in values.items()}
        options = cls(**values)
        check_pool(options.min_containers, options.max_containers)
        return options


def check_name(what: str, value: Any) -> str:
    """Return a name that may be registered.

    Raises:
        InvalidError: If it is not a string or has other characters.
    """
    if not isinstance(value, str):
        raise InvalidError(f"{what} is {value!r}; it must be a string.")
    if not NAME_PATTERN.fullmatch(value):
        raise InvalidError(
            f"{what} {value!r} is not a name: use letters, digits, '-', '_' and '.', at most 64 of them."
        )
    return value


def check_pool(least: int | None, most: int | None) -> None:
    """Check that a pool's bounds fit together.

    Raises:
        InvalidError: If the least is above the most.
    """
    if least is not None and most is not None and least > most:
        raise InvalidError(f"min_containers ({least}) is above max_containers ({most}).")


def check_setting(name: str, value: Any) -> Any:
    """Return the value of one pool setting, checked.

    Raises:
        InvalidError: If it does not fit.
    """
    return _CHECKS[name](name, value)


def _is_int(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _count(least: int) -> Any:
    def check(name: str, value: Any) -> int:
        if not _is_int(value) or value < least:
            raise InvalidError(f"{name} is {value!r}; it must be a whole number, {least} or more.")
        return int(value)

    return check


def _timeout(name: str, value: Any) -> float:
    if not _is_number(value) or not 0 < value <= LONGEST_TIMEOUT:
        raise InvalidError(
            f"{name} is {value!r}; it must be a number of seconds up to {LONGEST_TIMEOUT:.0f} (a day)."
        )
    return float(value)


def _window(name: str, value: Any) -> float:
    if not _is_number(value) or not 0 < value <= LONGEST_WINDOW:
        raise InvalidError(
            f"{name} is {value!r}; it must be > 0 and at most {LONGEST_WINDOW:.0f} seconds."
        )
    return float(value)


def _retries(name: str, value: Any) -> Retries:
    if isinstance(value, Retries):
        return value
    if not isinstance(value, int) or value < 0:
        raise InvalidError(
            f"{name} is {value!r}; it must be a whole number, 0 or more, or nbfn.Retries(...)."
        )
    return Retries(max_retries=int(value), backoff_coefficient=1.0, initial_delay=1.0)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidError(f"{name} is {value!r}; it must be True or False.")
    return value


_CHECKS: dict[str, Any] = {
    "name": check_name,
    "timeout": _timeout,
    "retries": _retries,
    "min_containers": _count(0),
    "max_containers": _count(1),
    "buffer_containers": _count(0),
    "scaledown_window": _window,
    "serialized": _flag,
    "is_generator": _flag,
}


def _unknown(name: str) -> str:
    known = [*_OWN, *_RENAMED, *_CLOUD_ONLY]
    near = difflib.get_close_matches(name, known, 1)
    hint = f" Did you mean {near[0]!r}?" if near else f" Options are: {', '.join(_OWN)}."
    return f"Unknown option {name!r} of a Function.{hint}"


def _warn_once(name: str, value: Any) -> None:
    # Modal's own defaults ask for nothing, so there is nothing to say.
    if (
        value is None
        or value is False
        or value == []
        or value == {}
        or value == ()
        or name in _warned
    ):
        return
    _warned.add(name)
    warnings.warn(
        f"Option {name!r} has no effect in nbfn: {_CLOUD_ONLY[name]}.", UserWarning, stacklevel=4
    )
