"""Reads and checks the options of a Function.

Modal's current and older names are accepted. An option that has an effect only in Modal's cloud causes one warning.
"""

from __future__ import annotations

import difflib
import functools
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath, PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple

from nbfn._names import check_name
from nbfn.declarations import pool_settings
from nbfn.declarations.callback_url import check_callback_url
from nbfn.declarations.env_vars import EnvVars, check_variables
from nbfn.declarations.image import Image
from nbfn.declarations.retries import LARGEST_COUNT, Retries, check_at_most, is_int, is_number
from nbfn.declarations.schedule import Cron, Period
from nbfn.declarations.unsupported import CloudBucketMount, Mount, NetworkFileSystem, Proxy, Volume
from nbfn.exception import InvalidError
from nbfn.runtime.byte_size import MIB

#: The default and the longest timeout in seconds.
DEFAULT_TIMEOUT, LONGEST_TIMEOUT = 300.0, 86400.0

#: The current names of options, by their older names.
_RENAMED = {
    "keep_warm": "min_containers",
    "concurrency_limit": "max_containers",
    "_experimental_buffer_containers": "buffer_containers",
    "container_idle_timeout": "scaledown_window",
}

_HERE = "workers run in this notebook's own Python environment"
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
    "cpu",
    "memory",
    "gpu",
    "env",
    "secrets",
    "schedule",
    "startup_timeout",
    "single_use_containers",
    "max_inputs",
    "at_most_once",
    "allow_concurrent_inputs",
    "image",
    "callback_url",
)

_warned: set[str] = set()


@dataclass(frozen=True, slots=True)
class Concurrency:
    """The number of inputs that one worker runs at once: the maximum, and the target for scaling the pool."""

    max_inputs: int
    target_inputs: int | None = None


@dataclass(frozen=True, slots=True)
class Batching:
    """The most inputs that run as one batch, and the seconds that a batch waits for more inputs."""

    max_batch_size: int
    wait: float


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The options of a web endpoint; ``kind`` is fastapi, asgi, wsgi or server, ``startup_timeout`` in seconds."""

    kind: str
    method: str = "GET"
    label: str = ""
    docs: bool = False
    requires_proxy_auth: bool = False
    port: int = 0
    startup_timeout: float = 5.0


#: The most cores, and the most MiB, that a worker can request.
MOST_CORES, MOST_MEBIBYTES = 100_000, 1024**3


@dataclass(frozen=True, slots=True)
class Resources:
    """The requested resources of a worker and their limits; None for no request.

    Attributes:
        cpu, cpu_limit: Processors in cores.
        memory, memory_limit: Memory in bytes.
        gpu: The type of GPU; "any" for any type, several types separated by "|".
        gpus: The number of GPUs.
    """

    cpu: float | None = None
    cpu_limit: float | None = None
    memory: int | None = None
    memory_limit: int | None = None
    gpu: str | None = None
    gpus: int | None = None

    @classmethod
    def read(cls, cpu: Any = None, memory: Any = None, gpu: Any = None) -> Resources:
        """Check the options ``cpu``, ``memory`` and ``gpu``.

        Args:
            cpu: A number of cores, or (request, limit).
            memory: A number of MiB, or (request, limit).
            gpu: A type such as ``"A100"``, ``"H100:2"`` or ``"any"``, or a list of types in order of preference.

        Raises:
            InvalidError: If an option is not valid.
        """
        cores, cores_limit = _pair("cpu", cpu, is_number, "cores", MOST_CORES)
        mebibytes, limit = _pair("memory", memory, is_int, "MiB", MOST_MEBIBYTES)
        kind, count = _gpu(gpu)
        return cls(
            None if cores is None else float(cores),
            None if cores_limit is None else float(cores_limit),
            None if mebibytes is None else int(mebibytes) * MIB,
            None if limit is None else int(limit) * MIB,
            kind,
            count,
        )

    def unenforced(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each option that nbfn does not fully enforce, with a sentence for a warning."""
        if self.cpu_limit is not None:
            yield (
                "cpu",
                "The limit of 'cpu' is not enforced by nbfn; the request is what is set aside.",
            )
        if self.gpu not in {None, "any"}:
            yield (
                "gpu",
                f"nbfn counts GPUs and does not look at their kind: {self.gpu!r} is any GPU.",
            )


