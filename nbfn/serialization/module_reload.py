"""Imports changed modules of the user a second time, without replacing the modules that this process uses.

A module whose file changed, and each module that imports it, is imported again. Workers get the new module; the
notebook uses the old one until it reloads it. Objects of its classes are pickled as objects of the new classes, and
results are unpickled as objects of the old ones.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import threading
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any

from nbfn.runtime.traceback_filter import users_level
from nbfn.serialization import class_ids, dependencies
from nbfn.serialization.import_graph import SourceFile, content_hash
from nbfn.serialization.user_modules import is_user_module, local_modules, pickled_by_value

_Cached = functools._lru_cache_wrapper


class Unloadable(Exception):
    """Raised when a changed file cannot be imported; the message names the file and the error."""


@dataclass(frozen=True, slots=True)
class ReloadedModules:
    """The reloaded modules that workers get instead of the modules of this process.

    Attributes:
        modules: The reloaded modules, by name.
        instead: The replacement of each module, function or class of this process, by the `id` of the original.
        held: The originals. A reference to each is kept, so that its id is not reused.
    """

    modules: Mapping[str, types.ModuleType] = field(default_factory=dict)
    instead: Mapping[int, Any] = field(default_factory=dict)
    held: Sequence[Any] = ()


#: Nothing changed.
UNCHANGED = ReloadedModules()

_lock = threading.RLock()
_loading = threading.local()
#: For each module name: the spec of the imported module, which a reload replaces, and a hash of the file that was
#: imported. The hash is b"" if the file had already changed when it was first checked.
_imported: dict[str, tuple[Any, bytes]] = {}
#: For each module name: a hash of the module and its imports, and the reloaded module.
_loaded: dict[str, tuple[bytes, types.ModuleType]] = {}
#: For each module name: the originals that were ever replaced, by id, as (name, original, spec of the module then).
_replaced: dict[str, dict[int, tuple[str, Any, Any]]] = {}


def reload_changed(sources: Mapping[str, SourceFile]) -> ReloadedModules:
    """Reload the modules whose files changed, and return their replacements.

    Args:
        sources: The source files by module name.

    Raises:
        Unloadable: If a changed file cannot be imported.
    """
    if getattr(_loading, "now", False):
        return UNCHANGED  # a module calls a Function while it is being reloaded
    with _lock:
        stale = _stale(sources)
        modules = _load(sources, stale) if stale else {}
        pairs = [
            pair
            for name in sources.keys() | modules.keys()
            if (mine := sys.modules.get(name)) is not None
            for pair in _replacements(mine, modules.get(name, mine))
        ]
        if not pairs:
            return UNCHANGED
        with pickled_by_value(local_modules()):
            for name, module in modules.items():
                if (mine := sys.modules.get(name)) is not None:
                    _share_class_ids(mine, module)
    return ReloadedModules(modules, {id(old): new for old, new in pairs}, [old for old, _ in pairs])


def _stale(sources: Mapping[str, SourceFile]) -> set[str]:
    """Return the modules whose files changed, and the modules that import one of these."""
    stale = {
        name
        for name, source in sources.items()
        if (module := sys.modules.get(name)) is not None and not _is_imported(module, source.file)
    }
    while (
        more := {n for n, s in sources.items() if n in sys.modules and stale & {*s.needs}} - stale
    ):
        stale |= more
    return stale


def _is_imported(module: types.ModuleType, file: str) -> bool:
    digest = dependencies.file_digest(file)
    known = _imported.get(module.__name__)
    if known is None or known[0] is not module.__spec__:
        known = module.__spec__, digest if _has_code_of_file(module, file) else b""
        _imported[module.__name__] = known
    return known[1] == digest


def _has_code_of_file(module: types.ModuleType, file: str) -> bool:
    """Return whether the functions of a module have the same code as its file."""
    try:
        text = Path(file).read_bytes()
        codes = set(_codes(compile(text, str(module.__file__), "exec", dont_inherit=True)))
    except OSError:
        return True
    except (SyntaxError, ValueError):
        return False
    # A reload keeps functions that the file no longer has.
    names = {code.co_qualname for code in codes}
    return all(
        thing.__code__ in codes or thing.__code__.co_qualname not in names
        for thing in list(vars(module).values())
        if isinstance(thing, types.FunctionType) and thing.__code__.co_filename == module.__file__
    )


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _codes(constant)


# --- loading -------------------------------------------------------------------------------------


class _SourceLoader(SourceFileLoader):
    """Compiles the file each time, because a ``.pyc`` file may not reflect a change within the same second."""

    def get_code(self, fullname: str) -> types.CodeType:
        """See `importlib.abc.InspectLoader.get_code`."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def exec_module(self, module: types.ModuleType) -> None:
        """See `importlib.abc.Loader.exec_module`; leaves the module as any other import would."""
        super().exec_module(module)
        usual = SourceFileLoader(self.name, self.path)
        module.__loader__ = usual
        if module.__spec__ is not None:
            module.__spec__.loader = usual


class _Finder:
    """Finds the user's modules for `_SourceLoader`."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder.find_spec`."""
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        if spec.origin is None or not is_user_module(name, spec.origin):
            return None
        spec.loader = _SourceLoader(name, spec.origin)
        return spec


