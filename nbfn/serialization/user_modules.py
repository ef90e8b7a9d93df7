"""Recognizes the user's own modules, and makes cloudpickle pickle their code by value."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import sysconfig
import threading
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle

from nbfn.runtime.traceback_filter import OURS


def is_by_value(thing: Any) -> bool:
    """Return whether a function, class or module is pickled by value."""
    name = (
        thing.__name__
        if isinstance(thing, types.ModuleType)
        else getattr(thing, "__module__", None)
    )
    if not isinstance(name, str) or name == "__main__":
        return True
    module = sys.modules.get(name)
    return module is None or is_local(module)


def is_local(module: types.ModuleType) -> bool:
    """Return whether a module is the user's own: under the working directory and not installed."""
    return _is_under(module, _working_directory())


def local_modules() -> list[types.ModuleType]:
    """Return the imported modules that are pickled by value."""
    folder = _working_directory()
    return [module for module in list(sys.modules.values()) if _is_under(module, folder)]


def _working_directory() -> str:
    try:
        return os.path.join(os.getcwd(), "")  # noqa: PTH109, PTH118 - faster than pathlib
    except OSError:
        return "\0"  # the directory was removed: no path is in it


def _is_under(module: Any, folder: str) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and _is_own(module.__name__, file, folder)


def is_user_module(name: str, file: str) -> bool:
    """Return whether a module with this name and file, imported or not, is the user's own."""
    return _is_own(name, file, _working_directory())


def _is_own(name: str, file: str, folder: str) -> bool:
    if not file.startswith(folder) or name == "__main__":
        return False
    return name.partition(".")[0] not in OURS and not _is_installed(file)


@functools.lru_cache(maxsize=4096)
def _is_installed(file: str) -> bool:
    places = (sysconfig.get_path(which) for which in ("stdlib", "platstdlib", "purelib", "platlib"))
    path = Path(file)
    return "site-packages" in path.parts or any(path.is_relative_to(place) for place in places)


_registering = threading.Lock()
_registered: dict[str, int] = {}


@contextlib.contextmanager
def pickled_by_value(modules: Iterable[types.ModuleType]) -> Iterator[None]:
    """Make cloudpickle pickle the functions and classes of modules by value while the block runs.

    The arguments of a call are pickled in the same way as its Function, so that a class that both use is
    the same class in the worker.
    """
    held = [module for module in modules if sys.modules.get(module.__name__) is module]
    with _registering:
        for module in held:
            _register(module)
    try:
        yield
    finally:
        with _registering:
            for module in held:
                _unregister(module)


def _register(module: types.ModuleType) -> None:
    count = _registered.get(module.__name__, 0)
    if not count and module.__name__ in cloudpickle.list_registry_pickle_by_value():
        return  # the user has registered it; do not unregister it later
    _registered[module.__name__] = count + 1
    cloudpickle.register_pickle_by_value(module)


def _unregister(module: types.ModuleType) -> None:
    count = _registered.get(module.__name__, 0) - 1
    if count == 0:
        cloudpickle.unregister_pickle_by_value(module)
    if count >= 0:
        _registered[module.__name__] = count
