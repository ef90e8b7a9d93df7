"""The text of the cell that a magic is in, under a name that IPython shows as that cell.

Code compiled with this name shows the user's own lines in tracebacks, as ``Cell In[12], line 4``.
The name is made of the text alone, not of the kernel's process as ipykernel's names are: the same
cell has the same bytes, and so the same version, also after a restart of the kernel.
"""

from __future__ import annotations

import ast
import hashlib
import linecache
import re
from dataclasses import dataclass
from types import CodeType
from typing import Any

from IPython.core.error import UsageError


@dataclass(frozen=True, slots=True)
class CellSource:
    """Where a magic's body stands.

    Attributes:
        filename: What tracebacks call the part that becomes Functions.
        local_filename: What they call the part that runs here: IPython's own name of the cell.
        first_line: The line of the cell where the body begins.
    """

    filename: str
    local_filename: str
    first_line: int


_LOCAL_LINE = re.compile(r"^%local[ \t]*(?:#.*)?(?:\n|\Z)", re.MULTILINE)


def split_local(body: str) -> tuple[str, str]:
    """Return what stands above and below a ``%local`` line; a line inside a string is none.

    Examples:
        >>> split_local("def f(): ...\\n%local  # here\\nf.remote()")
        ('def f(): ...\\n', 'f.remote()')
    """
    first = None
    for found in _LOCAL_LINE.finditer(body):
        parts = body[: found.start()], body[found.end() :]
        try:
            ast.parse(parts[0])
        except SyntaxError:
            first = first or parts
        else:
            return parts
    return first or (body, "")


def locate(shell: Any, magic: str, line: str, body: str, *, label: str) -> CellSource:
    """Find the cell that holds a magic's body and make its text known to tracebacks.

    Args:
        shell: The running IPython shell.
        magic: The magic's name, its line and what stands below it.
        line: See there.
        body: See there.
        label: Whose cell it is, for tracebacks in other notebooks.
    """
    wanted = body.rstrip()
    fallback = f"%%{magic} {line}\n{body}"
    whole = next(
        (t for t in _candidates(shell) if wanted and t.rstrip().endswith(wanted)), fallback
    )
    above = whole.rstrip()[: len(whole.rstrip()) - len(wanted)].count("\n")
    remote = split_local(body)[0].rstrip()
    # What the magic's line says is no part of the code.
    text = "\n" * (above - 1) + f"%%{magic}\n{remote}\n"
    name = f"<cell of {label} {hashlib.sha256(text.encode()).hexdigest()[:8]}>"
    numbers = getattr(shell.compile, "_filename_map", {})
    here = shell.compile.get_code_name(whole, whole, shell.execution_count - 1)
    number = numbers.get(here, shell.execution_count - 1)
    for file, content in ((name, text), (here, whole)):
        # As `CachingCompiler.cache` does, which knows names of its own making only.
        linecache.cache[file] = (len(content), None, content.splitlines(keepends=True), file)
        numbers[file] = number
    return CellSource(name, here, above + 1)


def _candidates(shell: Any) -> list[str]:
    found = []
    kernel = getattr(shell, "kernel", None)
    if kernel is not None:
        found.append((kernel.get_parent().get("content") or {}).get("code"))
    history = getattr(shell, "history_manager", None)
    found += list(getattr(history, "input_hist_raw", None) or [])[-1:]
    return [text for text in found if isinstance(text, str)]


def compile_tree(tree: ast.Module | ast.Expression, filename: str) -> CodeType:
    """Compile a tree of a cell, without this package's own ``__future__`` flags."""
    mode = "eval" if isinstance(tree, ast.Expression) else "exec"
    return compile(tree, filename, mode, dont_inherit=True)


def has_await(tree: ast.AST) -> bool:
    """Return whether statements await something themselves, not in a function that they define."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Lambda():
                continue
            case ast.Await() | ast.AsyncFor() | ast.AsyncWith() | ast.comprehension(is_async=1):
                return True
        if has_await(node):
            return True
    return False


def check_local(shell: Any, text: str) -> None:
    """Refuse, before anything is registered, what cannot stand below ``%local``.

    Raises:
        UsageError: If something is awaited there: a magic is called by the cell, and the loop waits for it.
    """
    try:
        tree = ast.parse(shell.transform_cell(text))
    except SyntaxError:
        return  # it will be shown where it is
    if has_await(tree):
        raise UsageError("Nothing can be awaited below %local. Put that into a cell of its own.")


def run_local(shell: Any, text: str, source: CellSource, first_line: int) -> Any:
    """Run what stands below ``%local`` in the notebook, and return the value of its last expression."""
    __tracebackhide__ = True
    blank = len(text) - len(text.lstrip("\n"))
    plain = shell.transform_cell(text)  # magics and `!commands` are welcome here
    lines = "\n" * (first_line - 1 + blank)
    tree = shell.transform_ast(ast.parse(lines + plain, source.local_filename))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile_tree(tree, source.local_filename), shell.user_ns)  # noqa: S102 - the user's own cell
    if last is None:
        return None
    return eval(compile_tree(ast.Expression(last.value), source.local_filename), shell.user_ns)  # noqa: S307
