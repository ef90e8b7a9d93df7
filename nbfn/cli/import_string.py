"""Resolves references such as ``path.py::app.function``: imports the file or module and finds the object."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import click

from nbfn._names import normalize
from nbfn.api.app import App
from nbfn.api.cls import Cls
from nbfn.api.description import describe
from nbfn.api.entrypoint import LocalEntrypoint
from nbfn.api.function import Function
from nbfn.cli import notebook_module, user_traceback
from nbfn.declarations.lifecycle import remote_methods
from nbfn.exception import InvalidError, NotFoundError


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a class, to be called on one instance.

    Attributes:
        cls: The class.
        name: The method's name.
    """

    cls: Cls
    name: str


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference whose module is imported.

    Attributes:
        text: The reference as written.
        module: The imported module.
        path: The dotted names after ``::``.
    """

    text: str
    module: ModuleType
    path: tuple[str, ...]

    def app(self) -> App:
        """Return the App that is named, else the one called ``app``, else the only one.

        Raises:
            NotFoundError: If there is no App, or there are several.
        """
        if self.path:
            named = getattr(self.module, self.path[0], None)
            if isinstance(named, App):
                return named
        apps = _apps(self.module)
        if self.path:
            for app in apps.values():
                if {self.path[0], ".".join(self.path)} & _runnables(app).keys():
                    return app
        if len(apps) == 1:
            return next(iter(apps.values()))
        if isinstance(one := apps.get("app"), App):
            return one
        choices = ", ".join(f"{self.text.partition('::')[0]}::{name}" for name in apps)
        raise NotFoundError(
            f"{self.text} has several Apps. Name one: {choices}."
            if choices
            else f"{self.text} has no App. Create one: app = nbfn.App('name')."
        )

    def target(self) -> tuple[App, Any]:
        """Return the App and the object to run.

        That is the named one, else the only local entrypoint, else the only Function.

        Raises:
            NotFoundError: If there is no such object, or none is named and there are several.
        """
        app = self.app()
        path = self.path
        if path and getattr(self.module, path[0], None) is app:
            path = path[1:]
        known = _runnables(app)
        if path:
            name = ".".join(path)
            if name in known:
                return app, known[name]
            named = getattr(self.module, path[0], None)  # the name of a variable
            if len(path) == 1 and isinstance(named, Function | LocalEntrypoint):
                return app, named
            raise NotFoundError(f"{self.text}: {app!r} has no {name!r} ({_list_names(known)}).")
        entrypoints = list(app.registered_entrypoints.values())
        if len(entrypoints) == 1:
            return app, entrypoints[0]
        if not entrypoints and len(known) == 1:
            return app, next(iter(known.values()))
        if not known:
            raise NotFoundError(f"{self.text}: {app!r} has nothing to run.")
        raise NotFoundError(
            f"{self.text}: name what to run, as {self.text}::NAME ({_list_names(known)})."
        )


def _list_names(known: dict[str, Any]) -> str:
    return f"there are: {', '.join(known)}" if known else "there are none"


def _apps(module: ModuleType) -> dict[str, App]:
    found: dict[str, App] = {}
    for name, value in vars(module).items():
        if isinstance(value, App) and value not in found.values():
            found[name] = value
    return found


def _runnables(app: App) -> dict[str, Any]:
    """Return the objects of an App that can be run, by their names in references."""
    found: dict[str, Any] = {**app.registered_entrypoints, **app.registered_functions}
    for name, cls in app.registered_classes.items():
        found |= {
            f"{name}.{one}": Method(cls, one) for one in remote_methods(describe(cls).definition)
        }
    return found


def load(text: str, *, as_module: bool = False) -> Reference:
    """Import the file or module of a reference.

    Args:
        text: ``path.py``, ``path.ipynb`` or, with ``as_module``, ``pkg.mod``; optionally with ``::NAME``.
        as_module: Whether the reference names a module, not a file.

    Raises:
        NotFoundError: If there is no such file or module.
        InvalidError: If the file is neither a Python file nor a notebook.
        click.exceptions.Exit: If the code raises; its traceback is printed.
    """
    location, _, names = text.partition("::")
    path = tuple(normalize(names).split(".")) if names else ()
    if as_module:
        _prepend_to_path(Path.cwd())
        if importlib.util.find_spec(location.partition(".")[0]) is None:
            raise NotFoundError(f"There is no module {location}.")
        return Reference(text, _import(importlib.import_module, location), path)
    file = Path(location)
    if file.suffix not in (".py", ".ipynb"):
        hint = f" For a module: -m {text}." if not file.exists() else ""
        raise InvalidError(f"{location} is neither a .py nor an .ipynb file.{hint}")
    if not file.is_file():
        raise NotFoundError(f"There is no file {location}.")
    _prepend_to_path(file.resolve().parent)
    if file.suffix == ".ipynb":
        return Reference(text, _import(notebook_module.run, file, notebook_module.read(file)), path)
    return Reference(text, _import(_import_file, file.resolve()), path)


def _import(importer: Callable[..., ModuleType], *arguments: Any) -> ModuleType:
    try:
        return importer(*arguments)
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        user_traceback.show(error)
        raise click.exceptions.Exit(1) from None


def _prepend_to_path(folder: Path) -> None:
    """Add a folder to the front of `sys.path`, as ``python`` does with the folder of a script."""
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))


class _UncachedLoader(importlib.machinery.SourceFileLoader):
    """Compiles the file at each import; a cached copy may be older than the file by less than a second."""

    def get_code(self, fullname: str) -> CodeType:
        """See `importlib.abc.InspectLoader.get_code`."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _import_file(file: Path) -> ModuleType:
    name = inspect.getmodulename(str(file)) or file.stem
    spec = importlib.util.spec_from_file_location(
        name, file, loader=_UncachedLoader(name, str(file))
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
