"""Parses a ``%%remote`` cell into a `FunctionCell` or a `ScriptCell`.

Runs no code, and does not depend on IPython.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from nbfn.jupyter.cells.script_cell import ScriptCell, create_script
from nbfn.jupyter.cells.source import split_local

#: Attributes that only a Function has: `f.remote` in a body uses the Function, `f(...)` the code.
_LIVE = frozenset(
    {
        *("remote", "remote_gen", "local", "spawn", "spawn_map", "map", "starmap", "for_each"),
        *("aio", "from_name", "get_current_stats", "get_raw_f", "hydrate", "keep_warm"),
        *("object_id", "update_autoscaler"),
    }
)
#: Decorators and base names that make a class a Cls.
_CLS_MARKS = frozenset(
    {
        *("asgi_app", "batched", "cls", "enter", "exit", "fastapi_endpoint", "method", "parameter"),
        *("web_endpoint", "web_server", "wsgi_app"),
    }
)
_MAGIC = re.compile(r"^\s*(?:[\w.,\s]+=\s*)?(%{1,2}\w[\w.]*|!{1,2}\S+|\?{1,2}\w+|\w[\w.]*\?{1,2}$)")
#: Name of the function that encloses defs which call each other; see `_enclosed`.
_FACTORY = "__nbfn_cell__"

_Def = ast.FunctionDef | ast.AsyncFunctionDef


class CellError(Exception):
    """Raised when a cell is not valid; the message is for the user."""


@dataclass(frozen=True, slots=True)
class FunctionCell:
    """A cell that defines Functions.

    Attributes:
        tree: The code to execute; line numbers are those of the notebook's cell.
        public: Names of the functions to register, in order.
        classes: Names of the classes to register.
        helpers: Names of functions and classes that are pickled with those that use them.
        decorated: Names that ``@app.function(...)`` or ``@app.cls(...)`` in the cell registers.
        apps: The expressions before ``.function`` or ``.cls`` in those decorators, such as ``app``.
        local: The code below the ``%local`` line, or "".
        local_line: The line of the cell where that code begins.
    """

    tree: ast.Module
    public: tuple[str, ...]
    classes: tuple[str, ...] = ()
    helpers: tuple[str, ...] = ()
    decorated: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    local: str = ""
    local_line: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """All names that it registers."""
        return self.public + self.classes + self.decorated


def parse(body: str, *, first_line: int = 1, filename: str = "<cell>") -> FunctionCell | ScriptCell:
    """Parse a cell: one with functions or classes is a function cell, any other a script.

    Args:
        body: The text below the line of the magic.
        first_line: The line of the notebook's cell where ``body`` begins.
        filename: The file name for error messages.

    Returns:
        The cell.

    Raises:
        CellError: If it is not valid.
        SyntaxError: If it is not valid Python.
    """
    remote, local = split_local(body)
    local_line = first_line + remote.count("\n") + 1 if local else 0
    tree = _tree(remote, first_line, filename)
    kinds = [(statement, _kind(statement)) for statement in tree.body]
    if _is_script(kinds):
        return create_script(tree, remote, local, local_line, filename)
    found = _Definitions(kinds)
    _check(kinds, remote, first_line, found.functions | found.marked)
    if not (found.public or found.classes or found.decorated):
        raise CellError(_nothing_to_register(bool(found.functions or found.marked)))
    return FunctionCell(
        tree=_enclosed(tree, _called_directly(found.defs, set(found.public))),
        public=found.public,
        classes=found.classes,
        helpers=found.helpers,
        decorated=tuple(found.decorated),
        apps=tuple(dict.fromkeys(found.decorated.values())),
        local=local,
        local_line=local_line,
    )


def _is_script(kinds: list[tuple[ast.stmt, str]]) -> bool:
    return bool(kinds) and not any(isinstance(s, _Def | ast.ClassDef) for s, _ in kinds)


class _Definitions:
    """The definitions of a function cell.

    Args:
        kinds: Its statements, and the kind of each (`_kind`).

    Attributes:
        defs: All functions.
        functions: Names of all functions.
        marked: Names of the classes with decorated methods.
        decorated: The expression of the App of each definition with an App's decorator, by its name.
        public: Names of functions to register.
        classes: Names of classes to register.
        helpers: Names of functions and classes that these may use.
    """

    def __init__(self, kinds: list[tuple[ast.stmt, str]]) -> None:
        named = [(s, kind) for s, kind in kinds if isinstance(s, _Def | ast.ClassDef)]
        self.defs = [s for s, _ in named if isinstance(s, _Def)]
        self.functions = {s.name for s in self.defs}
        self.marked = {s.name for s, kind in named if kind == "cls"}
        self.decorated = _apps(named, "def") | _apps(named, "cls")
        self.public = self._registered(named, "def")
        self.classes = self._registered(named, "cls")
        self.helpers = tuple(
            s.name
            for s, kind in named
            if (kind == "class" or s.name.startswith("_")) and s.name not in self.decorated
        )

    def _registered(
        self, named: list[tuple[_Def | ast.ClassDef, str]], kind: str
    ) -> tuple[str, ...]:
        names = [s.name for s, found in named if found == kind and not s.name.startswith("_")]
        return tuple(dict.fromkeys(name for name in names if name not in self.decorated))


def _apps(named: list[tuple[_Def | ast.ClassDef, str]], kind: str) -> dict[str, str]:
    """Return the App's expression of each decorated definition of a kind, by its name."""
    return {s.name: app for s, found in named if found == kind and (app := _app_of(s))}