def _pair(name: str, value: Any, fits: Any, unit: str, most: int) -> tuple[Any, Any]:
    """Return the request and the limit. As in Modal, a single number is a request without a limit."""
    if value is None:
        return None, None
    has_limit = isinstance(value, tuple | list)
    pair = value if has_limit else (value, value)
    if len(pair) != 2 or not all(fits(part) and part > 0 for part in pair):
        whole = "whole " if fits is is_int else ""
        raise InvalidError(
            f"{name} is {value!r}; it must be a {whole}number of {unit}, or (request, limit) of such."
        )
    request, limit = pair
    if limit < request:
        raise InvalidError(f"{name} is {value!r}; its limit is below its request.")
    check_at_most(name, limit, most)
    return request, (limit if has_limit else None)


def _gpu(value: Any) -> tuple[str | None, int | None]:
    if value is None:
        return None, None
    choices = value if isinstance(value, list | tuple) else [value]
    if not choices:
        raise InvalidError("gpu is an empty list; name a kind, such as 'A100' or 'any'.")
    kinds, counts = zip(*(_gpu_choice(choice, value) for choice in choices), strict=True)
    return "|".join(kinds), counts[0]


def _gpu_choice(choice: Any, value: Any) -> tuple[str, int]:
    """Return the kind and the number of GPUs of one choice; ``value`` is the whole option."""
    found = isinstance(choice, str) and re.fullmatch(r"([A-Za-z][\w.+-]*)(?::(\d+))?", choice)
    if not found or found[2] == "0":
        raise InvalidError(f"gpu is {value!r}; it must be like 'any:2', 'A100' or 'H100:2'.")
    count = int(found[2] or 1)
    check_at_most("The number of GPUs", count, LARGEST_COUNT)
    return found[1], count


