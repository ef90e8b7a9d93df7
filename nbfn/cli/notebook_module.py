"""Loads a notebook as a module: runs its code cells in order, in one namespace.

Code runs as in the notebook, with these differences. ``__name__`` is the name of the file, so code below
``if __name__ == "__main__":`` does not run. A ``%%remote`` cell with definitions adds them to the App of its ``--app``
option, or to an App with the notebook's name. ``%%remote`` cells without definitions, code below ``%local``, other cell
magics, line magics and ``!commands`` are skipped.
"""

from __future__ import annotations

import ast
import json
import linecache
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from nbfn._names import app_name_of, normalize
from nbfn.api.app import App
from nbfn.exception import InvalidError

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
