"""The ``%%remote`` magic: parses its options, registers the Functions of the cell, or runs it as a script."""

from __future__ import annotations

import argparse
import difflib
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import (
    Magics,
    cell_magic,
    magics_class,
    no_var_expand,
    output_can_be_silenced,
)
from IPython.core.magic_arguments import argument, magic_arguments
from IPython.display import display
from IPython.utils.process import arg_split  # type: ignore[attr-defined]

from nbfn.declarations.pool_settings import check_count, check_pool_setting
from nbfn.exception import InvalidError
from nbfn.jupyter.cells import registration_summary, source
from nbfn.jupyter.cells.cell_parser import FunctionCell, parse
from nbfn.jupyter.cells.cell_registration import (
    POOL_OPTIONS,
    CellOptions,
    CellRegistrar,
    default_app_name,
)
from nbfn.jupyter.cells.magic_defaults import Defaults
from nbfn.jupyter.cells.script_cell import ScriptCell
from nbfn.jupyter.cells.script_runner import ScriptRunner
from nbfn.jupyter.magics.line_magics import one_line_errors
from nbfn.jupyter.magics.subcommands import plain
from nbfn.runtime.byte_size import parse_mebibytes

if TYPE_CHECKING:
    from nbfn.jupyter.observer import NotebookObserver


