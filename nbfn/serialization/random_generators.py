"""Warns about random generators that a Function captures: each worker gets the same copy and draws the same numbers."""

from __future__ import annotations

import itertools
import random
import sys
import types
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nbfn.runtime.traceback_filter import users_level

#: Generators, by module and name: only what is imported already can have made one.
_KINDS = (
    ("random", "Random"),
    ("numpy.random", "Generator"),
    ("numpy.random", "RandomState"),
    ("numpy.random", "BitGenerator"),
    ("torch", "Generator"),
)
#: What to do.
INSTEAD = (
    "Make one in the function, from a seed that is an argument: numpy.random.default_rng(seed), with "
    "numpy.random.SeedSequence(1).spawn(n) as the seeds of n inputs."
)
#: Parts of one object that are looked at.
WIDEST = 64
_PLAIN = (str, bytes, bytearray, int, float, complex, bool, type(None), types.ModuleType)


def find_generator(name: str, value: Any) -> str:
    """Return the path to a random generator in a value; "" if there is none.

    Looks at the value itself, at its attributes or items, and no further.

    Examples:
        >>> generator_in("draw", random.Random(1).gauss)
        'draw.__self__'
    """
    kinds = _kinds()
    if _is_generator(value, kinds):
        return name
    return next((name + step for step, part in _parts(value) if _is_generator(part, kinds)), "")


def warn(found: Iterable[tuple[str, Any]], sentence: str) -> bool:
    """Warn if workers get a copy of a random generator.

    Args:
        found: Names and values.
        sentence: What happens, with ``{}`` for the generator.

    Returns:
        Whether there was one.
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
    kind = type(value)  # a proxy may call itself an object of another class
    return issubclass(kind, kinds) and kind is not random.SystemRandom and not _is_shared(value)


def _is_shared(value: Any) -> bool:
    """Whether it is the one behind a module's functions, which every process seeds for itself."""
    mtrand = sys.modules.get("numpy.random.mtrand")
    return value is random._inst or value is getattr(mtrand, "_rand", None)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, _PLAIN):
        return
    if isinstance(value, types.MethodType | types.BuiltinMethodType):
        yield ".__self__", value.__self__
    parts: Iterable[tuple[str, Any]] = ()
    if isinstance(value, Mapping):
        parts = ((f"[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        parts = ((f"[{number}]", part) for number, part in enumerate(value))
    else:
        parts = ((f".{name}", part) for name, part in _attributes(value))
    yield from itertools.islice(parts, WIDEST)


def _attributes(value: Any) -> list[tuple[str, Any]]:
    try:
        return list(object.__getattribute__(value, "__dict__").items())
    except AttributeError:
        return []
