"""Tests that a call runs the current code of the modules beside the program."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nbfn
from tests.conftest import passing_modules

app = nbfn.App("files")

_seconds = itertools.count(1_000_000_000)

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """``write(beside="...")`` writes ``beside.py`` into this process's folder, ``pkg__part=`` ``pkg/part.py``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**texts: str) -> None:
        for name, text in texts.items():
            file = tmp_path / f"{name.replace('__', '/')}.py"
            if file.parent.name == "pkg":
                file.parent.mkdir(exist_ok=True)
                (file.parent / "__init__.py").touch()
            file.write_text(text)
            os.utime(file, (now := next(_seconds), now))  # timestamps of file systems are coarse
        importlib.invalidate_caches()

    with passing_modules(tmp_path):
        yield write


def program(text: str, *names: str) -> list[Any]:
    """Run a program's text, as a notebook's cell is run, and return its Functions by these names."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(text, space)
    return [app.function(name=f"{name}-{id(space)}")(space[name]) for name in names]


def version(function: Any) -> int:
    return function._ref.state.version  # type: ignore[no-any-return]


def test_the_next_call_runs_what_the_file_says(write: Write) -> None:
    write(beside="def step(x): return x + 1\n")
    (by_module, by_name) = program(
        "import beside\nfrom beside import step as one\n"
        "def by_module(x): return beside.step(x)\n"
        "def by_name(x): return one(x)\n",
        "by_module",
        "by_name",
    )
    assert (by_module.remote(1), by_name.remote(1)) == (2, 2)
    write(beside="def step(x): return x + 100\n")
    assert (by_module.remote(1), by_name.remote(1)) == (101, 101)
    assert (version(by_module), version(by_name)) == (2, 2)
    assert by_module.local(1) == 2  # this process keeps what it imported
    write(beside="def step(x): return x + 1000\n")
    assert list(by_module.map([1, 2])) == [1001, 1002]
    assert by_name.spawn(3).get() == 1003
    write(beside="def step(x): return x + 1\n")
    assert by_module.remote(1) == 2  # as it was imported


def test_a_reload_does_not_bring_back_what_was_taken_from_the_file_before(write: Write) -> None:
    write(beside="def step(x): return x + 1\nclass Point:\n    def far(self): return 1\n")
    (f,) = program(
        "from beside import step, Point\ndef f(x): return step(x), Point().far(), Point()\n", "f"
    )
    f.hydrate()
    write(beside="def step(x): return x + 100\nclass Point:\n    def far(self): return 2\n")
    assert f.remote(1)[:2] == (101, 2)
    beside: Any = importlib.reload(sys.modules["beside"])
    assert f.remote(1)[:2] == (101, 2)
    again = app.function(name="after-a-reload")(f.get_raw_f())
    added, far, point = again.remote(1)
    assert (added, far, type(point)) == (101, 2, beside.Point)


def test_what_does_not_change_makes_no_version(write: Write, tmp_path: Path) -> None:
    write(beside="def step(x): return x + 1\n", other="X = 1\n")
    (f,) = program("import beside, other\ndef f(x): return beside.step(x)\n", "f")
    f.hydrate()
    (tmp_path / "beside.py").touch()
    write(other="X = 2\n")
    assert f.remote(1) == 2
    assert version(f) == 1


def test_through_modules_packages_and_constants(write: Write) -> None:
    write(
        pkg__rates="RATE = 2\n",
        pkg__part="from .rates import RATE\ndef times(x): return x * RATE\n",
        top="import pkg.part\ndef run(x): return pkg.part.times(x)\n",
    )
    (f, g) = program(
        "import top, pkg.part\ndef f(x): return top.run(x)\ndef g(x): return pkg.part.times(x)\n",
        "f",
        "g",
    )
    assert (f.remote(3), g.remote(3)) == (6, 6)
    imported = {name: sys.modules[name] for name in ("top", "pkg", "pkg.part", "pkg.rates")}
    write(pkg__rates="RATE = 50\n")
    assert (f.remote(3), g.remote(3)) == (150, 150)
    assert {name: sys.modules[name] for name in imported} == imported
    assert imported["pkg"].part is imported["pkg.part"]
    assert imported["pkg.part"].RATE == 2


def test_a_file_may_import_another_that_is_new(write: Write) -> None:
    write(beside="def step(x): return x + 1\n")
    (f,) = program("import beside\ndef f(x): return beside.step(x)\n", "f")
    assert f.remote(1) == 2
    write(extra="BY = 7\n", beside="from extra import BY\ndef step(x): return x + BY\n")
    assert f.remote(1) == 8
    assert "extra" not in sys.modules  # this process did not import it
    write(extra="BY = 9\n")
    assert f.remote(1) == 10


def test_what_a_body_imports_is_read_by_workers(write: Write) -> None:
    write(inner="BY = 1\n", late="import inner\ndef step(x): return x + inner.BY\n")
    (f,) = program("def f(x):\n    import late\n    return late.step(x)\n", "f")
    assert f.remote(1) == 2
    write(inner="BY = 10\n")
    assert f.remote(1) == 11
    write(late="def step(x): return -x\n")
    assert f.remote(1) == -1
    assert "late" not in sys.modules


def test_modules_that_cannot_travel_are_read_by_workers(write: Write) -> None:
    text = "import threading\nLOCK = threading.Lock()\ndef step(x):\n    with LOCK: return x + {}\n"
    write(locked=text.format(1))
    (f,) = program("import locked\ndef f(x): return locked.step(x)\n", "f")
    assert f.remote(1) == 2
    write(locked=text.format(30))
    assert f.remote(1) == 31


POINT = """
class Point:
    def __init__(self, x): self.x = x
    def far(self): return self.x {how}
