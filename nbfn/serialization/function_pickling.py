"""Pickles a function with the objects that it captures (`dump`), and lists these objects with their sizes (`report`).

`nbfn.serialization.dependencies` finds what a function refers to, and `nbfn.serialization.user_modules` decides
which code is pickled by value.
"""

from __future__ import annotations

import io
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nbfn.exception import InvalidError, SerializationError
from nbfn.runtime.byte_size import format_bytes
from nbfn.runtime.traceback_filter import users_level
from nbfn.serialization import pickle_check, pickle_diagnosis
from nbfn.serialization.dependencies import HANDLES, DependencySnapshot, type_name
from nbfn.serialization.pickler import FunctionPickler, replacing
from nbfn.serialization.user_modules import is_by_value, local_modules, pickled_by_value

#: The size in bytes of a pickled function above which there is a warning, and above which the function is
#: refused. The latter leaves space for the rest of the message in a frame of 16 MiB.
WARN_ABOVE = 256 * 1024
REFUSE_ABOVE = 16 * 1024 * 1024 - 256 * 1024


#: The kinds of captured objects that are values.
_VALUES = frozenset({"global", "closure", "default"})


@dataclass(frozen=True, slots=True)
class Captured:
    """One object that a function captures.

    Attributes:
        name: The name of the object in the function.
        kind: One of global, closure, default, function, class, module or Function.
        size: The size of its pickle in bytes; 0 if it is pickled by name or id.
        type: The name of its type, such as ``numpy.ndarray``.
    """

    name: str
    kind: str
    size: int
    type: str


def dump(
    name: str,
    function: Callable[..., Any],
    snapshot: DependencySnapshot,
    instead: Mapping[int, Any] | None = None,
) -> tuple[bytes, list[types.ModuleType]]:
    """Pickle a function with the objects that it captures.

    Args:
        name: The name of the Function, for messages.
        function: The function.
        snapshot: The current dependencies of the function.
        instead: Replacements for some captured objects, by `id`; see `nbfn.serialization.module_reload`.

    Returns:
        The pickle, and the modules whose code is pickled by value.

    Raises:
        InvalidError: If the pickle is too large; the message names the large objects.
        SerializationError: If a captured object cannot be pickled or unpickled; the message names it.
    """
    _refuse_large(name, snapshot)
    modules = local_modules()
    try:
        with replacing(instead or {}):
            data = _dumps(function, modules)
    except InvalidError:
        raise
    except Exception as error:  # noqa: BLE001 - user types may raise anything when pickled
        try:  # a local module may hold an object that cannot be pickled: the worker imports the module
            data = _dumps(function, [])
            modules = []
        except Exception:  # noqa: BLE001 - the first error is more specific
            raise SerializationError(_unpicklable(name, snapshot, error)) from error
    if not instead:
        _refuse_unloadable(name, snapshot, modules)
    if len(data) > REFUSE_ABOVE:
        raise InvalidError(_too_large(name, len(data), snapshot))
    if len(data) > WARN_ABOVE:
        _warn_large(name, len(data), snapshot)
    return data, modules


def _warn_large(name: str, size: int, snapshot: DependencySnapshot) -> None:
    large = ", ".join(f"{c.name!r} ({format_bytes(c.size)}, {c.type})" for c in _largest(snapshot))
    warnings.warn(
        f"Function {name!r} takes {format_bytes(size)} along to each worker: {large or 'its own code'}. "
        "Pass what is large as an argument instead.",
        UserWarning,
        stacklevel=users_level(),
    )


def unloadable(snapshot: DependencySnapshot, modules: Iterable[types.ModuleType]) -> str:
    """Return the path and type of the captured value because of which a worker cannot load a function.

    Args:
        snapshot: The dependencies of the function.
        modules: The modules that are pickled by value.

    Returns:
        The path and type; "" if every captured value can be unpickled.
    """
    found = pickle_check.find_whole(_values(snapshot), lambda value: _dumps(value, modules))
    return found.where if found is not None else ""


def _values(snapshot: DependencySnapshot) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, kind, value in snapshot.found if kind in _VALUES)


def _refuse_unloadable(
    name: str, snapshot: DependencySnapshot, modules: Iterable[types.ModuleType]
) -> None:
    found = pickle_check.find(_values(snapshot), lambda value: _dumps(value, modules))
    if found is not None:
        raise SerializationError(
            f"Function {name!r} uses {found.where}, which can be pickled but not unpickled, so no worker can "
            f"load it: {type(found.error).__name__}: {found.error}. Fix how it is pickled (__reduce__, "
            "__setstate__), or make it inside the function."
        ) from found.error


def _dumps(value: Any, modules: Iterable[types.ModuleType]) -> bytes:
    stream = io.BytesIO()
    with pickled_by_value(modules):
        FunctionPickler(stream, is_by_value).dump(value)
    return stream.getvalue()


def report(function: Any, snapshot: DependencySnapshot | None = None) -> list[Captured]:
    """Return the objects that a function captures, in the order of its code.

    Args:
        function: The function.
        snapshot: Its dependencies; a new snapshot if not given.
    """
    return _sized(snapshot or DependencySnapshot(function))


def _sized(snapshot: DependencySnapshot) -> list[Captured]:
    modules = local_modules()
    return [
        Captured(name, kind, _size(kind, value, modules), type_name(value))
        for name, kind, value in snapshot.found
    ]


def _size(kind: str, value: Any, modules: Iterable[types.ModuleType]) -> int:
    if kind in ("module", *HANDLES) or (kind in ("function", "class") and not is_by_value(value)):
        return 0
    quick = _quick_size(value)
    if quick > WARN_ABOVE:
        return quick
    try:
        return len(_dumps(value, modules))
    except Exception:  # noqa: BLE001 - an object that cannot be pickled has no size
        return 0


def _quick_size(value: Any) -> int:
    """Return the size of a string or buffer without pickling it; 0 for other values."""
    if isinstance(value, bytes | bytearray | str):
        return len(value)
    size = getattr(value, "nbytes", 0)
    return size if isinstance(size, int) else 0


def _refuse_large(name: str, snapshot: DependencySnapshot) -> None:
    total = sum(_quick_size(value) for _, _, value in snapshot.found)
    if total > REFUSE_ABOVE:
        raise InvalidError(_too_large(name, total, snapshot))


def _largest(snapshot: DependencySnapshot) -> list[Captured]:
    large = sorted(
        (c for c in _sized(snapshot) if c.size > WARN_ABOVE // 16), key=lambda c: -c.size
    )
    return large[:5]


def _too_large(name: str, size: int, snapshot: DependencySnapshot) -> str:
    large = _largest(snapshot)
    what = " and ".join(f"{c.name!r} ({format_bytes(c.size)}, {c.type})" for c in large)
    what = what or f"{format_bytes(size)} of values"
    them = "them as arguments" if len(large) > 1 else "it as an argument"
    return (
        f"Function {name!r} captures {what}; pass {them} instead. "
        "A function may take 16 MiB along; arguments of any size go through shared memory."
    )


def _unpicklable(name: str, snapshot: DependencySnapshot, error: Exception) -> str:
    for captured, kind, value in snapshot.found:
        if kind in ("module", *HANDLES):
            continue
        if (part := pickle_diagnosis.find(value)) is not None:
            once = (
                " In a class, @nbfn.enter() makes it once in each worker." if part.makeable else ""
            )
            return (
                f"Function {name!r} uses {part.within(captured)}, which cannot be pickled. "
                f"{part.remedy}{once}"
            )
    return f"Function {name!r} cannot be pickled: {error}"
