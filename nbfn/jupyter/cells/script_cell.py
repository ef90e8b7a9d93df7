"""Script cells: a cell without definitions runs once, remotely, as the body of a function.

The ``-i`` names become parameters whose defaults are their current values. The function returns the
values of the ``-o`` names. With a NAME, it is also registered as a Function of the notebook's App.

Code of stored Functions calls `check`, `returned` and `star` by these names.
"""

from __future__ import annotations

import ast
import inspect
import io
import os
import pickle
import resource
import time
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from nbfn import context
from nbfn.jupyter.cells.source import compile_tree, has_await
from nbfn.runtime.peak_memory import peak_memory

#: Largest size of a value that is stored as a parameter's default; larger values must be given.
LARGEST_DEFAULT = 1024 * 1024
#: Parameter by which the cell itself requests a `ScriptResult` instead of the ``-o`` values.
ASKED = "__nbfn_asked__"
_LAST, _BEGAN, _VALUES = "__nbfn_last__", "__nbfn_began__", "__nbfn_values__"


@dataclass(frozen=True, slots=True)
class ScriptCell:
    """A cell without definitions.

    Attributes:
        tree: Its statements; line numbers are those of the notebook's cell.
        assigned: The names that it assigns, without imports and loop variables.
        local: The code below the ``%local`` line, or "".
        local_line: The line of the cell where that code begins.
        silent: Whether it ends with a semicolon, so that its value is not displayed.
    """

    tree: ast.Module
    assigned: tuple[str, ...]
    local: str = ""
    local_line: int = 0
    silent: bool = False

    @property
    def awaits(self) -> bool:
        """Whether it has ``await`` at its top level, as cells may."""
        return has_await(self.tree)


class Required:
    """The default of a parameter that must be given, because its value was too large to be stored."""

    def __repr__(self) -> str:
        return "<must be given>"


@dataclass(frozen=True, slots=True)
class ScriptResult:
    """The result of a script, for the cell that ran it.

    Attributes:
        outputs: The values of the ``-o`` names.
        last: The value of the last expression; None if there is none.
        stayed: Names that were assigned and are not ``-o`` names.
        worker: The worker's id; "" if it ran in the notebook.
        seconds: How long the body ran.
        peak: The peak memory of the worker, in bytes.
        call: The call's id; "" if it ran in the notebook.
    """

    outputs: tuple[Any, ...]
    last: Any
    stayed: tuple[str, ...]
    worker: str
    seconds: float
    peak: int
    call: str = ""


def create_script(
    tree: ast.Module, text: str, local: str, local_line: int, filename: str
) -> ScriptCell:
    """Return the script of a cell.

    Args:
        tree: The statements.
        text: Their source.
        local: The code below the ``%local`` line.
        local_line: The line where that code begins.
        filename: The file name for error messages.

    Returns:
        The script.

    Raises:
        SyntaxError: If a statement is not allowed in a cell, such as ``return``.
    """
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    compile(
        tree, filename, "exec", flags, dont_inherit=True
    )  # stricter than the body of a function
    return ScriptCell(tree, assigned_names(tree), local, local_line, _ends_silently(text))


def _ends_silently(text: str) -> bool:
    kinds = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [token.string for token in tokens if token.type not in kinds][-1:] == [";"]


def assigned_names(tree: ast.Module) -> tuple[str, ...]:
    """Return the names that statements of a cell assign at its top level."""
    names: dict[str, None] = {}

    def visit(node: ast.AST) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Lambda():
                return
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                return
            case ast.For(target=target) | ast.AsyncFor(target=target):
                loop = {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}
                for part in (*node.body, *node.orelse):
                    visit(part)
                for name in loop:
                    names.pop(name, None)
                return
            case ast.Name(ctx=ast.Store()):
                names[node.id] = None
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return tuple(names)


def create_function(
    cell: ScriptCell,
    name: str,
    inputs: Mapping[str, Any],
    outputs: Sequence[str],
    names: dict[str, Any],
    filename: str,
) -> FunctionType:
    """Create the function whose body is a script.

    Args:
        cell: The script.
        name: The name of the function.
        inputs: The parameters, with their defaults.
        outputs: The names whose values it returns; several are returned as a tuple.
        names: The notebook's namespace, which is its globals.
        filename: The file name for tracebacks.

    Returns:
        The function; a coroutine function if the script has ``await``. With the keyword `ASKED`, it
        returns a `ScriptResult`.
    """
    module = _module(cell, name, inputs, outputs)
    made: dict[str, Any] = {}
    exec(compile_tree(module, filename), names, made)  # noqa: S102 - the user's own cell
    function = made[name]
    function.__defaults__ = tuple(inputs.values())
    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature(
        [inspect.Parameter(parameter, either, default=value) for parameter, value in inputs.items()]
    )
    assert isinstance(function, FunctionType)
    return function


