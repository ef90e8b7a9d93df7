"""Finds captured values that can be pickled but not unpickled, so that the error is raised before a worker starts.

To save time, only values that may fail are tested: exceptions, and objects of the user's classes that customize
pickling or construction.
"""

from __future__ import annotations

import contextlib
import enum
import io
import itertools
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from nbfn.serialization.dependencies import type_name
from nbfn.serialization.user_modules import is_by_value

#: The most parts of a captured value that are examined, and the most bytes of a pickle that is tested.
MOST_PARTS, MOST_BYTES = 200, 1_000_000
#: Methods that customize pickling, or that unpickling calls.
_HOOKS = (
    "__reduce__", "__reduce_ex__", "__setstate__", "__getnewargs__", "__getnewargs_ex__", "__new__",
    "__getattr__", "__setattr__",
)  # fmt: skip
_PLAIN = frozenset({int, float, complex, bool, str, bytes, bytearray, type(None), range, slice})
#: Objects with this method are not tested, because deleting the copy has side effects.
_FINAL = "__del__"


class Unloadable(NamedTuple):
    """A value that cannot be unpickled."""

    where: str  # the path to the value, and its type
    error: Exception


def find(captured: Iterable[tuple[str, Any]], dumps: Callable[[Any], bytes]) -> Unloadable | None:
    """Return the first captured value that cannot be unpickled; None if there is none.

    Args:
        captured: The names and values.
        dumps: Function that pickles a value.
    """
    kinds: dict[type, _Kind] = {}
    for name, value in captured:
        if type(value) in _PLAIN:
            continue
        for where, part in _parts(name, value, kinds):
            if _kind(part, kinds).may_fail and (error := _tried(part, dumps)) is not None:
                return Unloadable(f"{where} → {type_name(part)}", error)
    return None


def find_whole(
    captured: Iterable[tuple[str, Any]], dumps: Callable[[Any], bytes]
) -> Unloadable | None:
    """Return the first captured value that cannot be unpickled; values of all types are tested.

    It finds the cause after a worker has failed to load a function.

    Args:
        captured: The names and values.
        dumps: Function that pickles a value.
    """
    for name, value in captured:
        if type(value) not in _PLAIN and (error := _tried(value, dumps)) is not None:
            return Unloadable(f"{name} → {type_name(value)}", error)
    return None


def _tried(value: Any, dumps: Callable[[Any], bytes]) -> Exception | None:
    try:
        data = dumps(value)
    except Exception:  # noqa: BLE001 - it may be picklable as part of the whole value
        return None
    if len(data) > MOST_BYTES:
        return None
    try:
        pickle.Unpickler(io.BytesIO(data)).load()  # noqa: S301 - this process made the pickle
    except Exception as error:  # noqa: BLE001 - user types may raise anything
        return error
    return None


class _Kind(NamedTuple):
    """The properties of a class that the search uses."""

    may_fail: bool  # unpickling its objects may fail
    is_own: bool  # it is a class of the user, so the attributes of its objects are examined


def _kind(value: Any, kinds: dict[type, _Kind]) -> _Kind:
    cls = type(value)
    if (known := kinds.get(cls)) is None:
        own = not issubclass(cls, type) and is_by_value(cls)
        known = kinds[cls] = _Kind(_may_fail(cls, own=own), own)
    return known


def _may_fail(cls: type, *, own: bool) -> bool:
    if hasattr(cls, _FINAL) or issubclass(cls, enum.Enum | type):
        return False
    if issubclass(cls, BaseException):
        return cls.__init__ is not BaseException.__init__
    return own and any(
        getattr(cls, hook, None) is not getattr(object, hook, None) for hook in _HOOKS
    )


def _parts(name: str, value: Any, kinds: dict[type, _Kind]) -> Iterator[tuple[str, Any]]:
    """Yield a value and its parts: the items of containers and the attributes of objects of the user's classes."""
    pending, seen = [(name, value)], {id(value)}
    for _ in range(MOST_PARTS):
        if not pending:
            return
        where, thing = pending.pop()
        yield where, thing
        for step, part in itertools.islice(_within(thing, kinds), MOST_PARTS):
            if type(part) not in _PLAIN and id(part) not in seen:
                seen.add(id(part))
                pending.append((where + step, part))


def _within(thing: Any, kinds: dict[type, _Kind]) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, Mapping) and type(thing).__module__ in ("builtins", "collections"):
        yield from ((f"[{key!r}]", part) for key, part in thing.items())
    elif type(thing) in (list, tuple):
        yield from ((f"[{number}]", part) for number, part in enumerate(thing))
    elif _kind(thing, kinds).is_own:
        with contextlib.suppress(TypeError):  # an object with __slots__ has no __dict__
            yield from [(f".{name}", part) for name, part in vars(thing).items()]
