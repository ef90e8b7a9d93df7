"""Looks up names in `__main__`, and adds the functions and classes of a Function to the `__main__` of its worker.

Plain pickle, and therefore `multiprocessing` and `joblib`, identifies a function or class of a cell by its name in
`__main__`. The `__main__` of a worker therefore contains the functions and classes that its Function captures. Those
of arguments are added too, the latest for each name, but never replace captured ones.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import types
from collections.abc import Iterator
from typing import Any

#: The globals for the functions of the definition that is being loaded.
_loading: dict[str, Any] | None = None
#: The globals of the Function that this process runs, and the names in them when it was loaded.
_globals: dict[str, Any] | None = None
_defined: frozenset[str] = frozenset()
#: Names that arguments added to `__main__`.
_argument_names: dict[str, Any] = {}


def lookup(module: str, qualname: str) -> Any:
    """Return the object with a qualified name, such as ``Outer.Inner``, in an imported module; None if missing."""
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(part)
        if found is None:
            return None
    return found


def main_name(thing: Any) -> str:
    """Return the name of a function or class in `__main__`; "" if it is not there."""
    if getattr(thing, "__module__", None) != "__main__":
        return ""
    name: str = thing.__qualname__
    found = vars(sys.modules["__main__"]).get(name)
    return name if found is thing or _is_of_cell(thing, found) else ""


def _is_of_cell(thing: Any, found: Any) -> bool:
    """Return whether ``thing`` is the plain function of the Function ``found`` that a `%%remote` cell defined.

    Functions of the cell call each other directly, so in their workers the name refers to the plain function.
    """
    code = getattr(thing, "__code__", None)
    if (
        code is None or not code.co_flags & inspect.CO_NESTED
    ):  # see `_enclosed` of the cell's parser
        return False
    return getattr(found, "__dict__", {}).get("_raw") is thing


def is_main(names: dict[str, Any]) -> bool:
    """Return whether a dict is the globals of `__main__`."""
    return names is vars(sys.modules["__main__"])


@contextlib.contextmanager
def loading_into(names: dict[str, Any]) -> Iterator[None]:
    """Load the definition that this process runs while the block runs.

    Args:
        names: The dict that becomes the globals of its functions.
    """
    global _loading, _globals, _defined
    _loading = names
    try:
        yield
    finally:
        _loading = None
        _globals, _defined = names, frozenset(names)


def is_worker() -> bool:
    """Return whether unpickled functions and classes are added to `__main__`, as in a worker."""
    return _loading is not None or _globals is not None


def globals_of_main(given: dict[str, Any]) -> dict[str, Any]:
    """Return the globals for unpickled functions of `__main__`; called when a definition is loaded.

    Args:
        given: The name and file of the module, as globals.
    """
    if _loading is None:  # this process reads the definition, but does not run it
        return given
    _loading.update(given)
    return _loading


def add_main_name(name: str, thing: Any) -> None:
    """Add an unpickled function or class to `__main__`, under its name in the `__main__` of the caller.

    Args:
        name: The name.
        thing: The function or class.
    """
    if _loading is not None:
        _loading.setdefault(name, thing)
    elif _globals is not None and name not in _defined:
        vars(sys.modules["__main__"])[name] = _argument_names[name] = thing


def argument_names() -> dict[str, Any]:
    """Return the names that arguments added to `__main__` and that have not been rebound since."""
    names = vars(sys.modules["__main__"])
    return {name: thing for name, thing in _argument_names.items() if names.get(name) is thing}


def find_defined(name: str, code: types.CodeType) -> types.FunctionType | None:
    """Return the function with this name and code that the Function of this process captures; None if there is none."""
    if _loading is not None or _globals is None or name not in _defined:
        return None
    found = _globals.get(name)
    return found if isinstance(found, types.FunctionType) and found.__code__ == code else None


def is_defined(function: types.FunctionType) -> bool:
    """Return whether the Function of this process captures a function, so that its state is already set."""
    return _loading is None and function.__globals__ is _globals
