"""Finds the objects that a function refers to, directly or through helpers, and detects whether these have changed.

`DependencySnapshot` detects names that were rebound, `FileWatch` files that were changed. Both are checked before each
call.
"""

from __future__ import annotations

import builtins
import dis
import functools
import hashlib
import importlib.util
import os
import time
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nbfn.declarations.partial_function import PartialFunction
from nbfn.declarations.registered import Registered
from nbfn.runtime.sync import BoundMethod
from nbfn.serialization.user_modules import is_by_value, is_local
from nbfn.serialization.wrappers import is_dispatcher

#: Types whose objects are pickled as an id; an Instance is an object of a Cls.
HANDLES = frozenset({"Function", "Cls", "Instance"})

_MISSING = object()
_GLOBAL_OPS = frozenset({"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME"})
_ATTRIBUTE_OPS = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
Cached = functools._lru_cache_wrapper
_WITH_CODE = (types.FunctionType, types.MethodType, type, Cached)


class DependencySnapshot:
    """The objects that a function referred to at one moment, compared by identity.

    Args:
        function: The function, or a class.
        instead: Replacements for some of these objects, by `id`; see `nbfn.serialization.module_reload`. The
            replacements are examined as well, and `found` contains the objects that they refer to.

    Attributes:
        found: The objects that the function refers to, as (name, kind, value).
        homes: The names of the modules that define these objects.
        imports: Names of modules that its code, or the code of its helpers, imports when it runs.
    """

    __slots__ = (
        "_cells",
        "_classes",
        "_functions",
        "_instead",
        "_names",
        "_old",
        "_registries",
        "found",
        "homes",
        "imports",
    )

    def __init__(self, function: Any, instead: Mapping[int, Any] | None = None) -> None:
        self._names: list[tuple[Mapping[Any, Any], Any, Any]] = []
        self._classes: list[tuple[type, int]] = []  # with the number of attributes
        self._registries: list[tuple[Mapping[Any, Any], int]] = []  # of single-dispatch functions
        self._cells: list[tuple[types.CellType, Any]] = []
        self._functions: list[tuple[types.FunctionType, Any, Any, Any]] = []
        self._instead = instead or {}
        self._old = 0  # more than 0 while examining an object that has a replacement
        self.found: list[tuple[str, str, Any]] = []
        self.homes: set[str] = set()
        self.imports: set[str] = set()
        self._walk(function, set())

    @property
    def files(self) -> set[str]:
        """The files of its code, and of the code of helpers that are pickled by value."""
        return {code.co_filename for _, code, _, _ in self._functions}

    @property
    def undefined(self) -> list[str]:
        """Global names that its code uses, but that are neither defined yet nor assigned by the code."""
        names = dict.fromkeys(name for _, name, value in self._names if value is _MISSING)
        missing = [name for name in names if not hasattr(builtins, name)]
        if not missing:
            return []
        own = {name for function, *_ in self._functions for name in _assigned(function.__code__)}
        return [name for name in missing if name not in own]

    def contains(self, thing: Any) -> bool:
        """Return whether the function refers to an object."""
        return any(value is thing for _, _, value in self.found)

    def current(self) -> bool:
        """Return whether every name still refers to the same object."""
        for names, name, value in self._names:
            if names.get(name, _MISSING) is not value:
                return False
        for cls, count in self._classes:
            if _attribute_count(cls) != count:
                return False
        for registry, count in self._registries:
            if len(registry) != count:
                return False
        for cell, value in self._cells:
            if _cell_content(cell) is not value:
                return False
        for function, code, defaults, keyword_defaults in self._functions:
            if (
                function.__code__ is not code
                or function.__defaults__ is not defaults
                or function.__kwdefaults__ is not keyword_defaults
            ):
                return False
        return True

    def _walk(self, thing: Any, seen: set[int]) -> None:
        if id(thing) in seen:
            return
        seen.add(id(thing))
        if (newer := self._instead.get(id(thing))) is not None:
            self._old += 1
            self._walk_into(thing, seen)
            self._old -= 1
            thing = newer
        self._walk_into(thing, seen)

    def _walk_into(self, thing: Any, seen: set[int]) -> None:
        thing = _unwrap(thing)
        if isinstance(thing, type):
            self._walk_class(thing, seen)
        elif isinstance(thing, types.FunctionType):
            self._walk_function(thing, seen)

    def _walk_class(self, cls: type, seen: set[int]) -> None:
        self._classes.append((cls, _attribute_count(cls)))
        self.homes.add(cls.__module__)
        for name, value in list(vars(cls).items()):
            if name.startswith("__") and not callable(value):
                continue  # an attribute that Python sets
            self._names.append((vars(cls), name, value))
            part = _unwrap(value)
            if isinstance(part, types.FunctionType):
                self._walk_method(part, seen)
            elif _kind(part, "") in HANDLES:
                self._note(name, "attribute", part, seen)
        for base in cls.__bases__:
            if base is not object and is_by_value(base):
                self._walk(base, seen)

    def _walk_method(self, method: types.FunctionType, seen: set[int]) -> None:
        if is_by_value(method) and not _is_generated(method):
            self._walk(method, seen)

    def _walk_function(self, function: types.FunctionType, seen: set[int]) -> None:
        if is_dispatcher(function):
            self._walk_registry(function.registry, seen)  # type: ignore[attr-defined]
            return
        code = function.__code__
        self._functions.append((function, code, function.__defaults__, function.__kwdefaults__))
        self.homes.add(str(function.__module__))
        package = str(function.__globals__.get("__package__") or "")
        for level, name, names in imports_in_code(code):
            self.imports.update(absolute_names(level, name, names, package))
        for name, value in _defaults(function):
            self._note(name, "default", value, seen)
        self._walk_globals(function, seen)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            value = _cell_content(cell)
            self._cells.append((cell, value))
            self._note(name, "closure", value, seen)

    def _walk_globals(self, function: types.FunctionType, seen: set[int]) -> None:
        for name, *attributes in global_paths(function.__code__):
            value = function.__globals__.get(name, _MISSING)
            if not attributes:
                self._names.append((function.__globals__, name, value))
                self._note(name, "global", value, seen)
            elif isinstance(value, types.ModuleType):
                self._watch(value, attributes, seen)

    def _walk_registry(self, registry: Mapping[type, Any], seen: set[int]) -> None:
        """Examine the functions that a single-dispatch function calls."""
        self._registries.append((registry, len(registry)))
        for kind, function in list(registry.items()):
            self._names.append((registry, kind, function))
            if isinstance(function, _WITH_CODE) and is_by_value(function):
                self._walk(function, seen)

    def _watch(self, module: types.ModuleType, attributes: list[str], seen: set[int]) -> None:
        """Record an attribute that code reads from a user module: a reload changes it, but not the module object."""
        value: Any = module
        for attribute in attributes:
            if not isinstance(value, types.ModuleType) or not is_local(value):
                return
            self.homes.add(value.__name__)
            module, value = value, vars(value).get(attribute, _MISSING)
        self._names.append((vars(module), attributes[-1], value))
        if value is _MISSING and (newer := self._instead.get(id(module))) is not None:
            value = vars(newer).get(attributes[-1])
        if _kind(value, "") in HANDLES:
            self._note(f"{module.__name__}.{attributes[-1]}", "global", value, seen)
        elif isinstance(value, _WITH_CODE) and is_by_value(value):
            self._walk(value, seen)

    def _note(self, name: str, kind: str, value: Any, seen: set[int]) -> None:
        if value is _MISSING:
            return
        if isinstance(value, BoundMethod):  # f.remote is pickled together with f
            value = value.__self__
        known = value is not None and id(value) in seen
        if known or any(n == name and v is value for n, _, v in self.found):
            return
        if isinstance(value, types.ModuleType):
            self.homes.add(value.__name__)
        if not self._old:
            newer = self._instead.get(id(value), value)
            self.found.append((name, _kind(newer, kind), newer))
        if isinstance(value, _WITH_CODE) and is_by_value(value):
            self._walk(value, seen)


