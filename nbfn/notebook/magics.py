"""``%%remote``: a cell becomes Functions. Parses the line, calls the API, displays a card."""

from __future__ import annotations

import argparse
import contextlib
import difflib
from collections.abc import Iterator
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

from nbfn.exception import Error

from . import card, cells, source
from .register import Registrar, Wanted, default_app_name

if TYPE_CHECKING:
    from .progress import NotebookObserver


@magics_class
class RemoteMagics(Magics):
    """The magics of nbfn.

    Args:
        shell: The IPython shell.
        observer: Is told which Functions show no progress.
    """

    def __init__(self, shell: Any, observer: NotebookObserver) -> None:
        super().__init__(shell)
        self.registrar = Registrar(shell)
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
    @argument("--quiet", action="store_true", help="No card, and no progress of maps.")
    @argument("--dry-run", action="store_true", help="Only list what would be shipped.")
    @no_var_expand
    @output_can_be_silenced
    @cell_magic
    def remote(self, line: str, cell: str) -> Any:
        """Make the defs of this cell Functions that run on the nbfn hub's workers.

        Each public def is registered and deployed at once; helpers (``_name``), imports and
        constants travel along. Below a line that says ``%local``, code runs here.
        """
        __tracebackhide__ = True
        with _one_line_errors():
            options = parsed(RemoteMagics.remote.parser, line)
            app = options.app or default_app_name()
            where = source.locate(self.shell, "remote", line, cell, label=app)
            found = cells.parse(cell, first_line=where.first_line, filename=where.filename)
            wanted = Wanted.of(options, found)
            if options.dry_run:
                self._show(self.registrar.rehearse(found, where, wanted))
                return None
            made = self.registrar.register(found, where, wanted)
        for one in made:
            key = (one.app, one.name)
            (self._observer.quiet.add if options.quiet else self._observer.quiet.discard)(key)
        if not options.quiet:
            self._show(made)
        return source.run_here(self.shell, found.local, where, found.local_line)

    @staticmethod
    def _show(cards: list[card.Card]) -> None:
        display(card.bundle(cards), raw=True)


# The same under a second name: other packages also have a %%remote. After the class, because the
# parser is made by the decorators above.
RemoteMagics.magics["cell"]["nbfn"] = "remote"


def load_ipython_extension(shell: Any) -> None:
    """Do ``%load_ext nbfn``."""
    from . import load

    with _one_line_errors():  # a setting that cannot be read, say
        load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Do ``%unload_ext nbfn``."""
    from . import unload

    unload(shell)


def parsed(parser: Any, line: str) -> argparse.Namespace:
    """Parse a magic's line.

    Raises:
        UsageError: If an option is unknown (with the nearest known one) or a value does not fit.
    """
    known = [name for action in parser._actions for name in action.option_strings]
    for word in arg_split(line):
        name = word.partition("=")[0]
        if name.startswith("--") and not any(option.startswith(name) for option in known):
            near = difflib.get_close_matches(name[2:], [option[2:] for option in known], 1)
            hint = f"Did you mean --{near[0]}?" if near else f"Options are {', '.join(known)}."
            raise UsageError(f"%%remote has no option {name}. {hint}")
    options: argparse.Namespace = parser.parse_argstring(line)
    for name in ("name", "app"):
        if (value := getattr(options, name)) and value[0] == value[-1] in "'\"":
            setattr(options, name, value[1:-1])  # IPython leaves quotes where they are
    least = {"warm": 0, "max": 1, "buffer": 0, "retries": 0}
    for name, bound in least.items():
        value = getattr(options, name)
        if value is not None and value < bound:
            raise UsageError(f"--{name} is {value}; it must be {bound} or more.")
    for name in ("idle", "timeout"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise UsageError(f"--{name} is {value:g}; it must be more than 0 seconds.")
    return options


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Say what is wrong with the cell in one line, without a traceback."""
    try:
        yield
    except (cells.CellError, Error) as error:
        raise UsageError(str(error)) from None