def _tree(text: str, first_line: int, filename: str) -> ast.Module:
    try:
        # Blank lines give the tree the line numbers of the cell.
        return ast.parse("\n" * (first_line - 1) + text, filename)
    except SyntaxError as error:
        lines = text.splitlines()
        at = (error.lineno or 0) - first_line
        # The parser may report the next line: `!ls` could begin an expression.
        for line in (lines[i] for i in (at, at - 1) if 0 <= i < len(lines)):
            if magic := _MAGIC.match(line):
                raise CellError(
                    f"`{magic[1]}` is IPython syntax, and a remote cell contains only plain Python. "
                    "Put it below a %local line, or into a cell of its own."
                ) from None
        raise


def _kind(statement: ast.stmt) -> str:
    if isinstance(statement, _Def):
        return "def"
    if isinstance(statement, ast.ClassDef):
        return "cls" if _is_cls(statement) else "class"
    if _is_prelude(statement):
        return "prelude"
    return "other"


def _is_prelude(statement: ast.stmt) -> bool:
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Assign() | ast.AnnAssign() | ast.Pass():
            return True
        case ast.Expr(value=ast.Constant()):  # a docstring of the cell
            return True
        case ast.If(body=body, orelse=orelse):  # if TYPE_CHECKING: import ...
            return all(map(_is_prelude, body + orelse))
        case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=final):
            inner = [s for handler in handlers for s in handler.body]
            return all(map(_is_prelude, body + inner + orelse + final))
    return type(statement).__name__ == "TypeAlias"  # Python 3.12


def _is_cls(statement: ast.ClassDef) -> bool:
    decorators = list(statement.decorator_list)
    for inner in statement.body:
        decorators += getattr(inner, "decorator_list", [])
    return any(_last_name(d) in _CLS_MARKS for d in decorators)


def _last_name(node: ast.expr) -> str:
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _app_of(statement: _Def | ast.ClassDef) -> str:
    register = "cls" if isinstance(statement, ast.ClassDef) else "function"
    for decorator in statement.decorator_list:
        node = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(node, ast.Attribute) and node.attr == register:
            return ast.unparse(node.value)
    return ""


def _check(kinds: list[tuple[ast.stmt, str]], text: str, first_line: int, names: set[str]) -> None:
    if not kinds:
        raise CellError("The cell is empty. Put a def below the %%remote line.")
    for statement, kind in kinds:
        if kind == "other" or (kind == "prelude" and _uses(statement, names)):
            line = statement.lineno
            shown = text.splitlines()[line - first_line].strip()
            shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
            raise CellError(
                f"Line {line}, `{shown}`, is neither a def nor an import nor a constant. "
                "Split the cell, or put code that runs in the notebook below a %local line."
            )


def _nothing_to_register(named: bool) -> str:
    if named:
        return (
            "Every def in this cell begins with an underscore, so there is nothing to register. "
            "Give the Function a name without one."
        )
    return (
        "No method of this class can be called remotely, so there is nothing to register. "
        "Put @nbfn.method() above one, or run the cell without %%remote."
    )


def _uses(node: ast.AST, names: set[str]) -> bool:
    return any(isinstance(n, ast.Name) and n.id in names for n in ast.walk(node))


# --- defs that call each other ------------------------------------------------------------------


def _called_directly(defs: list[_Def], public: set[str]) -> set[str]:
    """Return the public functions that a body calls directly, such as `fib(n - 1)`."""
    direct: set[str] = set()
    live: set[str] = set()
    for node, parent in (pair for d in defs for s in d.body for pair in _with_parents(s)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in public:
            is_live = isinstance(parent, ast.Attribute) and parent.attr in _LIVE
            (live if is_live else direct).add(node.id)
    if both := sorted(direct & live):
        name = both[0]
        raise CellError(
            f"`{name}` is both called directly and used as a Function ({name}.remote or the like) "
            f"in this cell. Move the code that is called directly to a helper, `_{name}`."
        )
    return direct


def _with_parents(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        yield child, node
        yield from _with_parents(child)


def _enclosed(tree: ast.Module, direct: set[str]) -> ast.Module:
    """Wrap the functions in another one if some call each other directly.

    In the notebook, a public name is bound to its Function, which cannot be called. The code of a
    recursive function must find itself instead, so its name is a closure variable.
    """
    if not direct:
        return tree
    defs = [s for s in tree.body if isinstance(s, _Def)]
    others = [s for s in tree.body if not isinstance(s, _Def)]
    return ast.Module(body=[*others, *_factory(defs, direct)], type_ignores=[])


def _factory(defs: list[_Def], direct: set[str]) -> list[ast.stmt]:
    """Return statements that define functions inside another one and bind them as globals."""
    names = [d.name for d in defs]
    outer = [name for name in dict.fromkeys(names) if name not in direct]
    inner: list[ast.stmt] = [ast.Global(names=outer)] if outer else []
    inner += defs
    kept = [ast.Constant(name) for name in sorted(direct)]
    values: list[ast.expr] = [ast.Name(name, ast.Load()) for name in sorted(direct)]
    inner.append(ast.Return(ast.Dict(keys=list(kept), values=values)))
    factory = ast.parse(f"def {_FACTORY}(): pass\nglobals().update({_FACTORY}())\ndel {_FACTORY}")
    function = factory.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body = inner
    ast.fix_missing_locations(factory)
    return factory.body


def plain_qualname(qualname: str) -> str:
    """Return a qualified name without the enclosing function that `parse` may have added."""
    return qualname.removeprefix(f"{_FACTORY}.<locals>.")
