"""Checks options that have an effect only in Modal's cloud, and describes how nbfn behaves instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePath, PurePosixPath
from typing import Any, NamedTuple

from nbfn.declarations.retries import is_int
from nbfn.declarations.unsupported import CloudBucketMount, Mount, NetworkFileSystem, Proxy, Volume
from nbfn.exception import InvalidError

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
