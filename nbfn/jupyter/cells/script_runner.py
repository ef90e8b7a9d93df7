"""Runs a script cell: evaluates its inputs, creates its Function, and binds its outputs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from IPython.core.error import UsageError

from nbfn.api.app import App
from nbfn.api.call import FunctionCall
from nbfn.api.function import Function
from nbfn.jupyter.cells import script_cell, source
from nbfn.jupyter.cells.cell_registration import CellOptions
from nbfn.jupyter.cells.script_cell import ScriptCell, ScriptResult
from nbfn.runtime.byte_size import format_bytes
from nbfn.runtime.time_span import format_span

#: Name of a script's Function if the cell has no NAME.
ANONYMOUS = "cell"


class ScriptRunner:
    """Runs one script cell.

    Args:
        shell: The IPython shell; inputs are read from its namespace, and outputs are bound there.
        cell: The script.
        where: The cell's file name and position.
        cell_options: The options of the magic's line.
        given: The ``-i`` arguments.
        outputs: The ``-o`` names.

    Raises:
        UsageError: If an argument is not a name, or the name does not exist.
    """

    def __init__(
        self,
        shell: Any,
        cell: ScriptCell,
        where: source.CellSource,
        cell_options: CellOptions,
        given: Sequence[str],
        outputs: Sequence[str],
    ) -> None:
        self._shell = shell
        self._options = cell_options
        self.inputs = read_inputs(given, shell.user_ns)
        self.outputs = tuple(outputs)
        self._silent = cell.silent
        for name in self.outputs:
            if not name.isidentifier():
                raise UsageError(f"-o {name} is not a name.")
            if name not in cell.assigned and name not in self.inputs:
                raise UsageError(f"-o {name}: the cell does not assign {name!r}.")
        self.name = cell_options.rename or ANONYMOUS
        kept = {
            name: script_cell.Required() if script_cell.too_large(value) else value
            for name, value in self.inputs.items()
        }
        self.raw = script_cell.create_function(
            cell, self.name, kept, self.outputs, shell.user_ns, where.filename
        )

    def register(self) -> Function[..., Any]:
        """Create the Function and deploy it if it has a name.

        Returns:
            The Function.
        """
        app = App(self._options.app if self._options.rename else None)
        options = self._options.options
        if (
            not self._options.rename and "cpu" not in options
        ):  # runs once, so it may use all processors
            options = {"max_containers": 1, **options}
        function = app.function(name=self.name, **options)(self.raw)
        if self._options.rename:
            self._options.deploy(app)
            self._shell.user_ns[self.name] = function
        return function

    def begin(self, function: Function[..., Any]) -> FunctionCall[Any]:
        """Spawn a call with the inputs and return its handle."""
        return function.spawn(**self.inputs)

    def run(self, function: Function[..., Any] | None) -> Any:
        """Run the script, bind its outputs, and display the value of its last expression.

        Args:
            function: The Function; None runs the script in the notebook.
        """
        __tracebackhide__ = True
        asked = {**self.inputs, script_cell.ASKED: True}
        try:
            ran: ScriptResult = self.raw(**asked) if function is None else function.remote(**asked)
        except UnboundLocalError as error:
            self._hint(error)
            raise
        self._shell.user_ns.update(zip(self.outputs, ran.outputs, strict=True))
        if ran.last is not None and not self._silent:
            self._shell.displayhook(ran.last)
        print(_last_line(ran))  # noqa: T201 - the cell's own output
        return None

    def _hint(self, error: UnboundLocalError) -> None:
        """Add a note that -i passes the value of a name that the script also assigns."""
        found = re.search(r"local variable '(\w+)'", str(error))
        if found is not None and found[1] in self._shell.user_ns and found[1] not in self.inputs:
            error.add_note(
                f"The cell assigns {found[1]}, so it does not use the notebook's value; add -i {found[1]}."
            )


def _last_line(ran: ScriptResult) -> str:
    peak = format_bytes(ran.peak)
    where, stayed = (
        (f"on {ran.worker[:9]}", "stayed remote") if ran.worker else ("here", "stayed in the cell")
    )
    line = f"ran {where} · {format_span(ran.seconds)} · peak {peak} · {ran.call[:9]}".rstrip(" ·")
    if ran.stayed:
        names = ", ".join(f"`{name}`" for name in ran.stayed[:8])
        more = ", …" if len(ran.stayed) > 8 else ""
        line += f"\n{names}{more} {stayed}; add -o {ran.stayed[-1]}"
    return line


def read_inputs(given: Sequence[str], names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of ``-i NAME`` and ``-i NAME=EXPR`` arguments.

    Args:
        given: The arguments.
        names: The notebook's namespace.

    Returns:
        The values, by name.

    Raises:
        UsageError: If a name is not valid or does not exist, or its expression fails.
    """
    found: dict[str, Any] = {}
    for word in given:
        name, equals, expression = word.partition("=")
        if not re.fullmatch(r"[^\W\d]\w*", name):
            raise UsageError(f"-i {word}: {name!r} is not a name. Write -i NAME or -i NAME=EXPR.")
        try:
            found[name] = eval(expression if equals else name, dict(names))  # noqa: S307 - the user's own
        except NameError as error:
            raise UsageError(f"-i {word}: {error}.") from None
        except Exception as error:  # noqa: BLE001 - whatever the expression does
            raise UsageError(f"-i {word}: {type(error).__name__}: {error}") from None
    return found