@dataclass(frozen=True, slots=True)
class Options:
    """The checked options of `App.function` or `App.cls`; times are in seconds."""

    name: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    retries: Retries | None = None
    min_containers: int | None = None
    max_containers: int | None = None
    buffer_containers: int | None = None
    scaledown_window: float | None = None
    serialized: bool = False
    is_generator: bool | None = None
    resources: Resources = field(default_factory=Resources)
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    secrets: tuple[EnvVars, ...] = ()
    image: Image | None = None
    schedule: Cron | Period | None = None
    startup_timeout: float | None = None
    single_use: bool = False
    at_most_once: bool = False
    concurrency: Concurrency | None = None
    batching: Batching | None = None
    endpoint: Endpoint | None = None
    #: Whether it runs the session of a notebook, which has a user's variables; no decorator sets it.
    session: bool = False
    callback_url: str = ""

    def check_together(self) -> None:
        """Check that the options do not contradict each other.

        Raises:
            InvalidError: If two options exclude each other.
        """
        at_once = self.concurrency.max_inputs if self.concurrency is not None else 1
        if self.at_most_once and self.retries is not None and self.retries.max_retries:
            raise InvalidError(
                "at_most_once and retries exclude each other: an input that began does not run again."
            )
        if self.single_use and at_once > 1:
            raise InvalidError(
                f"A worker for single use runs one input, so it cannot have max_inputs={at_once} at once."
            )

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Options:
        """Check options by name.

        Args:
            given: The names and values; None means that the option is not given if None is its default.

        Raises:
            InvalidError: If a name is unknown or a value is not valid; the message suggests a similar name.
        """
        return cls(**cls.changes(given))

    @classmethod
    def changes(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Check options by name.

        Args:
            given: The names and values, as for `read`.

        Returns:
            The options that were given, as fields of this class.

        Raises:
            InvalidError: If a name is unknown or a value is not valid.
        """
        values = _current_names(given)
        needs = {name: values.pop(name) for name in ("cpu", "memory", "gpu") if name in values}
        values = {name: _CHECKS[name](name, value) for name, value in values.items()}
        if needs:
            values["resources"] = _read_resources(needs)
        for name in {"single_use_containers", "max_inputs"} & values.keys():
            values["single_use"] = values.pop(name) or values.get("single_use", False)
        if (count := values.pop("allow_concurrent_inputs", None)) is not None:
            values["concurrency"] = Concurrency(count)
        pool_settings.check_pool_bounds(values.get("min_containers"), values.get("max_containers"))
        return values


def _read_resources(needs: Mapping[Any, Any]) -> Resources:
    resources = Resources.read(**needs)
    for name, sentence in resources.unenforced():
        _say_once(name, sentence)
    return resources


def _current_names(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that nbfn supports by their current names; warn about options of Modal's cloud."""
    values: dict[str, Any] = {}
    for name, value in given.items():
        ours = _RENAMED.get(name, name)
        if ours == name and (option := find(name)) is not None:
            _warn_once(name, value, option)
        elif ours not in _OWN:
            raise InvalidError(_unknown(name))
        elif value is not None or ours == "timeout":
            values[ours] = value
    return values


def _timeout(name: str, value: Any) -> float:
    if not is_number(value) or not 0 < value <= LONGEST_TIMEOUT:
        raise InvalidError(
            f"{name} is {value!r}; it must be a number of seconds above 0 and up to {LONGEST_TIMEOUT:.0f} (a day)."
        )
    return float(value)


def check_flag(name: str, value: Any) -> bool:
    """Check that the value of an option is True or False, and return it.

    Args:
        name: The name of the option, for the error message.
        value: The value.

    Raises:
        InvalidError: If it is neither.
    """
    if not isinstance(value, bool):
        raise InvalidError(f"{name} is {value!r}; it must be True or False.")
    return value


def _single(name: str, value: Any) -> bool:
    if value != 1 or isinstance(value, bool):
        raise InvalidError(
            f"{name} is {value!r}; only 1 is possible: a fresh worker for each input."
        )
    return True


def _secrets(name: str, value: Any) -> tuple[EnvVars, ...]:
    if isinstance(value, EnvVars):
        raise InvalidError(f"{name} is a single Secret; it must be a list: {name}=[{value!r}].")
    if not isinstance(value, list | tuple):
        raise InvalidError(f"{name} is {_shown(value)}; it must be a list of nbfn.Secret.")
    if wrong := [item for item in value if not isinstance(item, EnvVars)]:
        raise InvalidError(f"{name} has {_shown(wrong[0])}; it must be a list of nbfn.Secret.")
    return tuple(value)


def _shown(value: Any) -> str:
    """Return the type of a value for a message; the value itself may be secret."""
    return f"an object of type {type(value).__name__}"


def _image(name: str, value: Any) -> Image:
    if not isinstance(value, Image):
        raise InvalidError(f"{name} is {value!r}; it must be nbfn.Image.debian_slim() or the like.")
    if value.unmet:
        _say_once(
            str(value.unmet),
            f"Of option {name!r} this has no effect in nbfn: {'; '.join(value.unmet)}. "
            f"Instead, {_HERE}, as it is.",
        )
    return value


def _schedule(name: str, value: Any) -> Cron | Period:
    if not isinstance(value, Cron | Period):
        raise InvalidError(f"{name} is {value!r}; it must be nbfn.Cron(...) or nbfn.Period(...).")
    return value


_CHECKS: dict[str, Any] = {
    "name": check_name,
    "timeout": _timeout,
    "retries": Retries.read,
    **dict.fromkeys(pool_settings.NAMES, pool_settings.check_pool_setting),
    "serialized": check_flag,
    "is_generator": check_flag,
    "env": check_variables,
    "secrets": _secrets,
    "schedule": _schedule,
    "startup_timeout": _timeout,
    "single_use_containers": check_flag,
    "max_inputs": _single,
    "at_most_once": check_flag,
    "allow_concurrent_inputs": functools.partial(pool_settings.check_count, least=1),
    "image": _image,
    "callback_url": check_callback_url,
}


def _unknown(name: str) -> str:
    known = [*_OWN, *_RENAMED, *NAMES]
    near = difflib.get_close_matches(name, known, 1)
    hint = f" Did you mean {near[0]!r}?" if near else f" Options are: {', '.join(_OWN)}."
    return f"Unknown option {name!r} of a Function.{hint}"


def _warn_once(name: str, value: Any, option: CloudOption) -> None:
    """Check an option of Modal's cloud, and warn that it has no effect."""
    if value is not None:
        option.check(name, value)
    if not asks_for_nothing(value):
        _say_once(name, f"Option {name!r} has no effect in nbfn: {option.instead}.")


def _say_once(name: str, sentence: str) -> None:
    """Issue a warning once for each name, at the line of the user's program."""
    if name in _warned:
        return
    _warned.add(name)
    level, frame = 1, sys._getframe()
    while (before := frame.f_back) and frame.f_globals.get("__name__", "").startswith("nbfn."):
        level, frame = level + 1, before
    warnings.warn(sentence, UserWarning, stacklevel=level)


# --- options that are not supported --------------------------------------------------------------

#: A function that raises InvalidError if a value is not valid for the option with this name.
Check = Callable[[str, Any], None]

#: Directories of a worker at which nothing can be mounted.
_TAKEN = frozenset({"/", "/root", "/tmp"})  # noqa: S108 - a name only


class CloudOption(NamedTuple):
    """An option that has an effect only in Modal's cloud.

    Attributes:
        instead: A phrase that describes how nbfn behaves instead.
        check: Raises InvalidError if a value is not valid.
    """

    instead: str
    check: Check


def _one_of(kinds: tuple[type, ...], described: str) -> Check:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, kinds):
            raise InvalidError(f"{name} is {value!r}; it must be {described}.")

    return check