@magics_class
class RemoteMagics(Magics):
    """The cell magic ``%%remote``, also named ``%%nbfn``.

    Args:
        shell: The IPython shell.
        observer: Its ``quiet`` contains the Functions that show no progress.
    """

    def __init__(self, shell: Any, observer: NotebookObserver) -> None:
        super().__init__(shell)
        self.registrar = CellRegistrar(shell)
        self.defaults = Defaults(_check_defaults)
        self._observer = observer

    @magic_arguments("%remote")  # IPython puts another % before it
    @argument("name", nargs="?", metavar="NAME", help="Name of the Function; default: the def's.")
    @argument("--app", help="App to register in; default: the notebook's file name.")
    @argument("--warm", type=int, metavar="N", help="Workers kept ready while nothing runs.")
    @argument("--max", type=int, metavar="N", help="Most workers at a time.")
    @argument("--buffer", type=int, metavar="N", help="Extra idle workers while calls run.")
    @argument("--idle", type=float, metavar="S", help="Seconds an idle worker is kept.")
    @argument("--timeout", type=float, metavar="S", help="Seconds one input may run.")
    @argument("--retries", type=int, metavar="N", help="Times a failed input runs again.")
    @argument("--cpu", type=float, metavar="N", help="Cores each worker needs.")
    @argument("--memory", metavar="8G", help="Memory reserved for each worker.")
    @argument("--gpu", metavar="N", help="GPUs each worker needs: a number, or a kind like A100:2.")
    @argument("--concurrency", type=int, metavar="N", help="Inputs each worker runs at once.")
    @argument("--callback-url", metavar="URL", help="Address to post to when a call ends.")
    @argument("--env", metavar="ENV", help="Environment to deploy in; default: main.")
    @argument(
        "--set-env",
        dest="variables",
        action="append",
        metavar="NAME=VALUE",
        help="An environment variable of the workers; may be given several times.",
    )
    @argument(
        "-i",
        dest="inputs",
        action="append",
        default=[],
        metavar="NAME[=EXPR]",
        help="Script cells: a value to send, a parameter of NAME; may be given several times.",
    )
    @argument(
        "-o",
        dest="outputs",
        action="append",
        default=[],
        metavar="NAME",
        help="Script cells: a name whose value is returned; may be given several times.",
    )
    @argument("--no-run", action="store_true", help="Script cells: only create the Function NAME.")
    @argument("--bg", action="store_true", help="Script cells: return a handle at once.")
    @argument("--local", action="store_true", help="Run or define it in the notebook instead.")
    @argument("--take-over", action="store_true", help="Replace what another notebook registered.")
    @argument("--quiet", action="store_true", help="No summary, and no progress of maps.")
    @argument("--notify", action="store_true", help="Show a notification when a long call ends.")
    @argument("--dry-run", action="store_true", help="Only list what would be registered.")
    @no_var_expand
    @output_can_be_silenced
    @cell_magic
    def remote(self, line: str, cell: str) -> Any:
        """Run this cell on the nbfn hub's workers.

        In a cell with functions, each public one becomes a Function, which is registered and deployed at
        once; helpers (``_name``), imports and constants are pickled with it. Any other cell is a script: it
        runs once, remotely, with the ``-i`` values, and returns its ``-o`` names; with a NAME it is also a
        Function. Code below a ``%local`` line runs in the notebook.
        """
        __tracebackhide__ = True
        with one_line_errors():
            own = parsed(RemoteMagics.remote.parser, line)
            options = parsed(RemoteMagics.remote.parser, self.defaults.line(line))
            app = options.app or default_app_name()
            where = source.locate(self.shell, "remote", line, cell, label=app)
            found = parse(cell, first_line=where.first_line, filename=where.filename)
            check_kind(own if isinstance(found, FunctionCell) else options, found)
            source.check_local(self.shell, found.local)
            cell_options = CellOptions.of(options, found, own)
        do = self._define if isinstance(found, FunctionCell) else self._perform
        if not do(found, where, cell_options, options):  # type: ignore[arg-type]
            return None
        return source.run_local(self.shell, found.local, where, found.local_line)

    def _define(
        self,
        cell: FunctionCell,
        where: source.CellSource,
        cell_options: CellOptions,
        options: argparse.Namespace,
    ) -> bool:
        """Register a function cell; return whether to run the code below ``%local``."""
        __tracebackhide__ = True
        if options.local:
            exec(source.compile_tree(cell.tree, where.filename), self.registrar.names)  # noqa: S102 - the user's own cell
            return True
        with one_line_errors():
            if options.dry_run:
                self._show(self.registrar.dry_run(cell, where, cell_options))
                return False
            made = self.registrar.register(cell, where, cell_options)
        self._remember(made, options)
        return True

    def _perform(
        self,
        cell: ScriptCell,
        where: source.CellSource,
        cell_options: CellOptions,
        options: argparse.Namespace,
    ) -> bool:
        """Run a script cell; return whether to run the code below ``%local``."""
        __tracebackhide__ = True
        with one_line_errors():
            script = ScriptRunner(
                self.shell, cell, where, cell_options, options.inputs, options.outputs
            )
            if options.dry_run:
                self._show(
                    [self.registrar.dry_run_summary(script.name, script.raw, cell_options.app)]
                )
                return False
            function = None if options.local else script.register()
        if function is not None and cell_options.rename:
            self._remember([self.registrar.summary(function)], options)
        else:
            self._choose({("", script.name)}, options)
        if options.bg and function is not None:
            shell: Any = self.shell
            shell.displayhook(script.begin(function))  # `_` and Out[n] are the handle
        elif not options.no_run:
            self._observer.script = (cell_options.app if cell_options.rename else "", script.name)
            try:
                script.run(function)
            finally:
                self._observer.script = None
        return True

    def _remember(
        self, made: list[registration_summary.Summary], options: argparse.Namespace
    ) -> None:
        """Tell the observer which Functions are quiet and which notify, and display their summaries."""
        self._choose({(one.app, one.name) for one in made}, options)
        if not options.quiet:
            self._show(made)

    def _choose(self, functions: set[tuple[str, str]], options: argparse.Namespace) -> None:
        """Tell the observer whether Functions, given by App and name, are quiet, and whether they notify."""
        chosen = ((self._observer.quiet, options.quiet), (self._observer.notified, options.notify))
        for names, on in chosen:
            (names.update if on else names.difference_update)(functions)

    @staticmethod
    def _show(cards: list[registration_summary.Summary]) -> None:
        display(registration_summary.bundle(cards), raw=True)


# A second name, since other packages also have a %%remote. Set after the class, because the
# decorators above create the parser.
RemoteMagics.magics["cell"]["nbfn"] = "remote"


def _check_defaults(words: str) -> None:
    given = parsed(RemoteMagics.remote.parser, words)
    for name, value in (("NAME", given.name), ("-i", given.inputs), ("-o", given.outputs)):
        if value:
            raise UsageError(f"{name} belongs to one cell, so it cannot be a default.")