def _unwrap(thing: Any) -> Any:
    if isinstance(thing, staticmethod | classmethod | types.MethodType):
        return thing.__func__
    if isinstance(thing, property):
        return thing.fget
    if isinstance(thing, Cached):
        return thing.__wrapped__
    if isinstance(thing, PartialFunction):
        return thing.raw
    return getattr(thing, "__wrapped__", thing) if isinstance(thing, functools.partial) else thing


def _defaults(function: types.FunctionType) -> list[tuple[str, Any]]:
    """Return the names and values of the default arguments of a function."""
    code, defaults = function.__code__, function.__defaults__ or ()
    positional = code.co_varnames[: code.co_argcount]
    with_default = positional[len(positional) - len(defaults) :]
    return [
        *zip(with_default, defaults, strict=True),
        *(function.__kwdefaults__ or {}).items(),
    ]


def _is_generated(method: types.FunctionType) -> bool:
    """Return whether `dataclasses` or `collections.namedtuple` generated a method."""
    home = str(method.__globals__.get("__name__", ""))
    return home in ("dataclasses", "reprlib") or home.startswith("namedtuple_")


def _attribute_count(cls: type) -> int:
    """Return the number of attributes of a class, without the attribute that `copyreg` adds."""
    return len(vars(cls)) - ("__slotnames__" in vars(cls))


def _cell_content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


@functools.lru_cache(maxsize=4096)
def global_paths(code: types.CodeType) -> tuple[tuple[str, ...], ...]:
    """Return the global names that code uses, including nested code, and the attributes that it reads from them.

    For ``pkg.part.f(x) + x`` with a local ``x``: ``("pkg",)``, ``("pkg", "part")`` and ``("pkg", "part", "f")``.
    """
    paths: dict[tuple[str, ...], None] = {}
    path: tuple[str, ...] = ()
    for step in dis.get_instructions(code):
        if step.opname in _GLOBAL_OPS:
            path = (str(step.argval),)
        elif path and step.opname in _ATTRIBUTE_OPS:
            path = (*path, str(step.argval))
        else:
            path = ()
            continue
        paths[path] = None
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            paths |= dict.fromkeys(global_paths(constant))
    return tuple(paths)


