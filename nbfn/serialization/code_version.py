"""Builds one version of a Function: its current code, and the list of the user's files that contain it.

The user's modules are pickled by value. Modules that a function imports when it runs are imported by the workers, so
the content of their files is part of the version.
"""

from __future__ import annotations

import sys
import types
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from nbfn.serialization import dependencies, function_pickling, module_reload
from nbfn.serialization.argument_modules import ArgumentModules
from nbfn.serialization.dependencies import DependencySnapshot, is_handle
from nbfn.serialization.import_graph import content_hash, reachable_sources
from nbfn.serialization.module_reload import ReloadedModules

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
        payload, modules = function_pickling.dump(
            name, self.raw, self.snapshot, self.edition.instead
        )
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


def _share_handles(latest: ReloadedModules) -> None:
    """Make reloaded modules use the handles of this process, and update the definitions of these handles."""
    new = [module for module in latest.modules.values() if module not in _sharing]
    known: dict[int, Any] = {}
    for module in new:
        mine = vars(sys.modules.get(module.__name__, module))
        for name, handle in list(vars(module).items()):
            twin = mine.get(name)
            if twin is handle or not (is_handle(handle) and is_handle(twin)):
                continue
            assert twin is not None
            old, made = twin._ref, handle._ref
            if hasattr(old, "twin") and hasattr(made, "twin"):
                old.twin = ReloadedDefinition(module, made.raw, made.describe)
                known[id(handle)] = twin
    for module in new:
        for name, value in list(vars(module).items()):
            if id(value) in known:
                setattr(module, name, known[id(value)])
        _sharing.add(module)
