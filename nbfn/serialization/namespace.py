"""The names of `__main__`: what this process has under them, and how a worker gets those of its Function.

Plain pickle writes a function or class of a cell as its name in `__main__`, and so do `multiprocessing`,
`joblib` and queues. A worker's `__main__` therefore holds what its Function takes along. What arguments bring
is put beside it, the latest of each name; it never replaces what the Function took along.
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
#: What arguments brought.
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
    """Load the definition that this process is to run; the globals of its functions are ``names``."""
    global _loading, _globals, _defined
    _loading = names
    try:
        yield
    finally:
        _loading = None
        _globals, _defined = names, frozenset(names)


def is_worker() -> bool:
    """Return whether things that arrive here become names of `__main__`: in a worker they do."""
    return _loading is not None or _globals is not None


def globals_of_main(given: dict[str, Any]) -> dict[str, Any]:
    """Return the globals of functions that had those of `__main__`; called when a definition is loaded.

    Args:
        given: What there is to know of the module: its name, its file.
    """
    if _loading is None:  # somebody looks at the definition, who does not run it
        return given
    _loading.update(given)
    return _loading


def add_main_name(name: str, thing: Any) -> None:
    """Take what was called so in the `__main__` that it comes from."""
    if _loading is not None:
        _loading.setdefault(name, thing)
    elif _globals is not None and name not in _defined:
        vars(sys.modules["__main__"])[name] = _argument_names[name] = thing


def argument_names() -> dict[str, Any]:
    """Return what `add_main_name` took from arguments, as this process's `__main__` has it now."""
    names = vars(sys.modules["__main__"])
    return {name: thing for name, thing in _argument_names.items() if names.get(name) is thing}


def find_defined(name: str, code: types.CodeType) -> types.FunctionType | None:
    """Return the function that the Function of this process took along under a name, if it has this code."""
    if _loading is not None or _globals is None or name not in _defined:
        return None
    found = _globals.get(name)
    return found if isinstance(found, types.FunctionType) and found.__code__ == code else None


def is_defined(function: types.FunctionType) -> bool:
    """Return whether the Function of this process took a function along, so that it is complete."""
    return _loading is None and function.__globals__ is _globals