def _word_or_words(name: str, value: Any) -> None:
    words = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(word, str) for word in words):
        raise InvalidError(f"{name} is {value!r}; it must be a string or a list of strings.")


def _mebibytes(name: str, value: Any) -> None:
    if not is_int(value) or value <= 0:
        raise InvalidError(f"{name} is {value!r}; it must be a whole number of MiB.")


def _mounts(name: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or not all(isinstance(one, Mount) for one in value):
        raise InvalidError(f"{name} is {value!r}; it must be a list of nbfn.Mount.")


def _directories(*kinds: type) -> Check:
    """Return the check for a dict from directories of a worker to the objects that are mounted there."""
    named = " or ".join(f"nbfn.{kind.__name__}" for kind in kinds)

    def check(name: str, value: Any) -> None:
        if not isinstance(value, Mapping) or not all(
            isinstance(path, str | PurePath) and isinstance(what, kinds)
            for path, what in value.items()
        ):
            raise InvalidError(f"{name} is {value!r}; it must be a dict from paths to {named}.")
        for path in value:
            _check_directory(name, str(path))
        if len({id(what) for what in value.values()}) < len(value):
            raise InvalidError(
                f"{name} has the same {kinds[0].__name__} at two paths; give each path its own."
            )

    return check


def _check_directory(name: str, path: str) -> None:
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts:
        raise InvalidError(f"{name} has the path {path!r}; it must be absolute, such as '/data'.")
    if str(pure) in _TAKEN:
        raise InvalidError(
            f"{name} has the path {path!r}, which is taken; use one such as '/data'."
        )


_flag = _one_of((bool,), "True or False")
_text = _one_of((str,), "a string")
_FILES = "workers see this machine's files"
_NETWORK = "workers use this machine's network"
_MACHINE = "workers run on this machine"
_FORKED = "workers are forked from a warm process anyway"
_NO_MEANING = "it has no meaning here"

_OPTIONS: dict[str, CloudOption] = {
    "include_source": CloudOption(_HERE, _flag),
    "mounts": CloudOption(_HERE, _mounts),
    "ephemeral_disk": CloudOption(_FILES, _mebibytes),
    "volumes": CloudOption(_FILES, _directories(Volume, CloudBucketMount)),
    "network_file_systems": CloudOption(_FILES, _directories(NetworkFileSystem, CloudBucketMount)),
    "proxy": CloudOption(_NETWORK, _one_of((Proxy,), "nbfn.Proxy.from_name(...)")),
    "block_network": CloudOption(_NETWORK, _flag),
    "i6pn": CloudOption(_NETWORK, _flag),
    "cloud": CloudOption(_MACHINE, _text),
    "region": CloudOption(_MACHINE, _word_or_words),
    "routing_region": CloudOption(_MACHINE, _text),
    "nonpreemptible": CloudOption("workers are never preempted here", _flag),
    "enable_memory_snapshot": CloudOption(_FORKED, _flag),
    "restrict_modal_access": CloudOption("workers may call other Functions", _flag),
    "experimental_options": CloudOption(_NO_MEANING, _one_of((Mapping,), "a dict")),
    "checkpointing_enabled": CloudOption(_FORKED, _flag),
    "interactive": CloudOption("workers have no terminal", _flag),
}
#: The names of these options, without those that begin with ``_experimental_``.
NAMES = tuple(_OPTIONS)


def find(name: str) -> CloudOption | None:
    """Return the option of Modal's cloud with a name; None if there is none."""
    if name.startswith("_experimental_"):
        return CloudOption(_NO_MEANING, lambda name, value: None)
    return _OPTIONS.get(name)


def asks_for_nothing(value: Any) -> bool:
    """Return whether a value is a default of Modal, so that no warning is necessary."""
    return value is None or value is False or value in ([], {}, ())
