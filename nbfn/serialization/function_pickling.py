"""Pickles a function with the objects that it captures (`dump`), and lists these objects with their sizes (`report`).

`nbfn.serialization.dependencies` finds what a function refers to, and `nbfn.serialization.user_modules` decides
which code is pickled by value.
"""

from __future__ import annotations

import contextlib
import enum
import io
import itertools
import pickle
import sys
import types
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from nbfn.exception import InvalidError, SerializationError
from nbfn.runtime.byte_size import format_bytes
from nbfn.runtime.traceback_filter import users_level
from nbfn.serialization import dependencies, module_reload, pickle_diagnosis
from nbfn.serialization.argument_modules import ArgumentModules
from nbfn.serialization.dependencies import HANDLES, DependencySnapshot, is_handle, type_name
from nbfn.serialization.import_graph import content_hash, reachable_sources
from nbfn.serialization.module_reload import ReloadedModules
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
    found = find_whole(_values(snapshot), lambda value: _dumps(value, modules))
    return found.where if found is not None else ""


def _values(snapshot: DependencySnapshot) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, kind, value in snapshot.found if kind in _VALUES)


def _refuse_unloadable(
    name: str, snapshot: DependencySnapshot, modules: Iterable[types.ModuleType]
) -> None:
    found = find(_values(snapshot), lambda value: _dumps(value, modules))
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


# --- checking a pickle ---------------------------------------------------------------------------

#: The most parts of a captured value that are examined, and the most bytes of a pickle that is tested.
MOST_PARTS, MOST_BYTES = 200, 1_000_000
#: Methods that customize pickling, or that unpickling calls.
_HOOKS = (
    "__reduce__", "__reduce_ex__", "__setstate__", "__getnewargs__", "__getnewargs_ex__", "__new__",
    "__getattr__", "__setattr__",
)  # fmt: skip
_PLAIN = frozenset({int, float, complex, bool, str, bytes, bytearray, type(None), range, slice})
#: Objects with this method are not tested, because deleting the copy has side effects.
_FINAL = "__del__"


class Unloadable(NamedTuple):
    """A value that cannot be unpickled."""

    where: str  # the path to the value, and its type
    error: Exception


def find(captured: Iterable[tuple[str, Any]], dumps: Callable[[Any], bytes]) -> Unloadable | None:
    """Return the first captured value that cannot be unpickled; None if there is none.

    Args:
        captured: The names and values.
        dumps: Function that pickles a value.
    """
    kinds: dict[type, _Kind] = {}
    for name, value in captured:
        if type(value) in _PLAIN:
            continue
        for where, part in _parts(name, value, kinds):
            if _kind(part, kinds).may_fail and (error := _tried(part, dumps)) is not None:
                return Unloadable(f"{where} → {type_name(part)}", error)
    return None


def find_whole(
    captured: Iterable[tuple[str, Any]], dumps: Callable[[Any], bytes]
) -> Unloadable | None:
    """Return the first captured value that cannot be unpickled; values of all types are tested.

    It finds the cause after a worker has failed to load a function.

    Args:
        captured: The names and values.
        dumps: Function that pickles a value.
    """
    for name, value in captured:
        if type(value) not in _PLAIN and (error := _tried(value, dumps)) is not None:
            return Unloadable(f"{name} → {type_name(value)}", error)
    return None


def _tried(value: Any, dumps: Callable[[Any], bytes]) -> Exception | None:
    try:
        data = dumps(value)
    except Exception:  # noqa: BLE001 - it may be picklable as part of the whole value
        return None
    if len(data) > MOST_BYTES:
        return None
    try:
        pickle.Unpickler(io.BytesIO(data)).load()
    except Exception as error:  # noqa: BLE001 - user types may raise anything
        return error
    return None


class _Kind(NamedTuple):
    """The properties of a class that the search uses."""

    may_fail: bool  # unpickling its objects may fail
    is_own: bool  # it is a class of the user, so the attributes of its objects are examined


def _kind(value: Any, kinds: dict[type, _Kind]) -> _Kind:
    cls = type(value)
    if (known := kinds.get(cls)) is None:
        own = not issubclass(cls, type) and is_by_value(cls)
        known = kinds[cls] = _Kind(_may_fail(cls, own=own), own)
    return known


def _may_fail(cls: type, *, own: bool) -> bool:
    if hasattr(cls, _FINAL) or issubclass(cls, enum.Enum | type):
        return False
    if issubclass(cls, BaseException):
        return cls.__init__ is not BaseException.__init__
    return own and any(
        getattr(cls, hook, None) is not getattr(object, hook, None) for hook in _HOOKS
    )


def _parts(name: str, value: Any, kinds: dict[type, _Kind]) -> Iterator[tuple[str, Any]]:
    """Yield a value and its parts: the items of containers and the attributes of objects of the user's classes."""
    pending, seen = [(name, value)], {id(value)}
    for _ in range(MOST_PARTS):
        if not pending:
            return
        where, thing = pending.pop()
        yield where, thing
        for step, part in itertools.islice(_within(thing, kinds), MOST_PARTS):
            if type(part) not in _PLAIN and id(part) not in seen:
                seen.add(id(part))
                pending.append((where + step, part))


