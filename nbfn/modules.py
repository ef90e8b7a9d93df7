"""The user's own modules: which they are, and how their code travels by value."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
import sysconfig
import threading
import types
import warnings
from collections.abc import Iterable, Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import cloudpickle

from nbfn.backtrace import OURS, users_level


def by_value(thing: Any) -> bool:
    """Return whether a function, class or module of the user's travels by value."""
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
    """Return the imported modules that travel by value."""
    folder = _working_directory()
    return [module for module in list(sys.modules.values()) if _is_under(module, folder)]


def _working_directory() -> str:
    try:
        return os.path.join(os.getcwd(), "")  # noqa: PTH109, PTH118 - before each registration
    except OSError:
        return "\0"  # it is gone: nothing lies there


def _is_under(module: Any, folder: str) -> bool:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not file.startswith(folder):
        return False
    name = module.__name__
    return name != "__main__" and name.partition(".")[0] not in OURS and not _is_installed(file)


@functools.lru_cache(maxsize=4096)
def _is_installed(file: str) -> bool:
    places = (sysconfig.get_path(which) for which in ("stdlib", "platstdlib", "purelib", "platlib"))
    path = Path(file)
    return "site-packages" in path.parts or any(path.is_relative_to(place) for place in places)


_registering = threading.Lock()
_registered: dict[str, int] = {}


@contextlib.contextmanager
def carrying(modules: Iterable[types.ModuleType]) -> Iterator[None]:
    """Have cloudpickle take these modules' functions and classes by value, as long as the block lasts.

    Arguments of a call are pickled in the same way as its Function was, so that a class is the same
    class on both ways.
    """
    held = [module for module in modules if sys.modules.get(module.__name__) is module]
    already = cloudpickle.list_registry_pickle_by_value()
    with _registering:
        for module in held:
            if not _registered.get(module.__name__) and module.__name__ in already:
                continue  # the user registered it; leave that alone
            _registered[module.__name__] = _registered.get(module.__name__, 0) + 1
            cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        with _registering:
            for module in held:
                count = _registered.get(module.__name__, 0) - 1
                if count == 0:
                    cloudpickle.unregister_pickle_by_value(module)
                if count >= 0:
                    _registered[module.__name__] = count


# --- files that changed since they were imported ---------------------------------------------------

#: Module name -> its spec (a reload makes a new one), its file's (mtime, size), and a hash of the text.
_seen: dict[str, tuple[Any, tuple[int, int], bytes]] = {}


def warn_of_changes(modules: Iterable[types.ModuleType]) -> None:
    """Warn, once for each change, that a module's file is no longer what was imported and what workers get."""
    for module in modules:
        if _changed(module):
            name = module.__name__
            warnings.warn(
                f"{module.__file__} changed since module {name!r} was imported; workers run what was imported. "
                f"Run importlib.reload({name}), or have every cell do so: %load_ext autoreload, %autoreload 2.",
                UserWarning,
                stacklevel=users_level(),
            )


def _changed(module: types.ModuleType) -> bool:
    file = Path(str(module.__file__))
    try:
        status = file.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        known = _seen.get(module.__name__)
        same = known is not None and known[0] is module.__spec__
        if same and known is not None and known[1] == stamp:
            return False
        text = file.read_bytes()
    except OSError:
        return False  # it is gone: there is nothing to reload
    digest = hashlib.sha256(text).digest()
    _seen[module.__name__] = (module.__spec__, stamp, digest)
    if same and known is not None:
        return known[2] != digest
    return not _is_what_runs(module, text)


def _is_what_runs(module: types.ModuleType, text: bytes) -> bool:
    """Whether a module's functions are those of its file, as far as can be told after the import."""
    if type(getattr(module.__spec__, "loader", None)) is not SourceFileLoader:
        return (
            True  # what its loader makes of the text (pytest's rewrites it) is not for us to know
        )
    try:
        codes = set(_codes(compile(text, str(module.__file__), "exec", dont_inherit=True)))
    except (SyntaxError, ValueError):
        return False
    names = {code.co_qualname for code in codes}  # a reload leaves what the file no longer has
    return all(
        thing.__code__ in codes or thing.__code__.co_qualname not in names
        for thing in vars(module).values()
        if isinstance(thing, types.FunctionType) and thing.__code__.co_filename == module.__file__
    )


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _codes(constant)
