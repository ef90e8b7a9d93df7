"""What ``path.py::app.function`` means: the file or module is imported, and the thing found in it."""

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

from nbfn._names import normalized
from nbfn.api.app import App
from nbfn.api.cls import Cls
from nbfn.api.entrypoint import LocalEntrypoint
from nbfn.api.function import Function
from nbfn.cli import notebook_module, user_traceback
from nbfn.declarations.lifecycle import methods
from nbfn.exception import InvalidError, NotFoundError


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a class: what is run is that of one object.

    Attributes:
        cls: The class.
        name: The method's name.
    """

    cls: Cls
    name: str


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference, imported.

    Attributes:
        text: As it was written.
        module: What was imported.
        path: The dotted names after ``::``.
    """

    text: str
    module: ModuleType
    path: tuple[str, ...]

    def app(self) -> App:
        """Return the App: the one named, else the one called ``app``, else the only one.

        Raises:
            NotFoundError: If there is none, or several.
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
        there = ", ".join(f"{self.text.partition('::')[0]}::{name}" for name in apps)
        raise NotFoundError(
            f"{self.text} has several Apps; name one: {there}."
            if there
            else f"{self.text} has no App. Make one: app = nbfn.App('name')."
        )

    def target(self) -> tuple[App, Any]:
        """Return the App and what is to be run: the one named, else its only local entrypoint, else its only Function.

        Raises:
            NotFoundError: If that settles nothing; lists what there is.
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
            here = getattr(self.module, path[0], None)  # by the name of its variable
            if len(path) == 1 and isinstance(here, Function | LocalEntrypoint):
                return app, here
            raise NotFoundError(f"{self.text}: {app!r} has no {name!r} ({_listed(known)}).")
        entrypoints = list(app.registered_entrypoints.values())
        if len(entrypoints) == 1:
            return app, entrypoints[0]
        if not entrypoints and len(known) == 1:
            return app, next(iter(known.values()))
        if not known:
            raise NotFoundError(f"{self.text}: {app!r} has nothing to run.")
        raise NotFoundError(f"{self.text}: say which to run, {self.text}::NAME ({_listed(known)}).")


def _listed(known: dict[str, Any]) -> str:
    return f"there are: {', '.join(known)}" if known else "there is nothing"


def _apps(module: ModuleType) -> dict[str, App]:
    found: dict[str, App] = {}
    for name, value in vars(module).items():
        if isinstance(value, App) and value not in found.values():
            found[name] = value
    return found


def _runnables(app: App) -> dict[str, Any]:
    """Return all that can be run of an App, by the names that references use."""
    found: dict[str, Any] = {**app.registered_entrypoints, **app.registered_functions}
    for name, cls in app.registered_classes.items():
        found |= {f"{name}.{one}": Method(cls, one) for one in methods(cls._class())}
    return found


def load(text: str, *, as_module: bool = False) -> Reference:
    """Import what a reference is to.

    Args:
        text: ``path.py``, ``path.ipynb`` or, ``as_module``, ``pkg.mod``, each with ``::NAME`` or not.
        as_module: Whether it names a module, not a file.

    Raises:
        NotFoundError: If there is no such file or module.
        InvalidError: If the file is of another kind.
        click.exceptions.Exit: If the code raises; its traceback is printed.
    """
    where, _, names = text.partition("::")
    path = tuple(normalized(names).split(".")) if names else ()
    if as_module:
        _look_first_in(Path.cwd())
        if importlib.util.find_spec(where.partition(".")[0]) is None:
            raise NotFoundError(f"There is no module {where}.")
        return Reference(text, _imported(importlib.import_module, where), path)
    file = Path(where)
    if file.suffix not in (".py", ".ipynb"):
        hint = f" For a module: -m {text}." if not file.exists() else ""
        raise InvalidError(f"{where} is neither a .py nor an .ipynb file.{hint}")
    if not file.is_file():
        raise NotFoundError(f"There is no file {where}.")
    _look_first_in(file.resolve().parent)
    if file.suffix == ".ipynb":
        return Reference(
            text, _imported(notebook_module.run, file, notebook_module.read(file)), path
        )
    return Reference(text, _imported(_file, file.resolve()), path)


def _imported(how: Callable[..., ModuleType], *what: Any) -> ModuleType:
    try:
        return how(*what)
    except Exception as error:  # noqa: BLE001 - the user's own
        user_traceback.show(error)
        raise click.exceptions.Exit(1) from None


def _look_first_in(folder: Path) -> None:
    """Import from here, as `python` does of a script's folder."""
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))


class _AsWritten(importlib.machinery.SourceFileLoader):
    """Compiles the file, as `python` does of a script; a compiled copy may be of what it was a second ago."""

    def get_code(self, fullname: str) -> CodeType:
        """See `importlib.abc.InspectLoader.get_code`."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _file(file: Path) -> ModuleType:
    name = inspect.getmodulename(str(file)) or file.stem
    spec = importlib.util.spec_from_file_location(name, file, loader=_AsWritten(name, str(file)))
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