def _within(thing: Any, kinds: dict[type, _Kind]) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, Mapping) and type(thing).__module__ in ("builtins", "collections"):
        yield from ((f"[{key!r}]", part) for key, part in thing.items())
    elif type(thing) in (list, tuple):
        yield from ((f"[{number}]", part) for number, part in enumerate(thing))
    elif _kind(thing, kinds).is_own:
        with contextlib.suppress(TypeError):  # an object with __slots__ has no __dict__
            yield from [(f".{name}", part) for name, part in vars(thing).items()]


# --- versions of code ----------------------------------------------------------------------------

#: Reloaded modules that already use the handles of this process.
_sharing: weakref.WeakSet[types.ModuleType] = weakref.WeakSet()


class LocalDefinition(Protocol):
    """The definition of a function or class in this process.

    Attributes:
        raw: The function or class.
        describe: Function that creates its definition.
        twin: Its definition in a reloaded module, if there is one.
    """

    raw: Callable[..., Any]
    describe: Callable[..., Any]
    twin: ReloadedDefinition | None


@dataclass(frozen=True, slots=True)
class ReloadedDefinition:
    """The definition in a reloaded module that replaces that of a handle of this process.

    Attributes:
        module: The reloaded module.
        raw: The function or class.
        describe: Function that creates the definition from ``payload``, the pickle, with a ``serializer``.
    """

    module: types.ModuleType
    raw: Callable[..., Any]
    describe: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class CodeVersion:
    """The code of one version of a Function.

    Attributes:
        raw: The function or class.
        describe: Function that creates its definition.
        snapshot: The objects that it refers to.
        edition: The reloaded modules that replace some of these objects.
        watch: The files that contain the code.
        by_name: A hash of the files that workers read; empty if there are none.
        everything: The hash of all files, used if no module can be pickled by value.
    """

    raw: Callable[..., Any]
    describe: Callable[..., Any]
    snapshot: DependencySnapshot
    edition: ReloadedModules
    watch: dependencies.FileWatch
    by_name: str
    everything: str

    def dump(self, name: str) -> tuple[bytes, list[types.ModuleType], ReloadedModules, str]:
        """Pickle the code.

        Args:
            name: The name of the Function, for messages.

        Returns:
            The pickle, the modules that may be in it by value, the reloaded modules whose objects
            replace others in it, and the hash of the files that workers read.

        Raises:
            InvalidError: If it captures too much, see `nbfn.serialization.function_pickling.dump`.
            SerializationError: If a captured object cannot be pickled or unpickled.
        """
        payload, modules = dump(name, self.raw, self.snapshot, self.edition.instead)
        if self.everything and not modules:
            return payload, [], module_reload.UNCHANGED, self.everything
        inside = [module for module in modules if module.__name__.encode() in payload]
        return payload, inside, self.edition, self.by_name


def current_code(
    written: LocalDefinition, brought: ArgumentModules, settled: ReloadedModules | None = None
) -> CodeVersion:
    """Return the current code of a function or class.

    Args:
        written: The definition in this process.
        brought: The modules of the classes of its arguments.
        settled: The reloaded modules to use; if not given, changed files are reloaded now.

    Raises:
        Unloadable: If a changed file cannot be imported.
    """
    snapshot = DependencySnapshot(written.raw)
    by_value, imported = reachable_sources(snapshot.homes), reachable_sources(snapshot.imports)
    others = {name: reachable_sources([name]) for name in brought.seen}
    watch = dependencies.FileWatch(
        source.file for part in (by_value, *others.values()) for source in part.values()
    )
    latest = module_reload.reload_changed(by_value) if settled is None else settled
    raw, describe = written.raw, written.describe
    if latest.instead:
        _share_handles(latest)
        if (twin := written.twin) is not None and twin.module in latest.modules.values():
            raw, describe = twin.raw, twin.describe
        snapshot = DependencySnapshot(raw, latest.instead)
        imported = reachable_sources(snapshot.imports)
    for name, sources in others.items():
        if content_hash(sources) != brought.seen[name]:
            imported |= {n: source for n, source in sources.items() if n not in by_value}
    for source in imported.values():
        watch.add(source.file)
    everything = content_hash(by_value | imported).hex()
    return CodeVersion(
        raw, describe, snapshot, latest, watch, content_hash(imported).hex(), everything
    )


def _twins(module: types.ModuleType) -> Iterator[tuple[Any, Any]]:
    """Yield the handles of a reloaded module, with those that this process has under the same names."""
    mine = vars(sys.modules.get(module.__name__, module))
    for name, handle in list(vars(module).items()):
        twin = mine.get(name)
        if twin is not handle and is_handle(handle) and is_handle(twin):
            yield handle, twin


def _share_handles(latest: ReloadedModules) -> None:
    """Make reloaded modules use the handles of this process, and update the definitions of these handles."""
    new = [module for module in latest.modules.values() if module not in _sharing]
    known: dict[int, Any] = {}
    for module in new:
        for handle, twin in _twins(module):
            old, made = twin._ref, handle._ref
            if hasattr(old, "twin") and hasattr(made, "twin"):
                old.twin = ReloadedDefinition(module, made.raw, made.describe)
                known[id(handle)] = twin
    for module in new:
        for name, value in list(vars(module).items()):
            if id(value) in known:
                setattr(module, name, known[id(value)])
        _sharing.add(module)
