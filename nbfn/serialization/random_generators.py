"""Warns about captured random generators: each worker gets the same copy and draws the same numbers."""

from __future__ import annotations

import itertools
import random
import sys
import types
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nbfn.runtime.traceback_filter import users_level

#: The types of generators, as module and name. Only imported modules can have created one.
_KINDS = (
    ("random", "Random"),
    ("numpy.random", "Generator"),
    ("numpy.random", "RandomState"),
    ("numpy.random", "BitGenerator"),
    ("torch", "Generator"),
)
#: The advice that is part of the warning.
INSTEAD = (
    "Make one in the function, from a seed that is an argument: numpy.random.default_rng(seed), with "
    "numpy.random.SeedSequence(1).spawn(n) as the seeds of n inputs."
)
#: The most parts of one object that are examined.
WIDEST = 64
_PLAIN = (str, bytes, bytearray, int, float, complex, bool, type(None), types.ModuleType)


def find_generator(name: str, value: Any) -> str:
    """Return the path to a random generator in a value; "" if there is none.

    Only the value itself and its attributes or items are examined.

    Args:
        name: The name of the value, with which the path begins.
        value: The value.

    Examples:
        >>> find_generator("draw", random.Random(1).gauss)
        'draw.__self__'
    """
    kinds = _kinds()
    if _is_generator(value, kinds):
        return name
    return next((name + step for step, part in _parts(value) if _is_generator(part, kinds)), "")


def warn(found: Iterable[tuple[str, Any]], sentence: str) -> bool:
    """Warn if workers get a copy of a random generator.

    Args:
        found: The names and values that workers get.
        sentence: The text of the warning, with ``{}`` for the path to the generator.

    Returns:
        Whether a generator was found.
    """
    for name, value in found:
        if where := find_generator(name, value):
            warnings.warn(f"{sentence.format(where)} {INSTEAD}", UserWarning, users_level())
            return True
    return False


def _kinds() -> tuple[type, ...]:
    found = (getattr(sys.modules.get(module), name, None) for module, name in _KINDS)
    return tuple(kind for kind in found if isinstance(kind, type))


def _is_generator(value: Any, kinds: tuple[type, ...]) -> bool:
    kind = type(value)  # not isinstance(value, ...): a proxy may claim another __class__
    return issubclass(kind, kinds) and kind is not random.SystemRandom and not _is_shared(value)


def _is_shared(value: Any) -> bool:
    """Return whether a generator is the global one of its module, which each process seeds separately."""
    mtrand = sys.modules.get("numpy.random.mtrand")
    return value is random._inst or value is getattr(mtrand, "_rand", None)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, _PLAIN):
        return
    if isinstance(value, types.MethodType | types.BuiltinMethodType):
        yield ".__self__", value.__self__
    pattern, parts = _named_parts(value)
    yield from ((pattern.format(name), part) for name, part in itertools.islice(parts, WIDEST))


def _named_parts(value: Any) -> tuple[str, Iterable[tuple[Any, Any]]]:
    """Return how a part of a value is written in a path, and the parts with their keys, numbers or names."""
    if isinstance(value, Mapping):
        return "[{!r}]", value.items()
    if isinstance(value, list | tuple | set | frozenset):
        return "[{}]", enumerate(value)
    return ".{}", _attributes(value)


def _attributes(value: Any) -> list[tuple[str, Any]]:
    try:
        return list(object.__getattribute__(value, "__dict__").items())
    except AttributeError:
        return []
