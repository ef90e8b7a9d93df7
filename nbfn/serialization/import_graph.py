"""Finds the user's modules that code imports, directly or indirectly, by parsing files without executing them."""

from __future__ import annotations

import ast
import hashlib
import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any

from nbfn.serialization import dependencies
from nbfn.serialization.dependencies import absolute_names, with_packages
from nbfn.serialization.user_modules import is_user_module


@dataclass(frozen=True, slots=True)
class SourceFile:
    """The source file of a user module.

    Attributes:
        file: The path of the file.
        needs: The names of all modules that it imports, and of their packages.
    """

    file: str
    needs: tuple[str, ...]


def reachable_sources(names: Iterable[str]) -> dict[str, SourceFile]:
    """Return the user's modules among these names, and the user's modules that they import directly or indirectly.

    Args:
        names: Names of modules.

    Returns:
        The source files by module name.
    """
    found: dict[str, SourceFile] = {}
    others: set[str] = set()
    left = [one for name in names for one in with_packages(name)]
    while left:
        name = left.pop()
        if name in found or name in others:
            continue
        if file := _file(name):
            found[name] = SourceFile(file, _imports(name, file))
            left += found[name].needs
        else:
            others.add(name)
    return found


def content_hash(sources: Mapping[str, SourceFile]) -> bytes:
    """Return a hash of the content of the files of modules; b"" for no modules."""
    if not sources:
        return b""
    found = hashlib.sha256()
    for name in sorted(sources):
        found.update(name.encode() + b"\0" + dependencies.file_digest(sources[name].file))
    return found.digest()


def is_imported_from_file(module: types.ModuleType) -> bool:
    """Return whether Python's file loader imported a module, so that it can be imported again.

    Modules that pytest rewrites, and the program of ``nbfn run``, have other loaders.
    """
    return type(getattr(module.__spec__, "loader", None)) is SourceFileLoader


def _file(name: str) -> str:
    module: Any = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
        plain = isinstance(module, types.ModuleType) and is_imported_from_file(module)
    else:
        spec = _spec(name)
        file = getattr(spec, "origin", None)
        plain = type(getattr(spec, "loader", None)) is SourceFileLoader
    return str(file) if file and plain and is_user_module(name, str(file)) else ""


def _spec(name: str) -> ModuleSpec | None:
    """Find a module without importing its packages."""
    package = name.rpartition(".")[0]
    path = None
    if package:
        known = sys.modules.get(package)
        spec = None if known is not None else _spec(package)
        path = getattr(known, "__path__", None) or getattr(spec, "submodule_search_locations", None)
        if path is None:
            return None
    try:
        return PathFinder.find_spec(name, path)
    except (ImportError, ValueError, OSError):
        return None


#: For each file: a hash of its content, and the modules that it imports.
_read: dict[str, tuple[bytes, tuple[str, ...]]] = {}


def _imports(name: str, file: str) -> tuple[str, ...]:
    digest = dependencies.file_digest(file)
    known = _read.get(file)
    if known is None or known[0] != digest:
        package = name if Path(file).stem == "__init__" else name.rpartition(".")[0]
        known = _read[file] = digest, _imports_of(file, package)
    return known[1]


def _imports_of(file: str, package: str) -> tuple[str, ...]:
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ()  # an import of it raises the error
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found |= dict.fromkeys(with_packages(alias.name))
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            found |= dict.fromkeys(absolute_names(node.level, node.module or "", names, package))
    return tuple(found)
