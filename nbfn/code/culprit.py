"""Where in a value the thing is that cannot be pickled: ``df.attrs['conn'] → sqlite3.Connection``."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nbfn.code import pickler
from nbfn.code.snapshot import type_name

#: Steps into a value, and parts of one value, that are looked at: an error may take a moment, not a minute.
DEEPEST, WIDEST = 12, 1000
#: What to do about most things that cannot be pickled: connections, files, handles.
OPEN_IT = "Open it inside the function, or pass what is needed to open it."


class Culprit(NamedTuple):
    """What refuses to be pickled.

    Args:
        where: The way to it from the value that it is in, and its type.
        remedy: What to do instead.
    """

    where: str
    remedy: str


def find(name: str, value: Any) -> Culprit | None:
    """Return the innermost thing that refuses; None if the value can be pickled.

    Args:
        name: What the value is called.
        value: The value.

    Examples:
        >>> import threading
        >>> find("settings", {"db": [1, threading.Lock()]}).where
        "settings['db'][1] → _thread.lock"
    """
    if _fits(value):
        return None
    seen = {id(value)}
    for _ in range(DEEPEST):
        for step, part in _parts(value):
            if id(part) not in seen and not _fits(part):
                seen.add(id(part))
                name, value = name + step, part
                break
        else:
            break
    return Culprit(f"{name} → {type_name(value)}", _remedy(value))


def _remedy(value: Any) -> str:
    if isinstance(value, Iterator):
        return "Pass a list of what it yields, or map over it."
    if type(value).__module__ in {"_thread", "threading", "multiprocessing.synchronize"}:
        return "Make it inside the function: workers share no memory."
    return OPEN_IT


def _fits(value: Any) -> bool:
    try:
        pickler.dumps(value)
    except Exception:  # noqa: BLE001 - user types raise anything when pickled
        return False
    return True


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    for number, pair in enumerate(_all_parts(value)):
        if number >= WIDEST:
            return
        yield pair


def _all_parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((f"[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, list | tuple):
        yield from ((f"[{number}]", part) for number, part in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from (("{…}", part) for part in value)
    elif isinstance(value, types.FunctionType):
        found = inspect.getclosurevars(value)
        yield from ((f"() uses {name}", part) for name, part in found.nonlocals.items())
        yield from ((f"() uses {name}", part) for name, part in found.globals.items())
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
    yield from ((f".{_public(value, name)}", part) for name, part in _attributes(value))


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, type | types.ModuleType | types.FunctionType):
        return
    yield from list(getattr(value, "__dict__", {}).items())
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if not name.startswith("__") and hasattr(value, name):
                yield name, getattr(value, name)


def _public(value: Any, name: str) -> str:
    """Return the property that shows an attribute, as ``attrs`` does ``_attrs``; else its own name."""
    shown = name.lstrip("_")
    if shown != name and isinstance(inspect.getattr_static(value, shown, None), property):
        return shown
    return name
