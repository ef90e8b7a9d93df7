"""``%%remote`` in a real kernel, with a real hub and workers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import own_files

Run = Callable[..., list[Any]]


def test_a_cell_is_registered_called_mapped_and_redefined(run: Run) -> None:
    card, mapped, unchanged, changed, called = run(
        "%%remote --app cells\ndef square(x):\n    return x * x",
        "list(square.map(range(5)))",
        "%%remote --app cells --quiet\ndef square(x):\n    return x * x\n%local\nrepr(square)",
        "%%remote --app cells\ndef square(x):\n    return -x * x\n",
        "square.remote(3)",
    )
    assert card.shown[0]["text/plain"] == "✓ square v1 · app cells"
    assert mapped.result == "[0, 1, 4, 9, 16]"
    assert (unchanged.shown, unchanged.result) == ([], repr("<Function 'square' of App('cells')>"))
    assert changed.shown[0]["text/plain"] == "✓ square v2 · app cells"
    assert called.result == "-9"


def test_the_same_cell_in_another_kernel_is_unchanged(run: Run) -> None:
    cell = (
        "%%remote --app same\nimport json\nLIMIT = 3\ndef f(x):\n    return json.dumps(x)[:LIMIT]"
    )
    assert run(cell)[0].shown[0]["text/plain"].startswith("✓ f v1 · app same")
    assert run(cell)[0].shown[0]["text/plain"].startswith("✓ f unchanged, v1 · app same")


def test_a_rebound_global_is_seen_by_the_next_call(run: Run) -> None:
    *_, card, first, _, second = run(
        "factor = 2",
        "%%remote --app rebound\ndef scale(x):\n    return factor * x",
        "scale.remote(10)",
        "factor = 3",
        "scale.remote(10)",
    )
    assert "captures factor=2 (" in card.shown[0]["text/plain"]
    assert (first.result, second.result) == ("20", "30")


def test_what_runs_here_and_what_travels_along(run: Run) -> None:
    (cell,) = run(
        "%%remote --app parts\n"
        "import os\n"
        "def _double(x): return 2 * x\n"
        "def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\n"
        "async def later(x): return _double(x)\n"
        "def count(n):\n"
        "    for i in range(n): yield i\n"
        "def where(): return os.getpid()\n"
        "%local\n"
        "import os\n"
        "[fib.remote(12), later.remote(4), list(count.remote_gen(3)), where.remote() != os.getpid()]"
    )
    assert cell.result == "[144, 8, [0, 1, 2], True]"
    assert (
        cell.shown[0]["text/plain"].splitlines()[1] == "✓ later v1 · app parts · captures _double()"
    )


def test_siblings_and_underscore_names_of_a_cell_are_what_the_readme_says(run: Run) -> None:
    defined, kinds, direct, live, copied, both, called, elsewhere = run(
        "%%remote --quiet --max 1 --app siblings\n"
        "import os\n"
        "K, _seen = 3, []\n"
        "def _scaled(x): return x * K\n"
        "class Plain: pass\n"
        "def base(x): return _scaled(x), os.getpid()\n"
        "def far(x): return _scaled(x), os.getpid()\n"
        "def direct(x): return base(x), os.getpid()\n"
        "def live(x): return far.remote(x), os.getpid()\n"
        "def sees(): _seen.append(Plain()); return len(_seen)",
        "' '.join(type(name).__name__ for name in (base, far, direct, live, sees, _scaled, Plain))",
        "(value, there), here = direct.remote(2)\nvalue, there == here",
        "(value, there), here = live.remote(2)\nvalue, there == here",
        "sees.remote(), sees.remote(), _seen",
        "%%remote --quiet --app siblings\ndef f(x): return x\ndef g(x): return f(x) + f.remote(x)",
        "base(2)",
        "%%remote --quiet --app siblings\ndef other(x): return base.local(x)[0] + base.remote(x)[0] + _scaled(x)\n"
        "%local\nother.remote(2)",
    )
    assert not defined.error
    assert kinds.result == repr(" ".join(["Function"] * 5 + ["function", "type"]))
    assert (direct.result, live.result) == ("(6, True)", "(6, False)")
    assert copied.result == "(1, 2, [])"
    assert "helper, `_f`" in both.stderr + both.error
    assert "Use base.remote(...) to run it on a worker, or base.local(...)" in called.error
    assert elsewhere.result == "18"


def test_functions_of_an_app_of_ones_own_are_deployed(run: Run) -> None:
    cell, found = run(
        "%%remote\nimport nbfn\napp = nbfn.App('own')\n@app.function(timeout=9)\ndef f(x): return x + 1",
        "nbfn.Function.from_name('own', 'f').remote(1)",
    )
    assert cell.shown[0]["text/plain"] == "✓ f v1 · app own"
    assert found.result == "2"


def test_another_notebook_calls_it_by_name_and_sees_its_lines(run: Run) -> None:
    run("%%remote --app there\n\ndef halve(x):\n    print('halving', x)\n    return x / (x - 2)\n")
    called, failed = run(
        "import nbfn\nhalve = nbfn.Function.from_name('there', 'halve')\nhalve.remote(4)",
        "halve.remote(2)",
    )
    assert (called.text, called.result) == ("halving 4\n", "2.0")
    assert "ZeroDivisionError" in failed.error
    assert "<cell of there" in failed.error
    assert ":5, in halve" in failed.error


def test_another_notebook_sees_the_source_line(run: Run) -> None:
    run("%%remote --app lines\n\ndef third(x):\n    return x / (x - 2)\n")
    (failed,) = run("import nbfn\nnbfn.Function.from_name('lines', 'third').remote(2)")
    assert "----> 4     return x / (x - 2)" in failed.error


def test_an_error_shows_the_users_lines_and_nothing_of_nbfn(run: Run) -> None:
    _, failed = run(
        "%%remote --app errors\nimport json\n\ndef load(text):\n    return json.loads(text)['a']",
        "load.remote('{}')",
    )
    assert "Cell In[3], line 1\n----> 1 load.remote('{}')" in failed.error
    assert "Cell In[2], line 5, in load()" in failed.error
    assert "----> 5     return json.loads(text)['a']" in failed.error
    assert "hidden" not in failed.error
    assert not own_files(failed.error)
    assert failed.error.splitlines()[-1].startswith("load ran on wk-")


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("groups.remote()", "| ValueError: a"),
        ("compiles.remote()", "SyntaxError: invalid syntax"),
        ("nbfn.App().function(name='large')(lambda: huge).remote()", "captures 'huge'"),
        ("nbfn.App().function(name='locked')(lambda: lock).remote()", "uses lock → _thread.lock"),
        ("compiles.remote(lock)", "Cannot pickle argument"),
        ("list(compiles.map(5))", "'int' object is not iterable"),
        ("list(counts.map([1]))", "A generator Function"),
        ("nbfn.FunctionCall.from_id('x')", "is not the id of a call"),
        ("nbfn.App().function(retires=1)", "Did you mean 'retries'?"),
        ("compiles.keep_warm(-1)", "min_containers is -1"),
    ],
)
def test_errors_show_the_users_own_lines_only(one_kernel: Run, cell: str, says: str) -> None:
    *_, failed = one_kernel(
        "%%remote --quiet --app lines\n"
        "def groups(): raise ExceptionGroup('several', [ValueError('a')])\n"
        "def compiles(): compile('x = = 1', 'text', 'exec')\n"
        "def counts(): yield 1\n",
        "import threading, nbfn\nlock = threading.Lock()\nhuge = bytes(20_000_000)",
        cell,
    )
    said = failed.error + failed.stderr  # IPython has Python print groups
    assert says in said
    assert cell in said
    assert not own_files(said)
    assert not re.search(r"/cloudpickle/cloudpickle|/concurrent/futures/|/threading\.py", said)


def test_a_users_module_is_shown_whatever_it_is_called(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "nbfn" / "nbfn_kernel"
    folder.mkdir(parents=True)
    for name in ("threading_tools", "cloudpickle_tools", "call"):
        (folder / f"{name}.py").write_text("def invert(x):\n    return 1 / x\n")
        *_, failed = run(
            f"import sys, nbfn\nsys.path.insert(0, {str(folder)!r})\nimport {name}",
            f"f = nbfn.App().function()({name}.invert)",
            "f.local(0)",
        )
        assert "----> 2     return 1 / x" in failed.error
        assert f"{name}.py" in failed.error
        assert not own_files(failed.error)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%%remote --warm -1\ndef f(): ...", "--warm is -1; it must be a whole number, 0 or more."),
        ("%%remote --wram 1\ndef f(): ...", "has no option --wram. Did you mean --warm?"),
        ("%%remote --xyz 1\ndef f(): ...", "has no option --xyz. Options are --app,"),
        ("%%remote --app 'a b'\ndef f(): ...", "The app's name 'a b' is not a name"),
        ("%%remote a b\ndef f(): ...", "unrecognized arguments: b"),
        (
            "%%remote --warm 4 --max 2\ndef f(): ...",
            "min_containers (4) is above max_containers (2)",
        ),
        ("%%remote g\ndef f(): ...\ndef h(): ...", "NAME renames one def"),
        ("%%remote\ndef f(): ...\n%timeit 1", "`%timeit` is IPython syntax"),
        (
            "%%remote\nimport threading\nL = threading.Lock()\ndef f(): return L",
            "uses L → _thread.lock, which cannot be pickled",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(one_kernel: Run, cell: str, says: str) -> None:
    (failed,) = one_kernel(cell)
    assert failed.stderr.startswith("UsageError: ")
    assert failed.stderr.count("\n") == 1
    assert says in failed.stderr
    assert failed.error == ""


def test_a_syntax_error_is_shown_where_it_is(one_kernel: Run) -> None:
    (failed,) = one_kernel("%%remote\nx = 1\ndef f(:\n    pass")
    assert "line 3" in failed.error
    assert not own_files(failed.error)


def test_a_dry_run_registers_and_binds_nothing(one_kernel: Run) -> None:
    card, name = one_kernel(
        "%%remote --app dry --dry-run\nLIMIT = 3\ndef nothing(x):\n    return x[:LIMIT]",
        "'nothing' in globals(), 'LIMIT' in globals()",
    )
    assert "nothing would be registered" in card.shown[0]["text/plain"]
    assert "captures LIMIT=3 (" in card.shown[0]["text/plain"]
    assert name.result == "(False, False)"


def test_options_complete(one_kernel: Run) -> None:
    (found,) = one_kernel(
        "get_ipython().kernel.do_complete('%%remote --t', 12)['matches']",
    )
    assert found.result == "['--take-over', '--timeout']"


def test_a_class_cell_makes_a_cls(run: Run) -> None:
    _, cell, found, changed = run(
        "import nbfn\nFACTOR = 3",
        "%%remote --app classes --warm 1\n"
        "class Model:\n"
        "    size: int = nbfn.parameter(default=2)\n"
        "    @nbfn.enter()\n"
        "    def load(self):\n"
        "        self.weight = self.size * FACTOR\n"
        "    @nbfn.method()\n"
        "    def predict(self, x):\n"
        "        print('predicting')\n"
        "        return self.weight * x\n"
        "%local\n"
        "Model().predict.remote(1)",
        "%nbfn from classes import Model as Found\nFound(size=5).predict.remote(1), Model",
        "FACTOR = 4\nlist(Model(size=1).predict.map([1, 2]))",
    )
    assert cell.shown[0]["text/plain"].startswith("✓ Model v1 · app classes · warm 1")
    assert "FACTOR=3" in cell.shown[0]["text/plain"]
    assert (cell.text, cell.result) == ("predicting\n", "6")
    assert found.result == "(15, <Cls 'Model' of App('classes')>)"
    assert changed.result == "[4, 8]"


def test_a_class_without_methods_has_nothing_to_register(one_kernel: Run) -> None:
    (failed,) = one_kernel("%%remote\nclass Point:\n    x = 1")
    assert "No method of this class can be called remotely" in failed.stderr


def test_a_class_cell_that_is_run_again_is_unchanged(one_kernel: Run) -> None:
    cell = (
        "%%remote --app again\n"
        "import nbfn\n"
        "class Point:\n"
        "    def __init__(self, x): self.x = x\n"
        "class Mirror:\n"
        "    @nbfn.method()\n"
        "    def turn(self, p): return Point(-p.x)"
    )
    first, turned, again, same = one_kernel(
        cell,
        "type(Mirror().turn.remote(Point(1))) is Point",
        cell,
        "type(Mirror().turn.remote(Point(1))) is Point",
    )
    assert first.shown[0]["text/plain"].startswith("✓ Mirror v1")
    assert again.shown[0]["text/plain"].startswith("✓ Mirror unchanged, v1")
    assert (turned.result, same.result) == ("True", "True")
