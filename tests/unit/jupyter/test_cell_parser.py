"""Which cells are function cells, and the errors of other cells."""

from __future__ import annotations

import types
from textwrap import dedent

import pytest

from nbfn.jupyter.cells.cell_parser import CellError, FunctionCell, parse, plain_qualname


def read(text: str, **options: int) -> FunctionCell:
    return parse(dedent(text).lstrip("\n"), **options)


def run(cell: FunctionCell) -> dict[str, object]:
    namespace: dict[str, object] = {}
    exec(compile(cell.tree, "<cell>", "exec", dont_inherit=True), namespace)
    return namespace


def test_one_def_with_imports_and_constants() -> None:
    cell = read("""
        "What this cell is about."
        import re
        from math import pi
        PATTERN = re.compile("a+")
        LIMIT: int = 3

        def embed(text):
            return PATTERN.findall(text)[:LIMIT]
    """)
    assert cell.public == ("embed",)
    assert run(cell)["embed"]("aab a") == ["aa", "a"]  # type: ignore[operator]


def test_several_defs_and_their_helpers() -> None:
    cell = read("""
        class Point: ...
        def _clean(x): return x
        def first(x): return _clean(x)
        async def second(x): return x
        def third(x): yield x
    """)
    assert cell.public == ("first", "second", "third")
    assert cell.helpers == ("Point", "_clean")


def test_a_class_with_marks_is_registered_and_a_plain_one_travels_along() -> None:
    cell = read("""
        class Point: ...
        class Model:
            size: int = nbfn.parameter(default=3)
            @nbfn.enter()
            def load(self): ...
            @nbfn.method()
            def embed(self, text): return Point()
        @app.cls(timeout=3)
        class Own:
            @nbfn.method()
            def m(self): ...
        def f(): ...
    """)
    assert cell.names == ("f", "Model", "Own")
    assert cell.classes == ("Model",)
    assert cell.helpers == ("Point",)
    assert (cell.decorated, cell.apps) == (("Own",), ("app",))


def test_a_def_under_its_own_app_is_left_to_that_app() -> None:
    cell = read("""
        app = nbfn.App("mine")
        @app.function(timeout=5)
        def train(): ...
        @app.function
        def test(): ...
        def other(): ...
    """)
    assert cell.decorated == ("train", "test")
    assert cell.apps == ("app",)
    assert cell.public == ("other",)


def test_imports_may_be_conditional() -> None:
    cell = read("""
        try:
            import tomllib
        except ImportError:
            tomllib = None
        if tomllib:
            import json
        def load(): ...
    """)
    assert cell.public == ("load",)


def test_below_a_local_line_code_runs_here() -> None:
    cell = read(
        """
        def f(x):
            return x
        %local

        f.remote(1)
        """,
        first_line=2,
    )
    assert cell.local == "\nf.remote(1)\n"
    assert cell.local_line == 5


def test_line_numbers_are_those_of_the_cell() -> None:
    cell = read("def f():\n    raise ValueError\n", first_line=4)
    function = run(cell)["f"]
    assert isinstance(function, types.FunctionType)
    assert function.__code__.co_firstlineno == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("class C:\n    x = 1", "No method of this class can be called remotely"),
        ("def _hidden(): ...", "underscore"),
        ("def f(): ...\nprint(f)", r"Line 2, `print\(f\)`.*below a %local line"),
        ("def f(): ...\nresult = f.remote()", "Line 2"),
        ("def f(): ...\nfor i in range(3): i", "Line 2"),
        ("def f(): ...\n%timeit 1", "`%timeit` is IPython syntax"),
        ("def f():\n    !ls", "`!ls` is IPython syntax"),
        ("def f():\n    x = !ls", "`!ls` is IPython syntax"),
        ("def f(): ...\nf?", "IPython syntax"),
        ("def f():\n    f()\n    f.remote()", "helper, `_f`"),
    ],
)
def test_other_cells_are_refused_with_a_way_out(text: str, says: str) -> None:
    with pytest.raises(CellError, match=says):
        parse(text)


def test_what_is_not_python_is_a_syntax_error_at_the_cells_line() -> None:
    with pytest.raises(SyntaxError) as caught:
        parse("def f(:\n    pass", first_line=3, filename="cell.py")
    assert (caught.value.lineno, caught.value.filename) == (3, "cell.py")


def test_a_percent_sign_in_a_string_is_no_magic() -> None:
    assert read('def f():\n    return """\n%timeit\n"""').public == ("f",)


def test_a_recursive_def_finds_itself_when_its_name_is_taken() -> None:
    namespace = run(
        read("""
        def fib(n):
            return n if n < 2 else fib(n - 1) + fib(n - 2)
        def double(n):
            return 2 * fib(n)
        """)
    )
    fib, double = namespace["fib"], namespace["double"]
    namespace["fib"] = "a Function"
    assert fib(10) == 55  # type: ignore[operator]
    assert double(10) == 110  # type: ignore[operator]
    assert plain_qualname(fib.__qualname__) == "fib"  # type: ignore[attr-defined]


def test_a_def_that_calls_the_function_remotely_sees_the_function() -> None:
    namespace = run(
        read("""
        def inner(n): return n
        def outer(n): return inner.remote(n)
        """)
    )
    assert "inner" in namespace["outer"].__code__.co_names  # type: ignore[attr-defined]