def _module(
    cell: ScriptCell, name: str, inputs: Mapping[str, Any], outputs: Sequence[str]
) -> ast.Module:
    """Return the statements that define the function of a script."""
    kept = [name for name in cell.assigned if not name.startswith("_")]
    kind = "async def" if cell.awaits else "def"
    module = ast.parse(_TEMPLATE.format(kind=kind, name=name, kept=kept, outputs=list(outputs)))
    definition = module.body[0]
    assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)
    definition.args.args = [ast.arg(parameter) for parameter in inputs]
    futures, body = _parts(cell.tree)
    if body and isinstance(last := body[-1], ast.Expr):
        body[-1] = ast.copy_location(ast.Assign([ast.Name(_LAST, ast.Store())], last.value), last)
    # The template: check, clock, <body>, report, return.
    at = next(n for n, s in enumerate(definition.body) if isinstance(s, ast.Pass))
    definition.body[at : at + 1] = body
    module.body[:0] = futures
    return ast.fix_missing_locations(module)


def _parts(tree: ast.Module) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """Return the imports of ``__future__``, and the other statements in a form that a function may contain."""
    futures: list[ast.stmt] = []
    rest: list[ast.stmt] = []
    for statement in tree.body:
        match statement:
            case ast.ImportFrom(module="__future__"):
                futures.append(statement)
            case ast.ImportFrom(module=str(module), names=[ast.alias(name="*")], level=0):
                call = (
                    "__import__('nbfn.jupyter.cells.script_cell')"
                    f".jupyter.cells.script_cell.star({module!r}, globals())"
                )
                rest.append(ast.copy_location(ast.parse(call).body[0], statement))
            case _:
                rest.append(statement)
    return futures, rest


def star(name: str, names: dict[str, Any]) -> None:
    """Run ``from name import *``, which a function may not contain.

    Args:
        name: The module.
        names: The namespace to import into.
    """
    exec(f"from {name} import *", names)  # noqa: S102 - the user's own statement


_TEMPLATE = f"""\
{{kind}} {{name}}(*, {ASKED}=False):
    __import__("nbfn.jupyter.cells.script_cell").jupyter.cells.script_cell.check({{name!r}}, locals())
    {_LAST}, {_BEGAN} = None, __import__("time").perf_counter()
    pass
    {_VALUES} = locals()
    return __import__("nbfn.jupyter.cells.script_cell").jupyter.cells.script_cell.returned(
        {{name!r}}, {_VALUES}, {{outputs!r}}, {{kept!r}}
    )
"""


def check(name: str, given: Mapping[str, Any]) -> None:
    """Check that a call gives all parameters that have no stored default.

    Args:
        name: The name of the function.
        given: Its parameters.

    Raises:
        TypeError: If a parameter is missing.
    """
    __tracebackhide__ = True
    if missing := [p for p, value in given.items() if isinstance(value, Required)]:
        raise TypeError(
            f"{name}() needs {', '.join(missing)}: too large to be stored as a default when its cell ran."
        )


def returned(
    name: str, values: Mapping[str, Any], outputs: Sequence[str], kept: Sequence[str]
) -> Any:
    """Return the result of a script's function.

    Args:
        name: The name of the function.
        values: Its local variables at the end.
        outputs: The ``-o`` names.
        kept: The names that the script assigns.

    Returns:
        The values of the ``-o`` names, or a `ScriptResult`.

    Raises:
        NameError: If the script has not assigned an ``-o`` name.
    """
    __tracebackhide__ = True
    if missing := [output for output in outputs if output not in values]:
        raise NameError(f"{name} did not assign {', '.join(missing)}, which -o asks for.")
    found = tuple(values[output] for output in outputs)
    if values[ASKED]:
        return _result(values, found, [n for n in kept if n in values and n not in outputs])
    return found[0] if len(found) == 1 else found or None


def _result(
    values: Mapping[str, Any], found: tuple[Any, ...], stayed: Sequence[str]
) -> ScriptResult:
    return ScriptResult(
        found,
        values[_LAST],
        tuple(stayed),
        "" if context.is_local() else os.environ.get("MODAL_TASK_ID", ""),
        time.perf_counter() - values[_BEGAN],
        peak_memory(resource.getrusage(resource.RUSAGE_SELF)),
        context.current_function_call_id() or "",
    )


def too_large(value: Any) -> bool:
    """Return whether a value is too large to be stored as a default."""
    size = getattr(value, "nbytes", None)
    if isinstance(size, int):
        return size > LARGEST_DEFAULT
    if isinstance(value, bytes | bytearray | str):
        return len(value) > LARGEST_DEFAULT
    try:
        return len(pickle.dumps(value, protocol=5)) > LARGEST_DEFAULT
    except Exception:  # noqa: BLE001 - a value that plain pickle refuses contains code, not data
        return False
