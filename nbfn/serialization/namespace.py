"""Looks up names of `__main__`, and gives a worker's `__main__` those of its Function.

Plain pickle writes a function or class of a cell as its name in `__main__`, and so do `multiprocessing`,
`joblib` and queues. A worker's `__main__` therefore has the functions and classes that its Function captures. Those
of arguments are added, the latest of each name; they never replace what the Function captures.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import types
from collections.abc import Iterator
from typing import Any

#: The names that a definition is being loaded into.
_loading: dict[str, Any] | None = None
#: The globals of the Function that this process runs, and the names in them when it was loaded.
_globals: dict[str, Any] | None = None
_defined: frozenset[str] = frozenset()
#: Names of `__main__` that came with arguments.
_argument_names: dict[str, Any] = {}


def lookup(module: str, qualname: str) -> Any:
    """Return what an imported module has under a name, such as ``Outer.Inner``; None if there is no such thing."""
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(part)
        if found is None:
            return None
    return found


def main_name(thing: Any) -> str:
    """Return the name under which `__main__` has a function or class; "" if it does not."""
    if getattr(thing, "__module__", None) != "__main__":
        return ""
    name: str = thing.__qualname__
    found = vars(sys.modules["__main__"]).get(name)
    return name if found is thing or _is_of_cell(thing, found) else ""


def _is_of_cell(thing: Any, found: Any) -> bool:
    """Return whether a `%%remote` cell defined a function whose name in `__main__` is its Function.

    The functions of the cell call it directly, so in their workers the name is the plain function's.
    """
    code = getattr(thing, "__code__", None)
    if (
        code is None or not code.co_flags & inspect.CO_NESTED
    ):  # see `_enclosed` of the cell's parser
        return False
    return getattr(found, "__dict__", {}).get("_raw") is thing


def is_main(names: dict[str, Any]) -> bool:
    """Return whether these are the globals of `__main__`."""
    return names is vars(sys.modules["__main__"])


@contextlib.contextmanager
def loading_into(names: dict[str, Any]) -> Iterator[None]:
    """Load the definition that this process runs, with ``names`` as the globals of its functions."""
    global _loading, _globals, _defined
    _loading = names
    try:
        yield
    finally:
        _loading = None
        _globals, _defined = names, frozenset(names)


def is_worker() -> bool:
    """Return whether unpickled objects become names of `__main__`, as in a worker."""
    return _loading is not None or _globals is not None


def globals_of_main(given: dict[str, Any]) -> dict[str, Any]:
    """Return the globals of functions that had those of `__main__`; called when a definition is loaded.

    Args:
        given: The module's name and file, as globals.
    """
    if _loading is None:  # a process that reads the definition and does not run it
        return given
    _loading.update(given)
    return _loading


def add_main_name(name: str, thing: Any) -> None:
    """Add an unpickled function or class to `__main__` under the name that it had in the caller's."""
    if _loading is not None:
        _loading.setdefault(name, thing)
    elif _globals is not None and name not in _defined:
        vars(sys.modules["__main__"])[name] = _argument_names[name] = thing


def argument_names() -> dict[str, Any]:
    """Return the names that arguments added and that `__main__` still has."""
    names = vars(sys.modules["__main__"])
    return {name: thing for name, thing in _argument_names.items() if names.get(name) is thing}


def find_defined(name: str, code: types.CodeType) -> types.FunctionType | None:
    """Return the function that this process's Function captures under a name, if it has this code."""
    if _loading is not None or _globals is None or name not in _defined:
        return None
    found = _globals.get(name)
    return found if isinstance(found, types.FunctionType) and found.__code__ == code else None


def is_defined(function: types.FunctionType) -> bool:
    """Return whether this process's Function captures a function, so that its state is set already."""
    return _loading is None and function.__globals__ is _globals
