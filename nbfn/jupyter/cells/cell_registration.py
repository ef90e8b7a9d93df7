"""Registers and deploys the Functions of a cell and binds their names: all of a cell, or none."""

from __future__ import annotations

import argparse
import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from IPython.core.error import UsageError

from nbfn._names import app_name_of, check_name
from nbfn.api.app import App
from nbfn.api.cls import Cls
from nbfn.api.description import describe, hydrated
from nbfn.api.function import Function
from nbfn.client.process_info import this_notebook
from nbfn.declarations.partial_function import unwrap
from nbfn.exception import InvalidError
from nbfn.jupyter.cells import name_ownership, registration_summary, source
from nbfn.jupyter.cells.cell_parser import FunctionCell, plain_qualname
from nbfn.jupyter.cells.script_cell import ScriptCell
from nbfn.protocol.messages import new_id
from nbfn.runtime.byte_size import format_bytes
from nbfn.runtime.sync import run
from nbfn.serialization import function_pickling
from nbfn.serialization.dependencies import DependencySnapshot

#: The magic's short options for the pool, and what `App.function` calls them.
POOL_OPTIONS = {
    "warm": "min_containers",
    "max": "max_containers",
    "buffer": "buffer_containers",
    "idle": "scaledown_window",
}
_OPTIONS = {
    **POOL_OPTIONS,
    "timeout": "timeout",
    "retries": "retries",
    "cpu": "cpu",
    "memory": "memory",
    "gpu": "gpu",
    "concurrency": "allow_concurrent_inputs",
    "variables": "env",
    "callback_url": "callback_url",
}


@dataclass(frozen=True, slots=True)
class CellOptions:
    """The options of a cell, from the line of its magic.

    Attributes:
        app: The App to register in.
        rename: The name of the cell's only Function, or "".
        options: Options of `App.function`.
        environment_name: The environment to deploy in.
        take_over: Whether to replace Functions that other notebooks registered.
        deployed: Whether other notebooks find its Functions by name; false if the App has no name.
    """

    app: str
    rename: str
    options: dict[str, Any]
    environment_name: str | None = None
    take_over: bool = False
    deployed: bool = True

    @classmethod
    def of(
        cls,
        line: argparse.Namespace,
        cell: FunctionCell | ScriptCell,
        own: argparse.Namespace | None = None,
    ) -> CellOptions:
        """Return the options of a parsed line.

        Args:
            line: The options, with the notebook's defaults.
            cell: The cell.
            own: The options of the line alone, if the notebook has defaults.

        Returns:
            The options.

        Raises:
            UsageError: If an option does not fit the cell.
        """
        given = _given(line)
        app = check_name("The app's name", line.app or default_app_name())
        deployed = bool(line.app or this_notebook())
        made = (app, line.name or "", given, line.env, line.take_over, deployed)
        if isinstance(cell, FunctionCell):
            _check_names(cell, line, own or line)
        return cls(*made)

    def deploy(self, app: App) -> None:
        """Deploy an App in the environment of the line.

        Args:
            app: The App.

        Raises:
            ConflictError: If another notebook owns one of its names, and the line has no --take-over.
        """
        __tracebackhide__ = True
        if not self.deployed and app.name == self.app:
            app._scope.ephemeral_id = kernel_app_id()
            app._scope.environment_name = self.environment_name or ""
            for part in app._parts.values():
                part.hydrate()
            return
        if not self.take_over:
            app._scope.guard = name_ownership.guard(app.name or "", self.environment_name or "")
        # Functions of other cells in the same App stay deployed.
        run(app._deploy(environment_name=self.environment_name, partial=True))


def _check_names(cell: FunctionCell, line: argparse.Namespace, own: argparse.Namespace) -> None:
    if line.name and (len(cell.public) != 1 or cell.classes):
        names = ", ".join(cell.names)
        raise UsageError(f"NAME renames one def, and this cell has: {names}. Leave it out.")
    if (_given(own) or own.app) and not cell.public and not cell.classes:
        raise UsageError("Options of an @app.function(...) or @app.cls(...) go into its brackets.")


def _given(line: argparse.Namespace) -> dict[str, Any]:
    return {
        theirs: value
        for ours, theirs in _OPTIONS.items()
        if (value := getattr(line, ours)) is not None
    }


def default_app_name() -> str:
    """Return the notebook's file name without its suffix, or ``notebook`` if it is not known."""
    return app_name_of(this_notebook()) or "notebook"


@functools.cache
def kernel_app_id() -> str:
    """Return the id of this kernel's App, for kernels whose notebook is not known (nbconvert, papermill).

    Its Functions end with the kernel: under a name, they would replace those of another notebook.
    """
    return new_id("ap")


