"""What stands for modules whose files changed, and what importing them again leaves as it was."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nbfn.serialization import dependencies, import_graph, module_reload
from tests.conftest import passing_modules


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    before = set(sys.modules)
    with passing_modules(tmp_path):
        yield tmp_path
        new = set(sys.modules) - before
    for name in new:
        module_reload._imported.pop(name, None)
        module_reload._loaded.pop(name, None)
        module_reload._replaced.pop(name, None)


_seconds = itertools.count(1)


def write(path: Path, text: str) -> None:
    """Write a file, later than any other: clocks of file systems tick slowly."""
    path.write_text(text)
    os.utime(path, (now := next(_seconds), now))


def latest(*names: str) -> module_reload.ReloadedModules:
    return module_reload.reload_changed(import_graph.reachable_sources(names))


# --- files ---------------------------------------------------------------------------------------


def test_a_watch_tells_of_content_not_of_touches(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    write(file, "1")
    watch = dependencies.FileWatch([str(file)])
    file.touch()
    assert not watch.changed()
    write(file, "2")
    assert watch.changed()
    assert watch.changed()  # until that is settled
    watch.settle()
    assert not watch.changed()


def test_an_editor_may_put_another_file_in_its_place(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    write(file, "1")
    watch = dependencies.FileWatch([str(file)])
    file.unlink()
    assert not watch.changed()  # it is being saved
    write(tmp_path / "b.py", "2")
    (tmp_path / "b.py").rename(file)
    assert watch.changed()


def test_many_files_are_looked_at_once_in_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{number}.py" for number in range(dependencies.FEW + 1)]
    for path in paths:
        write(path, "1")
    watch = dependencies.FileWatch(map(str, paths))
    clock = iter(
        [10.0, 10.0 + dependencies.PAUSE / 2, 10.0 + dependencies.PAUSE, 10.0 + dependencies.PAUSE]
    )
    monkeypatch.setattr(dependencies.time, "monotonic", lambda: next(clock))
    assert not watch.changed()
    write(paths[-1], "2")
    assert not watch.changed()
    assert watch.changed()
    assert watch.changed()  # until that is settled


# --- imports -------------------------------------------------------------------------------------


def test_what_is_reached_is_the_users_and_nothing_is_imported(folder: Path) -> None:
    (folder / "pkg").mkdir()
    write(folder / "pkg" / "__init__.py", "")
    write(folder / "pkg" / "a.py", "from . import b\nimport json, no_such_module\n")
    write(folder / "pkg" / "b.py", "def f():\n    from .c import thing\n")
    write(folder / "pkg" / "c.py", "import pkg.a\nthis is no Python\n")
    found = import_graph.reachable_sources(["pkg.a", "json", "sys", "gone.entirely"])
    assert set(found) == {"pkg", "pkg.a", "pkg.b", "pkg.c"}
    assert found["pkg.b"].file == str(folder / "pkg" / "b.py")
    assert not {"pkg", "pkg.a"} & set(sys.modules)


def test_a_body_says_what_it_imports() -> None:
    space: dict[str, Any] = {}
    exec(
        "def f():\n    import a.b\n    from .c import d, e\n    def g():\n        from x import y\n",
        space,
    )
    found = dependencies.imports_in_code(space["f"].__code__)
    assert {(level, name) for level, name, _ in found} == {(0, "a.b"), (1, "c"), (0, "x")}
    every = {
        n
        for level, name, names in found
        for n in dependencies.absolute_names(level, name, names, "p.q")
    }
    assert every >= {"a", "a.b", "p.q.c", "p.q.c.d", "p.q.c.e", "x"}


# --- editions ------------------------------------------------------------------------------------


def test_nothing_stands_for_what_is_as_it_was_imported(folder: Path) -> None:
    write(folder / "one.py", "def f(): return 1\n")
    importlib.import_module("one")
    assert latest("one") is module_reload.UNCHANGED


def test_a_file_that_changed_before_the_first_look_is_noticed_by_its_functions(
    folder: Path,
) -> None:
    write(folder / "one.py", "def f(): return 1\n")
    one: Any = importlib.import_module("one")
    write(folder / "one.py", "def f(): return 2\n")
    found = latest("one")
    assert found.modules["one"].f() == 2
    assert found.instead[id(one.f)] is found.modules["one"].f
    assert found.instead[id(one)] is found.modules["one"]
    assert sys.modules["one"] is one
    assert one.f() == 1


def test_the_same_content_is_loaded_once(folder: Path) -> None:
    write(folder / "one.py", "def f(): return 1\n")
    importlib.import_module("one")
    assert latest("one") is module_reload.UNCHANGED
    write(folder / "one.py", "def f(): return 2\n")
    assert latest("one").modules["one"] is latest("one").modules["one"]


def test_a_reload_ends_it_and_leaves_what_the_file_no_longer_has(folder: Path) -> None:
    write(folder / "one.py", "def f(): return 1\ndef g(): return 1\n")
    one: Any = importlib.import_module("one")
    f, g = one.f, one.g
    write(folder / "one.py", "def f(): return 2\n")
    assert latest("one").modules
    importlib.reload(one)
    found = latest("one")
    assert (found.modules, found.instead) == ({}, {id(f): one.f})  # who holds the old one
    assert one.g is g


def test_importers_are_loaded_anew_and_others_are_not(folder: Path) -> None:
    write(folder / "low.py", "N = 1\n")
    write(folder / "mid.py", "from low import N\nimport side\nM = N\n")
    write(folder / "side.py", "S = 1\n")
    importlib.import_module("mid")
    assert latest("mid") is module_reload.UNCHANGED
    write(folder / "low.py", "N = 2\n")
    found = latest("mid").modules
    assert set(found) == {"low", "mid"}
    assert found["mid"].M == 2
    assert found["mid"].side is sys.modules["side"]


def test_a_package_keeps_its_own_part(folder: Path) -> None:
    (folder / "pkg").mkdir()
    write(folder / "pkg" / "__init__.py", "")
    write(folder / "pkg" / "a.py", "X = 1\n")
    pkg: Any = importlib.import_module("pkg.a") and sys.modules["pkg"]
    assert latest("pkg.a") is module_reload.UNCHANGED
    write(folder / "pkg" / "a.py", "X = 2\n")
    found = latest("pkg.a")
    assert found.modules["pkg.a"].X == 2
    assert pkg.a is sys.modules["pkg.a"]
    assert pkg.a.X == 1
    write(folder / "pkg" / "__init__.py", "Y = 1\n")
    fresh: Any = latest("pkg", "pkg.a").modules["pkg"]
    assert fresh.a is latest("pkg", "pkg.a").modules["pkg.a"]


def test_what_cannot_be_imported_is_told_and_leaves_everything_as_it_was(folder: Path) -> None:
    write(folder / "two.py", "X = 1\n")
    write(folder / "one.py", "import two\n")
    one, two = importlib.import_module("one"), sys.modules["two"]
    assert latest("one") is module_reload.UNCHANGED
    write(folder / "two.py", "import three\n")
    write(folder / "three.py", "\n\ndef f(:\n")
    with pytest.raises(module_reload.Unloadable, match=r"^three.py, line 3: SyntaxError: "):
        latest("one")
    assert (sys.modules["one"], sys.modules["two"]) == (one, two)
    assert "three" not in sys.modules
    assert not any(isinstance(finder, module_reload._Finder) for finder in sys.meta_path)