def parsed(parser: Any, line: str) -> argparse.Namespace:
    """Parse the line of a magic.

    Args:
        parser: The magic's parser.
        line: The line.

    Returns:
        The options.

    Raises:
        UsageError: If an option is unknown (suggests a similar one) or a value is not valid.
    """
    _check_options(parser, line)
    try:
        options: argparse.Namespace = parser.parse_argstring(line)
    except UsageError as error:
        raise UsageError(f"{plain(str(error))}.") from None
    for name in ("name", "app"):
        if (value := getattr(options, name)) and value[0] == value[-1] in "'\"":
            setattr(options, name, value[1:-1])  # IPython does not remove quotes
    if options.env and "=" in options.env:
        raise UsageError(
            f"--env is the environment to deploy in, and {options.env} is not a name. "
            f"For a variable of the workers write --set-env {options.env}."
        )
    if options.variables is not None:
        options.variables = dict(map(_variable, options.variables))
    _check_numbers(options)
    return options


def _check_options(parser: Any, line: str) -> None:
    known = [name for action in parser._actions for name in action.option_strings]
    for word in arg_split(line):
        name = word.partition("=")[0]
        if name.startswith("--") and not any(option.startswith(name) for option in known):
            near = difflib.get_close_matches(name[2:], [option[2:] for option in known], 1)
            hint = f"Did you mean --{near[0]}?" if near else f"Options are {', '.join(known)}."
            raise UsageError(f"%%remote has no option {name}. {hint}")


def _variable(text: str) -> tuple[str, str]:
    if text[0] == text[-1] in "'\"":
        text = text[1:-1]
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"--set-env is {text}; write NAME=VALUE.")
    quoted = len(value) > 1 and value[0] == value[-1] in "'\""
    return name, value[1:-1] if quoted else value


def _check_numbers(options: argparse.Namespace) -> None:
    try:
        for name, setting in POOL_OPTIONS.items():
            if (value := getattr(options, name)) is not None:
                check_pool_setting(setting, value, shown=f"--{name}")
        for name, least in (("retries", 0), ("concurrency", 1)):
            if (value := getattr(options, name)) is not None:
                check_count(f"--{name}", value, least)
    except InvalidError as error:
        raise UsageError(str(error)) from None
    for name in ("timeout", "cpu"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            unit = "" if name == "cpu" else " seconds"
            raise UsageError(f"--{name} is {value:g}; it must be more than 0{unit}.")
    _check_resources(options)


def _check_resources(options: argparse.Namespace) -> None:
    if options.memory is not None:
        try:
            options.memory = parse_mebibytes(options.memory)
        except ValueError as error:
            raise UsageError(f"--memory {options.memory} is not valid. {error}") from None
    if options.gpu is not None:
        options.gpu = f"any:{options.gpu}" if options.gpu.isdigit() else options.gpu


def check_kind(options: argparse.Namespace, cell: FunctionCell | ScriptCell) -> None:
    """Check that options fit the kind of cell.

    Args:
        options: The options.
        cell: The cell.

    Raises:
        UsageError: If an option is for the other kind of cell, or excludes another one.
    """
    if isinstance(cell, FunctionCell):
        _check_function_cell(options, cell)
    elif options.no_run and not options.name:
        raise UsageError("--no-run needs a NAME, under which the Function is registered.")
    elif options.bg and options.outputs:
        raise UsageError(
            "-o needs the result, and --bg does not wait for it: call get() on the handle."
        )
    elif options.local and cell.awaits:
        raise UsageError(
            "--local runs the cell where await is not possible. Run it without %%remote."
        )
    elif options.bg and options.local:
        raise UsageError("--bg and --local exclude each other: local code runs at once.")


def _check_function_cell(options: argparse.Namespace, cell: FunctionCell) -> None:
    only = {
        "-i": options.inputs,
        "-o": options.outputs,
        "--no-run": options.no_run,
        "--bg": options.bg,
    }
    if wrong := [name for name, value in only.items() if value]:
        raise UsageError(
            f"{wrong[0]} is for cells that run; this one defines {', '.join(cell.names)}."
        )