def _load(sources: Mapping[str, SourceFile], stale: set[str]) -> dict[str, types.ModuleType]:
    keys = {name: _key(sources, name) for name in stale}
    ready = {
        name: known[1]
        for name, key in keys.items()
        if (known := _loaded.get(name)) is not None and known[0] == key
    }
    if len(ready) < len(stale):
        ready = _import(stale, ready)
        for name, module in ready.items():
            _loaded[name] = keys.get(name) or _key(sources, name), module
    return ready


def _key(sources: Mapping[str, SourceFile], name: str) -> bytes:
    """Return a hash of a module's file and of the files of all modules that it imports."""
    within: dict[str, SourceFile] = {}
    left = [name]
    while left:
        one = left.pop()
        if one in sources and one not in within:
            within[one] = sources[one]
            left += sources[one].needs
    return content_hash(within)


def _import(names: set[str], ready: dict[str, types.ModuleType]) -> dict[str, types.ModuleType]:
    """Import modules a second time, without changing `sys.modules`.

    Args:
        names: The names of the modules.
        ready: Modules that were reloaded before and have not changed since.
    """
    importlib.invalidate_caches()
    with _without_modules(names):
        sys.modules.update(ready)
        before = set(sys.modules)
        for name in sorted(names):
            try:
                importlib.import_module(name)
            except (Exception, SystemExit) as error:
                raise Unloadable(_describe_error(name, error)) from error
        new = {n for n in set(sys.modules) - before if _is_own_module(sys.modules[n])}
        made = {name: sys.modules[name] for name in names | new}
    for name, module in list(made.items()):
        package, _, last = name.rpartition(".")
        if package in made:
            setattr(made[package], last, module)
    for name, module in list(sys.modules.items()):
        package, _, last = name.rpartition(".")
        if package in made and name not in made:
            setattr(made[package], last, module)
    return made


def _is_own_module(module: Any) -> bool:
    file = str(getattr(module, "__file__", None) or "")
    return isinstance(module, types.ModuleType) and is_user_module(module.__name__, file)


@contextlib.contextmanager
def _without_modules(names: set[str]) -> Iterator[None]:
    """Remove modules from `sys.modules` while the block runs, then restore them.

    Modules of the user that the block imports are removed again.
    """
    kept = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    before = set(sys.modules)
    children = [
        (name, package, last) for name in names for package, _, last in [name.rpartition(".")]
    ]
    had = {name: vars(sys.modules[p]).get(last) for name, p, last in children if p in sys.modules}
    finder: Any = _Finder()
    sys.meta_path.insert(0, finder)
    _loading.now = True
    try:
        yield
    finally:
        _loading.now = False
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            if name in names or _is_own_module(sys.modules[name]):
                del sys.modules[name]
        sys.modules.update(kept)
        for (
            name,
            package,
            last,
        ) in children:  # an import sets the module as attribute of its package
            if package in before and (was := had.get(name)) is not None:
                setattr(sys.modules[package], last, was)


def _describe_error(name: str, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return (
            f"{Path(error.filename).name}, line {error.lineno}: {type(error).__name__}: {error.msg}"
        )
    trace, line = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if is_user_module("", file):
            line = f"{Path(file).name}, line {trace.tb_lineno}: "
        trace = trace.tb_next
    message = (str(error).splitlines() or [""])[0]
    return f"{line or f'{name}: '}{type(error).__name__}: {message}"


def warn_unloadable(name: str, version: int, why: Unloadable) -> None:
    """Warn that a Function keeps its old code because a changed file cannot be imported.

    Args:
        name: The name of the Function.
        version: The version that it keeps running; 0 if there is none.
        why: The error.
    """
    what = f"keeps running v{version}" if version else "uses the modules that were imported"
    warnings.warn(
        f"{why}. Function {name!r} {what}. Fix the file; the next call uses it.",
        UserWarning,
        stacklevel=users_level(),
    )


# --- replacements ---------------------------------------------------------------------------------


def _replacements(mine: types.ModuleType, latest: types.ModuleType) -> Iterator[tuple[Any, Any]]:
    """Yield each original of a module of this process, also from before a reload, with its replacement.

    Args:
        mine: The module of this process.
        latest: The reloaded module, or ``mine`` if its file has not changed.
    """
    former = _replaced.setdefault(mine.__name__, {})
    if latest is not mine:
        yield mine, latest
        for name, thing in list(vars(mine).items()):
            if getattr(thing, "__module__", None) == mine.__name__ and _is_code(thing):
                former[id(thing)] = name, thing, mine.__spec__
    for name, thing, spec in list(former.values()):
        # An object that is not from before a reload has no replacement while the file does not change.
        now = vars(latest).get(name) if latest is not mine or spec is not mine.__spec__ else thing
        if now is not thing and _is_code(now) and now.__module__ == mine.__name__:
            yield thing, now


def _is_code(thing: Any) -> bool:
    return isinstance(thing, types.FunctionType | type | _Cached)


def _share_class_ids(mine: types.ModuleType, latest: types.ModuleType) -> None:
    """Make objects of the classes of a reloaded module unpickle as objects of this process's classes."""
    for name, kind in list(vars(latest).items()):
        home = vars(mine).get(name)
        if not (isinstance(kind, type) and isinstance(home, type)) or kind is home:
            continue
        if kind.__module__ == home.__module__ == mine.__name__:
            class_ids.set_content_id(kind, home=home)