def double(point):
    assert isinstance(point, Point)
    return Point(2 * point.x)
"""


def test_objects_are_of_the_new_class_there_and_of_the_own_one_here(write: Write) -> None:
    write(shapes=POINT.format(how="+ 1"))
    (f, g) = program(
        "import shapes\ndef f(p): return shapes.double(p)\ndef g(p): return p.far()\n", "f", "g"
    )
    shapes: Any = sys.modules["shapes"]
    point = shapes.Point
    assert (type(f.remote(point(2))), g.remote(point(2))) == (point, 3)
    write(shapes=POINT.format(how="* 10"))
    got = f.remote(point(2))  # has its class along
    assert (type(got), got.x, got.far()) == (point, 4, 5)
    assert g.remote(point(2)) == 20  # refers to no module: its argument brings it
    assert g.remote(got) == 40
    assert point(1).far() == 2
    importlib.reload(shapes)
    assert type(f.remote(shapes.Point(1))) is shapes.Point


def test_objects_that_come_back_change_nothing_here(write: Write) -> None:
    write(shapes=POINT.format(how="+ 1"))
    (f,) = program("import shapes\ndef f(p): return shapes.double(p)\n", "f")
    point = sys.modules["shapes"].Point
    far = point.far
    f.remote(point(1))
    state = f._ref.state
    assert type(f.remote(point(1))) is point
    assert f._ref.state is state  # it was not registered again
    assert point.far is far


def test_functions_and_classes_of_an_app_in_a_file(write: Write) -> None:
    text = """
import nbfn
app = nbfn.App("in-a-file")
@app.function({options})
def used(x): return x + {by}
@app.function()
def twice(x): return used.remote(used.remote(x))
@app.cls()
class Model:
    @nbfn.method()
    def predict(self, x): return x * {by}
"""
    write(served=text.format(by=1, options=""))
    served: Any = importlib.import_module("served")
    assert (served.used.remote(1), served.twice.remote(1)) == (2, 3)
    assert served.Model().predict.remote(5) == 5
    write(served=text.format(by=10, options="timeout=77"))
    assert (served.used.remote(1), served.twice.remote(1)) == (11, 21)
    assert served.Model().predict.remote(5) == 50
    assert served.used.local(1) == 2


BROKEN = [
    ("def step(x) return x\n", r"beside.py, line 1: SyntaxError: .*keeps running v1.*Fix the file"),
    ("\nimport nowhere_at_all\n", r"beside.py, line 2: ModuleNotFoundError: .*nowhere_at_all"),
    ("def step(x): return x\n1 / 0\n", r"beside.py, line 2: ZeroDivisionError"),
    ("import sys\nsys.exit('not\\nhere')\n", r"beside.py, line 2: SystemExit: not\. Function"),
]


@pytest.mark.parametrize(("text", "says"), BROKEN)
def test_a_file_that_cannot_be_imported_is_told_once_and_the_version_before_runs(
    write: Write, text: str, says: str
) -> None:
    write(beside="def step(x): return x + 1\n")
    (f,) = program("import beside\ndef f(x): return beside.step(x)\n", "f")
    assert f.remote(1) == 2
    write(beside=text)
    with pytest.warns(UserWarning, match=says) as told:
        assert f.remote(1) == 2
    assert len(told) == 1
    assert told[0].filename == __file__
    assert f.remote(1) == 2  # warnings are errors here: it was told
    assert version(f) == 1
    write(beside="def step(x): return x + 5\n")
    assert f.remote(1) == 6


def test_a_file_that_was_broken_before_the_first_call_is_told(write: Write) -> None:
    write(beside="def step(x): return x + 1\n")
    (f,) = program("import beside\ndef f(x): return beside.step(x)\n", "f")
    write(beside="def step(x) return\n")
    with pytest.warns(
        UserWarning, match="line 1: SyntaxError.*uses the modules that were imported"
    ):
        assert f.remote(1) == 2


def test_a_map_stays_with_the_version_it_began_with(write: Write) -> None:
    write(beside="def step(x): return x + 1\n")
    (f,) = program("import beside\ndef f(x): return beside.step(x)\n", "f")
    written = threading.Event()

    def inputs() -> Iterator[int]:
        yield 1
        assert written.wait(30)
        yield 2

    results = iter(f.map(inputs()))
    assert next(results) == 2
    write(beside="def step(x): return x + 100\n")
    written.set()
    assert next(results) == 3
    assert f.remote(2) == 102


def test_by_name_it_is_the_version_that_was_registered(write: Write) -> None:
    write(beside="def step(x): return x + 1\n")
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("import beside\ndef f(x): return beside.step(x)\n", space)
    released = nbfn.App("released")
    f: Any = released.function()(space["f"])
    released.deploy()
    by_name = nbfn.Function.from_name("released", "f")
    assert by_name.remote(1) == 2
    write(beside="def step(x): return x + 100\n")
    assert by_name.remote(1) == 2
    assert f.remote(1) == 101
    assert by_name.remote(1) == 101  # whoever owns the source registered it
