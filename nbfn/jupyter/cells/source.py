"""The source of a cell with a magic, under a file name that IPython displays as that cell.

Code compiled with this file name has the user's lines in tracebacks, as ``Cell In[12], line 4``. The
name depends on the text alone, and not on the kernel's process as ipykernel's names do: the same cell
has the same pickle, and so the same version, after a restart of the kernel.
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
    """File names and position of a magic's body.

    Attributes:
        filename: The file name of the remote code.
        local_filename: The file name of the code below ``%local``: IPython's own name of the cell.
        first_line: The line of the cell where the body begins.
    """

    filename: str
    local_filename: str
    first_line: int


_LOCAL_LINE = re.compile(r"^%local[ \t]*(?:#.*)?(?:\n|\Z)", re.MULTILINE)


def split_local(body: str) -> tuple[str, str]:
    """Return the text above and below a ``%local`` line; such a line inside a string does not count.

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
    """Find the cell of a magic and register its source for tracebacks.

    Args:
        shell: The running IPython shell.
        magic: The magic's name.
        line: The rest of the magic's line.
        body: The text below that line.
        label: The App of the cell, for tracebacks in other notebooks.

    Returns:
        The file names of the cell, and the line where the body begins.
    """
    wanted = body.rstrip()
    fallback = f"%%{magic} {line}\n{body}"
    whole = next(
        (t for t in _candidates(shell) if wanted and t.rstrip().endswith(wanted)), fallback
    )
    above = whole.rstrip()[: len(whole.rstrip()) - len(wanted)].count("\n")
    remote = split_local(body)[0].rstrip()
    # The options of the magic are not part of the code.
    text = "\n" * (above - 1) + f"%%{magic}\n{remote}\n"
    name = f"<cell of {label} {hashlib.sha256(text.encode()).hexdigest()[:8]}>"
    numbers = getattr(shell.compile, "_filename_map", {})
    here = shell.compile.get_code_name(whole, whole, shell.execution_count - 1)
    number = numbers.get(here, shell.execution_count - 1)
    for file, content in ((name, text), (here, whole)):
        # As `CachingCompiler.cache` does, which only supports its own names.
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
    """Compile a syntax tree of a cell, without the ``__future__`` flags of this module.

    Args:
        tree: The tree.
        filename: The file name for tracebacks.

    Returns:
        The code.
    """
    mode = "eval" if isinstance(tree, ast.Expression) else "exec"
    return compile(tree, filename, mode, dont_inherit=True)


def has_await(tree: ast.AST) -> bool:
    """Return whether statements have ``await`` outside of the functions that they define."""
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
    """Check the code below ``%local``, before anything is registered.

    Args:
        shell: The running IPython shell.
        text: The code.

    Raises:
        UsageError: If it has ``await``: the event loop waits for the magic, which runs this code.
    """
    try:
        tree = ast.parse(shell.transform_cell(text))
    except SyntaxError:
        return  # raised with its position when the code runs
    if has_await(tree):
        raise UsageError("Code below %local cannot use await. Put it into a cell of its own.")


def run_local(shell: Any, text: str, source: CellSource, first_line: int) -> Any:
    """Run the code below ``%local`` in the notebook.

    Args:
        shell: The running IPython shell.
        text: The code.
        source: The file names of the cell.
        first_line: The line of the cell where the code begins.

    Returns:
        The value of its last expression.
    """
    __tracebackhide__ = True
    blank = len(text) - len(text.lstrip("\n"))
    plain = shell.transform_cell(text)  # magics and `!commands` are allowed here
    lines = "\n" * (first_line - 1 + blank)
    tree = shell.transform_ast(ast.parse(lines + plain, source.local_filename))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile_tree(tree, source.local_filename), shell.user_ns)  # noqa: S102 - the user's own cell
    if last is None:
        return None
    return eval(compile_tree(ast.Expression(last.value), source.local_filename), shell.user_ns)  # noqa: S307
