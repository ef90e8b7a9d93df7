"""A cell that is a script: it runs once, remotely, as the body of a function that is made for it.

The ``-i`` names become parameters, whose defaults are their values now; the ``-o`` names are what
is returned. With a NAME the function stays, as a Function of the notebook's App.
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

#: Bytes of a value that is still kept as a parameter's default; what is larger must be given.
LARGEST_DEFAULT = 1024 * 1024
#: Says to the function that its own cell calls it, which wants to know more than the ``-o`` names.
ASKED = "__nbfn_asked__"
_LAST, _BEGAN, _VALUES = "__nbfn_last__", "__nbfn_began__", "__nbfn_values__"


@dataclass(frozen=True, slots=True)
class ScriptCell:
    """A cell that runs as it stands.

    Attributes:
        tree: Its statements; line numbers are those of the notebook's cell.
        assigned: The names that it assigns, imports and loop variables left out.
        local: What stands below the ``%local`` line, or "".
        local_line: Where that begins in the cell.
        silent: Whether it ends with a semicolon, so that its value is not shown.
    """

    tree: ast.Module
    assigned: tuple[str, ...]
    local: str = ""
    local_line: int = 0
    silent: bool = False

    @property
    def awaits(self) -> bool:
        """Whether something is awaited at its top level, as cells may."""
        return has_await(self.tree)


class Required:
    """The default of a parameter that must be given: its value was too large to be kept."""

    def __repr__(self) -> str:
        return "<must be given>"


@dataclass(frozen=True, slots=True)
class ScriptResult:
    """What a script's own cell is told of its run.

    Attributes:
        outputs: The values of the ``-o`` names.
        last: The value of the last expression, None where there is none.
        stayed: Names that were assigned and not asked for.
        worker: The worker's id, "" when it ran here.
        seconds: How long the body ran.
        peak: The most memory that the worker held, in bytes.
        call: The call's id, "" when it ran here.
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
    """Return the script that a cell's statements are.

    Args:
        tree: The statements.
        text: They as they were written.
        local: What stands below the ``%local`` line.
        local_line: Where that begins.
        filename: What errors name.

    Raises:
        SyntaxError: If they cannot stand in a cell, as ``return`` cannot.
    """
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    compile(tree, filename, "exec", flags, dont_inherit=True)  # a function's body may hold more
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
    """Make the function whose body a script is.

    Args:
        cell: The script.
        name: What it is called.
        inputs: The parameters, with the values that are their defaults.
        outputs: The names whose values it returns, one alone or several as a tuple.
        names: The notebook's names, which it sees as globals.
        filename: What tracebacks call the cell.

    Returns:
        The function, a coroutine function where the script awaits; it also takes the keyword `ASKED`
        and then returns a `ScriptResult`.
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
    """Return the imports of ``__future__``, and the rest as it can stand in a function."""
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
    """Do ``from name import *``, which a function's body may not hold."""
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
    """Refuse a call that leaves out what must be given.

    Raises:
        TypeError: Names the parameters.
    """
    __tracebackhide__ = True
    if missing := [p for p, value in given.items() if isinstance(value, Required)]:
        raise TypeError(
            f"{name}() needs {', '.join(missing)}: too large to be kept as a default when its cell ran."
        )


def returned(
    name: str, values: Mapping[str, Any], outputs: Sequence[str], kept: Sequence[str]
) -> Any:
    """Return what a script's function returns.

    Raises:
        NameError: If the script has not assigned a name that was asked for.
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
    """Return whether a value is too large to be a default."""
    size = getattr(value, "nbytes", None)
    if isinstance(size, int):
        return size > LARGEST_DEFAULT
    if isinstance(value, bytes | bytearray | str):
        return len(value) > LARGEST_DEFAULT
    try:
        return len(pickle.dumps(value, protocol=5)) > LARGEST_DEFAULT
    except Exception:  # noqa: BLE001 - what plain pickle cannot take holds code, not data
        return False
