"""The text of the cell that a magic is in, under the name that IPython gives it.

Code compiled with this name shows the user's own lines in tracebacks, as ``Cell In[12], line 4``.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from types import CodeType
from typing import Any


@dataclass(frozen=True, slots=True)
class CellSource:
    """Where a magic's body stands.

    Attributes:
        filename: What IPython calls the cell.
        first_line: The line of the cell where the body begins.
    """

    filename: str
    first_line: int


def locate(shell: Any, magic: str, line: str, body: str) -> CellSource:
    """Find the cell that holds a magic's body and make its text known to tracebacks.

    Args:
        shell: The running IPython shell.
        magic: The magic's name, its line and what stands below it.
        line: See there.
        body: See there.
    """
    whole = next(
        (
            text
            for text in _candidates(shell)
            if text.rstrip().endswith(body.rstrip()) and body.strip()
        ),
        f"%%{magic} {line}\n{body}",
    )
    above = whole.rstrip()[: len(whole.rstrip()) - len(body.rstrip())].count("\n")
    filename = shell.compile.cache(whole, shell.execution_count, raw_code=whole)
    return CellSource(filename, above + 1)


def _candidates(shell: Any) -> list[str]:
    found = []
    kernel = getattr(shell, "kernel", None)
    if kernel is not None:
        found.append((kernel.get_parent().get("content") or {}).get("code"))
    history = getattr(shell, "history_manager", None)
    found += list(getattr(history, "input_hist_raw", None) or [])[-1:]
    return [text for text in found if isinstance(text, str)]


def code_of(tree: ast.Module | ast.Expression, filename: str) -> CodeType:
    """Compile a tree of a cell, without this package's own ``__future__`` flags."""
    mode = "eval" if isinstance(tree, ast.Expression) else "exec"
    return compile(tree, filename, mode, dont_inherit=True)  # type: ignore[no-any-return,call-overload]


def run_here(shell: Any, text: str, source: CellSource, first_line: int) -> Any:
    """Run what stands below ``%local`` in the notebook, and return the value of its last expression."""
    __tracebackhide__ = True
    blank = len(text) - len(text.lstrip("\n"))
    plain = shell.transform_cell(text)  # magics and `!commands` are welcome here
    lines = "\n" * (first_line - 1 + blank)
    tree = shell.transform_ast(ast.parse(lines + plain, source.filename))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(code_of(tree, source.filename), shell.user_ns)  # noqa: S102 - the user's own cell
    if last is None:
        return None
    return eval(code_of(ast.Expression(last.value), source.filename), shell.user_ns)  # noqa: S307