def _assigned(code: types.CodeType) -> set[str]:
    """Return the global names that code assigns, including nested code."""
    steps = dis.get_instructions(code)
    names = {str(step.argval) for step in steps if step.opname in {"STORE_GLOBAL", "STORE_NAME"}}
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return names.union(*map(_assigned, inner))


@functools.lru_cache(maxsize=4096)
def imports_in_code(code: types.CodeType) -> tuple[tuple[int, str, tuple[str, ...]], ...]:
    """Return the import statements of a code object as (level, module name, imported names)."""
    found = []
    steps = list(dis.get_instructions(code))
    for at, step in enumerate(steps):
        if step.opname == "IMPORT_NAME" and at >= 2:
            level, names = steps[at - 2].argval, steps[at - 1].argval
            found.append((level if type(level) is int else 0, str(step.argval), names or ()))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found += imports_in_code(constant)
    return tuple(found)


def absolute_names(level: int, name: str, names: Iterable[str], package: str) -> Iterator[str]:
    """Yield the absolute names of all modules that an import statement may import.

    Args:
        level: The number of leading dots.
        name: The name after the dots.
        names: The names that a ``from`` statement imports.
        package: The package that contains the statement.
    """
    try:
        base = importlib.util.resolve_name("." * level + name, package) if level else name
    except ImportError:
        return  # a relative import beyond the top-level package; Python raises when it runs
    yield from with_packages(base)
    yield from (f"{base}.{one}" for one in names if one != "*")


def with_packages(name: str) -> Iterator[str]:
    """Yield the names of the packages of a module, from the outermost on, then its own."""
    parts = name.split(".")
    yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _kind(value: Any, otherwise: str) -> str:
    if isinstance(value, types.ModuleType):
        return "module"
    if isinstance(value, type):
        return "class"
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType | Cached):
        return "function"
    if isinstance(value, Registered) and type(value).__name__ in HANDLES:
        return type(value).__name__
    return otherwise


def is_handle(value: Any) -> bool:
    """Return whether a value is a Function, a class of an App, or an instance of such a class."""
    return _kind(value, "") in HANDLES


def handles_in(module: types.ModuleType) -> list[Any]:
    """Return the Functions and the classes of Apps that are attributes of a module."""
    return [value for value in list(vars(module).values()) if is_handle(value)]


def type_name(value: Any) -> str:
    """Return the name of the type of a value, such as ``numpy.ndarray`` or ``int``."""
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


# --- files ---------------------------------------------------------------------------------------

#: Modification time in nanoseconds, size in bytes, and inode: an editor may replace the file.
Stamp = tuple[int, int, int]

#: Up to `FEW` files are checked before each call, in about a microsecond each; more files only every `PAUSE` seconds.
FEW, PAUSE = 32, 0.01

#: Path -> the stamp at the last check, and a hash of the content.
_known: dict[str, tuple[Stamp, bytes]] = {}


def file_digest(path: str) -> bytes:
    """Return a hash of the content of a file.

    Args:
        path: The file.

    Returns:
        The hash. If the file is missing, for example while it is being saved, the last known hash or b"".
    """
    stamp, known = _stamp(path), _known.get(path)
    if stamp is None or (known is not None and known[0] == stamp):
        return known[1] if known is not None else b""
    try:
        found = hashlib.sha256(Path(path).read_bytes()).digest()
    except OSError:
        return known[1] if known is not None else b""
    _known[path] = stamp, found
    return found


class FileWatch:
    """Detects whether the content of files has changed since they were added, or since the last `settle`.

    Args:
        paths: The files.
    """

    __slots__ = ("_next", "_seen")

    def __init__(self, paths: Iterable[str]) -> None:
        self._seen: dict[str, tuple[Stamp | None, bytes]] = {}
        self._next = 0.0
        for path in paths:
            self.add(path)

    def add(self, path: str) -> None:
        """Watch another file."""
        stamp = _stamp(path)  # before the file is read, so that a later modification is detected
        self._seen.setdefault(path, (stamp, file_digest(path)))

    def changed(self) -> bool:
        """Return whether the content of a watched file has changed."""
        if len(self._seen) > FEW:
            if (now := time.monotonic()) < self._next:
                return False
            self._next = now + PAUSE
        for path, (stamp, content) in list(self._seen.items()):  # other threads may add files
            found = _stamp(path)
            if found == stamp or found is None:
                continue
            if file_digest(path) != content:
                self._next = 0.0
                return True
            self._seen[path] = found, content  # only the modification time changed
        return False

    def settle(self) -> None:
        """Take the current content of all files as unchanged."""
        paths = list(self._seen)
        self._seen.clear()
        for path in paths:
            self.add(path)


def _stamp(path: str) -> Stamp | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - faster than Path.stat; runs for each file before each call
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
