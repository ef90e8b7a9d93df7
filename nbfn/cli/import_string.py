"""Resolves references such as ``path.py::app.function``: imports the file or module and finds the object."""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.util
import inspect
import json
import linecache
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import click

from nbfn._names import app_name_of, normalize
from nbfn.api.app import App
from nbfn.api.cls import Cls
from nbfn.api.description import describe
from nbfn.api.entrypoint import LocalEntrypoint
from nbfn.api.function import Function
from nbfn.cli import user_traceback
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
        apps = _apps(self.module)
        if self.path and (found := self._app_of_path(apps.values())) is not None:
            return found
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

    def _named(self, app: App, path: tuple[str, ...], known: Mapping[str, Any]) -> Any:
        """Return the runnable of an App that a path names."""
        name = ".".join(path)
        if name in known:
            return known[name]
        named = getattr(self.module, path[0], None)  # the name of a variable
        if len(path) == 1 and isinstance(named, Function | LocalEntrypoint):
            return named
        raise NotFoundError(f"{self.text}: {app!r} has no {name!r} ({_list_names(known)}).")

    def _app_of_path(self, apps: Iterable[App]) -> App | None:
        """Return the App that the path names, or that has what it names."""
        named = getattr(self.module, self.path[0], None)
        if isinstance(named, App):
            return named
        names = {self.path[0], ".".join(self.path)}
        return next((app for app in apps if names & _runnables(app).keys()), None)

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
            return app, self._named(app, path, known)
        entrypoints = list(app.registered_entrypoints.values())
        choices = entrypoints or list(known.values())
        if len(choices) == 1:
            return app, choices[0]
        if not known:
            raise NotFoundError(f"{self.text}: {app!r} has nothing to run.")
        raise NotFoundError(
            f"{self.text}: name what to run, as {self.text}::NAME ({_list_names(known)})."
        )


def _list_names(known: Mapping[str, Any]) -> str:
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
    _check_file(file, location, text)
    _prepend_to_path(file.resolve().parent)
    if file.suffix == ".ipynb":
        return Reference(text, _import(run, file, read(file)), path)
    return Reference(text, _import(_import_file, file.resolve()), path)


def _check_file(file: Path, location: str, text: str) -> None:
    if file.suffix not in (".py", ".ipynb"):
        hint = f" For a module: -m {text}." if not file.exists() else ""
        raise InvalidError(f"{location} is neither a .py nor an .ipynb file.{hint}")
    if not file.is_file():
        raise NotFoundError(f"There is no file {location}.")


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


# --- notebooks -----------------------------------------------------------------------------------

#: The cell magics of nbfn.
_MAGIC = re.compile(r"%%(?:remote|nbfn)\b(.*)")


def read(file: Path) -> list[str]:
    """Return the sources of a notebook's code cells.

    Raises:
        InvalidError: If the file is not a notebook.
    """
    try:
        cells = json.loads(file.read_text("utf-8"))["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidError(f"{file} is not a notebook: {error!r}.") from None


def run(file: Path, sources: Sequence[str]) -> ModuleType:
    """Run a notebook's code cells and return the resulting module.

    Args:
        file: The notebook.
        sources: The sources of its code cells, as `read` returns them.

    Raises:
        InvalidError: If a ``%%remote`` cell is not valid.
        Exception: Any exception that a cell raises.
    """
    name = re.sub(r"\W+", "_", normalize(file.stem)).strip("_") or "notebook"
    if name[0].isdigit():
        name = f"_{name}"
    # Not in sys.modules, so that its code is pickled by value: workers cannot import a notebook.
    module = ModuleType(name)
    module.__file__ = str(file.resolve())
    runner = _CellRunner(module, app_name_of(str(file)) or name)
    for number, text in enumerate(sources, 1):
        runner.run(text, f"<{file.name}, code cell {number}>")
    return module


class _CellRunner:
    """Runs cells in the namespace of a module."""

    def __init__(self, module: ModuleType, app_name: str) -> None:
        self._names = vars(module)
        self._app_name = app_name
        self._apps: dict[str, App] = {}

    def run(self, text: str, filename: str) -> None:
        """Run one cell."""
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
        stripped = text.lstrip()
        first, _, body = stripped.partition("\n")
        if match := _MAGIC.match(first):
            self._remote(
                match[1], body, text.count("\n", 0, len(text) - len(stripped)) + 2, filename
            )
        elif not stripped.startswith("%%"):
            self._execute(_without_magics(text, filename), filename)

    def _remote(self, line: str, body: str, first_line: int, filename: str) -> None:
        from IPython.core.error import UsageError

        from nbfn.jupyter.cells import cell_registration
        from nbfn.jupyter.cells.cell_parser import CellError, FunctionCell, parse
        from nbfn.jupyter.magics import cell_magic

        try:
            options = cell_magic.parsed(cell_magic.RemoteMagics.remote.parser, line)
            cell = parse(body, first_line=first_line, filename=filename)
            if not isinstance(cell, FunctionCell):
                return
            wanted = cell_registration.CellOptions.of(options, cell)
        except (UsageError, CellError) as error:
            raise InvalidError(f"{filename}: {error}") from None
        app = self._app(options.app or self._app_name)
        self._execute(cell.tree, filename)
        for name in cell.public:
            make = app.function(name=wanted.rename or name, **wanted.options)
            self._names[name] = make(cell_registration.with_plain_name(self._names[name]))
        for name in cell.classes:
            self._names[name] = app.cls(**wanted.options)(self._names[name])

    def _app(self, name: str) -> App:
        if name not in self._apps:
            app = self._apps[name] = App(name)
            suffix = re.sub(r"\W", "_", name)
            variable = "app" if "app" not in self._names else f"app_{suffix}"
            self._names[variable] = app
        return self._apps[name]

    def _execute(self, tree: ast.Module, filename: str) -> None:
        exec(compile(tree, filename, "exec", dont_inherit=True), self._names)  # noqa: S102 - the user's code


def _without_magics(text: str, filename: str) -> ast.Module:
    """Return the syntax tree of a cell without magics and ``!commands``."""
    from IPython.core.inputtransformer2 import TransformerManager

    transformed = TransformerManager().transform_cell(text)  # type: ignore[no-untyped-call]
    tree = ast.parse(transformed, filename)
    tree.body = [statement for statement in tree.body if not _is_magic(statement)]
    return tree


def _is_magic(statement: ast.stmt) -> bool:
    return any(
        isinstance(node, ast.Name) and node.id == "get_ipython" for node in ast.walk(statement)
    ) and not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