class CellRegistrar:
    """Registers cells of one notebook.

    Args:
        shell: The IPython shell; its namespace is the functions' globals, and their names are bound there.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell

    @property
    def names(self) -> dict[str, Any]:
        """The notebook's namespace."""
        found: dict[str, Any] = self._shell.user_ns
        return found

    def register(
        self, cell: FunctionCell, where: source.CellSource, cell_options: CellOptions
    ) -> list[registration_summary.Summary]:
        """Execute a cell's definitions, deploy them and bind their names.

        Args:
            cell: The cell.
            where: The cell's file name and position.
            cell_options: Its options.

        Returns:
            A summary of each Function.

        Raises:
            nbfn.exception.Error: If one cannot be registered; all names keep their old values then.
        """
        __tracebackhide__ = True
        names = self.names
        bound = (*cell.names, *cell.helpers)
        with _restored_on_error(names, bound):
            exec(source.compile_tree(cell.tree, where.filename), names)  # noqa: S102 - the user's own cell
            app = App(cell_options.app)
            for name in cell.public:
                raw = with_plain_name(names[name])
                names[name] = app.function(
                    name=cell_options.rename or name, **cell_options.options
                )(raw)
            for name in cell.classes:
                names[name] = app.cls(**cell_options.options)(names[name])
            if cell.public or cell.classes:
                cell_options.deploy(app)
            for expression in cell.apps:
                cell_options.deploy(_find_app(expression, names))
        made = [names[name] for name in cell.names]
        return [_summary(one) for one in made if isinstance(one, Function | Cls)]

    def dry_run(
        self, cell: FunctionCell, where: source.CellSource, cell_options: CellOptions
    ) -> list[registration_summary.Summary]:
        """Return the summaries that `register` would return, without registering anything.

        Args:
            cell: The cell.
            where: The cell's file name and position.
            cell_options: Its options.

        Returns:
            A summary of each Function, with its size.
        """
        __tracebackhide__ = True
        names = dict(self.names)
        exec(source.compile_tree(cell.tree, where.filename), names)  # noqa: S102 - the user's own cell
        cards = []
        for name in cell.names:
            found = names[name]
            raw: Any = (
                describe(found).definition
                if isinstance(found, Function | Cls)
                else unwrap(found)[0]
            )
            shown = cell_options.rename if name in cell.public and cell_options.rename else name
            cards.append(self.dry_run_summary(shown, with_plain_name(raw), cell_options.app))
        return cards

    @staticmethod
    def dry_run_summary(
        name: str, raw: Callable[..., Any], app: str
    ) -> registration_summary.Summary:
        """Return the summary of a function that is not registered.

        Args:
            name: Its name.
            raw: The function.
            app: The App it would be registered in.

        Returns:
            The summary.

        Raises:
            UsageError: If the function cannot be pickled.
        """
        snapshot = DependencySnapshot(raw)
        try:
            size = format_bytes(len(function_pickling.dump(name, raw, snapshot)[0]))
        except InvalidError as error:
            found = ", ".join(_captures(raw, snapshot)) or "nothing"
            raise UsageError(f"{error} It would capture: {found}.") from None
        undefined = tuple(snapshot.undefined)
        taken = _captures(raw, snapshot)
        return registration_summary.Summary(
            name, app, 0, True, 0, taken, would_be_size=size, undefined=undefined
        )

    @staticmethod
    def summary(function: Function[..., Any]) -> registration_summary.Summary:
        """Return the summary of a registered Function."""
        return _summary(function)


def with_plain_name(raw: Any) -> Any:
    """Return a function of a cell with its plain qualified name, also if `parse` enclosed it in another one."""
    if isinstance(raw, FunctionType):
        raw.__qualname__ = plain_qualname(raw.__qualname__)
        if hasattr(raw.__code__, "co_qualname"):
            raw.__code__ = raw.__code__.replace(co_qualname=raw.__qualname__)
    return raw


def _find_app(expression: str, names: dict[str, Any]) -> App:
    found = eval(expression, names)  # noqa: S307 - the user's own decorator, read again
    if not isinstance(found, App):
        raise UsageError(f"@{expression}.function(...): `{expression}` is not an nbfn.App.")
    return found


@contextlib.contextmanager
def _restored_on_error(names: dict[str, Any], touched: tuple[str, ...]) -> Iterator[None]:
    before = {name: names[name] for name in touched if name in names}
    try:
        yield
    except BaseException:
        for name in touched:
            names.pop(name, None)
        names.update(before)
        raise


def _summary(made: Function[..., Any] | Cls) -> registration_summary.Summary:
    state = hydrated(made)  # does nothing after a deploy, unless the hub has restarted since
    assert state.raw is not None
    assert state.snapshot is not None
    info = state.info
    return registration_summary.Summary(
        info.name,
        info.app,
        info.version,
        info.created,
        # A class with arguments has no pool of its own: the option is that of its instances.
        (info.pool.min_containers or 0) if info.takes_arguments else info.warm,
        _captures(state.raw, state.snapshot),
        info.signature,
        undefined=tuple(state.snapshot.undefined),
        deployed=info.app_id != kernel_app_id(),
    )


def _captures(raw: Callable[..., Any], snapshot: DependencySnapshot) -> tuple[str, ...]:
    values = {name: value for name, _, value in snapshot.found if value is not raw}
    found = [c for c in function_pickling.report(raw, snapshot) if c.name in values]
    return registration_summary.captures(found, values)
