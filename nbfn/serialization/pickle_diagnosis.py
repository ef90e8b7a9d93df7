"""Finds the part of a value that cannot be pickled: ``df.attrs['conn'] → sqlite3.Connection``."""

from __future__ import annotations

import inspect
import itertools
import pickle
import types
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from nbfn.serialization import nesting_depth, pickler
from nbfn.serialization.dependencies import type_name
from nbfn.serialization.user_modules import is_by_value

#: The most steps into a value, and the most parts of one value, that are examined, to limit the time of an error.
DEEPEST, WIDEST = 12, 1000
#: Attributes that Python adds to a class.
_PYTHONS = frozenset({"__dict__", "__weakref__", "_abc_impl"})
#: The exceptions that pickle itself raises for an object that it cannot pickle.
_USUAL = (TypeError, AttributeError, NotImplementedError, pickle.PicklingError)
#: The remedy for most objects that cannot be pickled: connections, files and handles.
OPEN_IT = "Open it inside the function, or pass what is needed to open it."


class Unpicklable(NamedTuple):
    """The innermost part of a value that cannot be pickled.

    Attributes:
        path: The steps from the value to the part; empty for the value itself.
        type: The type of the part.
        reason: The exception that pickling it raised, or its nesting depth; empty for errors of pickle itself.
        remedy: A sentence about what to do instead.
        makeable: Whether the worker can create it, such as a connection.
    """

    path: str
    type: str
    reason: str
    remedy: str
    makeable: bool = True

    def within(self, name: str) -> str:
        """Return the path from a value with this name to the part, and the type of the part."""
        return f"{name}{self.path} → {self.type}{self.reason}"


def find(value: Any) -> Unpicklable | None:
    """Return the innermost part of a value that cannot be pickled; None if the value can be pickled.

    Examples:
        >>> import threading
        >>> find({"db": [1, threading.Lock()]}).within("settings")
        "settings['db'][1] → _thread.lock"
    """
    refusal = _refusal(value)
    if refusal is None:
        return None
    if deep := nesting_depth.describe_depth(value, refusal):
        return Unpicklable("", type_name(value), deep, nesting_depth.FLATTEN, makeable=False)
    path, part, why = _followed(value, refusal)
    return Unpicklable(
        path, type_name(part), _raised(why), _remedy(part, why), isinstance(why, _USUAL)
    )


def _followed(value: Any, refusal: Exception) -> tuple[str, Any, Exception]:
    path, seen = "", {id(value)}
    for _ in range(DEEPEST):
        for step, part in _parts(value):
            if id(part) not in seen and (why := _refusal(part)) is not None:
                seen.add(id(part))
                path, value, refusal = path + step, part, why
                break
        else:
            break
    return path, value, refusal


def _raised(refusal: Exception) -> str:
    """Return a phrase about an exception that the code of the type raised; "" for an error of pickle itself."""
    if isinstance(refusal, _USUAL):
        return ""
    text = f"{type(refusal).__name__}: {refusal}".removesuffix(": ")
    return f", whose pickling raised {text}"


def _remedy(value: Any, refusal: Exception) -> str:
    if not isinstance(refusal, _USUAL):
        return "Fix its __reduce__ or __getstate__, or pass what it is made of."
    if isinstance(value, weakref.ReferenceType):
        return "Pass the object itself: in a worker nothing else would hold it."
    if isinstance(value, Iterator):
        return "Pass a list of what it yields, or map over it."
    if type(value).__module__ in {"_thread", "threading", "multiprocessing.synchronize"}:
        return "Make it inside the function: workers share no memory."
    return OPEN_IT


def _refusal(value: Any) -> Exception | None:
    """Return the exception that pickling a value raises; None if it can be pickled."""
    try:
        pickler.dumps(value)
    except Exception as error:  # noqa: BLE001 - user types may raise anything when pickled
        cause = error.__cause__  # cloudpickle raises another error from the RecursionError
        return cause if isinstance(cause, RecursionError) else error
    return None


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the first parts of a value, each with the step that leads to it."""
    attributes = ((f".{_public(value, name)}", part) for name, part in _attributes(value))
    parts = itertools.chain(_items(value), _parts_of_code(value), attributes)
    return itertools.islice(parts, WIDEST)


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return ((f"[{key!r}]", part) for key, part in value.items())
    if isinstance(value, list | tuple):
        return ((f"[{number}]", part) for number, part in enumerate(value))
    if isinstance(value, set | frozenset):
        return (("{…}", part) for part in value)
    return ()


def _parts_of_code(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, types.FunctionType):
        return _parts_of_function(value)
    if isinstance(value, types.MethodType):
        return [(".__self__", value.__self__)]
    if isinstance(value, staticmethod | classmethod):
        return [("", value.__func__)]
    if isinstance(value, property):
        return [("", part) for part in (value.fget, value.fset, value.fdel) if part]
    if isinstance(value, type) and is_by_value(value):
        return [(f".{name}", part) for name, part in vars(value).items() if name not in _PYTHONS]
    return ()


def _parts_of_function(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    found = inspect.getclosurevars(function)
    for name, part in (*found.nonlocals.items(), *found.globals.items()):
        yield f"() uses {name}", part
    for part in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield "() has a default", part


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, type | types.ModuleType | types.FunctionType):
        return
    if is_by_value(type(value)):
        yield "__class__", type(value)
    yield from list(getattr(value, "__dict__", {}).items())
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if not name.startswith("__") and hasattr(value, name):
                yield name, getattr(value, name)


def _public(value: Any, name: str) -> str:
    """Return the name of the property for a private attribute, such as ``attrs`` for ``_attrs``, else its own name."""
    shown = name.lstrip("_")
    if shown != name and isinstance(inspect.getattr_static(value, shown, None), property):
        return shown
    return name
