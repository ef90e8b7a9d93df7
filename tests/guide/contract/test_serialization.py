"""Tests of pickling and its errors (docs/function-api.md#serialization)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn import Function, FunctionCall, exception
from nbfn.client import process_info
from nbfn.client.registration import remote_ref
from nbfn.serialization.function_pickling import report

app = nbfn.App("serialized")
FACTOR = 2
TABLE = b""


@dataclass
class Point:
    x: int


@app.function()
def back(*args: Any, **kwargs: Any) -> Any:
    return args[0] if args else kwargs


def twice(x: int) -> int:
    return FACTOR * x


@app.function()
def doubled(x: int) -> int:
    return twice(x)


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [(1, [2.5, "x", None]), {"a": {1, 2}}, b"\0" * 3_000_000, Point(1), lambda: 3, 10**100],
    ids=["nested", "sets", "3 MB", "instance", "lambda", "large int"],
)
def test_any_picklable_value_goes_there_and_back(value: Any) -> None:
    got = back.remote(value)
    if callable(value):
        assert got() == value()
    else:
        assert got == value


def test_mutable_arguments_are_copies() -> None:
    @app.function()
    def change(items: list[int]) -> list[int]:
        items.append(9)
        return items

    mine = [1]
    assert change.remote(mine) == [1, 9]
    assert mine == [1]


def test_what_one_argument_shares_is_shared_there_too() -> None:
    @app.function()
    def same(a: list[int], b: list[list[int]]) -> bool:
        return b[0] is a

    shared = [1]
    assert same.remote(shared, [shared])


def test_items_of_a_generator_are_each_a_value_of_its_own() -> None:
    @app.function()
    def points() -> Iterator[Point]:
        for x in range(3):
            yield Point(x)

    assert list(points.remote_gen()) == [Point(0), Point(1), Point(2)]


# --- handles -------------------------------------------------------------------------------------


def test_handles_travel_as_ids() -> None:
    doubled.hydrate()
    assert back.remote(doubled).object_id == doubled.object_id
    call = doubled.spawn(4)
    assert back.remote(call).object_id == call.object_id
    assert back.remote(call).get() == 8


def test_a_function_calls_another_that_it_refers_to() -> None:
    @app.function()
    def calls(x: int) -> int:
        return doubled.remote(x)

    assert calls.remote(5) == 10


def test_a_handle_can_be_called_there() -> None:
    @app.function()
    def call_it(f: Function[[int], int, int], x: int) -> int:
        return f.remote(x)

    doubled.hydrate()
    assert call_it.remote(doubled, 6) == 12


def test_an_unhydrated_handle_is_an_invalid_error_that_says_hydrate() -> None:
    @app.function()
    def not_yet() -> None: ...

    with pytest.raises(exception.InvalidError, match=r"'not_yet'.*hydrate\(\)"):
        back.remote(not_yet)
    with pytest.raises(exception.InvalidError, match="hydrate"):
        back.remote({"deep": [not_yet]})


# --- late binding --------------------------------------------------------------------------------


def test_globals_are_taken_when_it_is_registered_not_when_it_is_decorated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = app.function(name="late")(lambda: FACTOR)
    monkeypatch.setitem(globals(), "FACTOR", 7)
    assert late.remote() == 7


def test_a_rebound_name_is_seen_by_the_next_call_through_helpers_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert doubled.remote(1) == 2
    monkeypatch.setitem(globals(), "FACTOR", 10)
    assert doubled.remote(1) == 10


def test_a_loop_that_makes_closures_sees_the_last_value_unless_bound() -> None:
    late, bound = [], []
    for n in range(3):
        late.append(app.function(name=f"late-{n}")(lambda: n))  # noqa: B023 - that is the point
        bound.append(app.function(name=f"bound-{n}")(lambda n=n: n))
    assert [f.remote() for f in late] == [2, 2, 2]
    assert [f.remote() for f in bound] == [0, 1, 2]


def test_what_is_changed_in_place_is_not_seen() -> None:
    seen = {"n": 1}
    f = app.function(name="in-place")(lambda: seen["n"])
    assert f.remote() == 1
    seen["n"] = 2
    assert f.remote() == 1


# --- modules -------------------------------------------------------------------------------------


def test_installed_modules_are_by_name_and_cells_classes_by_value() -> None:
    def uses() -> tuple[object, object]:
        return Path, Point

    kinds = {c.name: c.kind for c in report(uses)}
    assert kinds == {"Path": "class", "Point": "class"}
    sizes = {c.name: c.size for c in report(uses)}
    assert sizes["Path"] == 0


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module beside the notebook."""
    (tmp_path / "beside.py").write_text("STEP = 1\ndef step(x):\n    return x + STEP\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield importlib.import_module("beside")
    sys.modules.pop("beside", None)


def edit(module: Any, text: str) -> None:
    Path(module.__file__).write_text(text)
    importlib.invalidate_caches()


def test_a_module_beside_the_notebook_goes_along(own_module: Any) -> None:
    step = own_module.step
    f = app.function(name="with-module")(lambda x: step(x))
    assert f.remote(1) == 2


def test_functions_of_a_module_beside_the_notebook_are_called_and_the_others_need_not_be_known(
    own_module: Any,
) -> None:
    edit(
        own_module,
        "import nbfn\napp = nbfn.App('beside')\n"
        "@app.function()\ndef used(x): return x + 1\n"
        "@app.function()\ndef unused(x): return x\n",
    )
    beside = importlib.reload(own_module)
    space: dict[str, Any] = {"__name__": "__main__", "beside": beside, "used": beside.used}
    exec("def by_module(x):\n    return beside.used.remote(x)\n", space)
    exec("def by_name(x):\n    return used.remote(x)\n", space)
    assert app.function(name="by-module")(space["by_module"]).remote(1) == 2
    assert app.function(name="by-name")(space["by_name"]).remote(2) == 3
    assert not beside.unused.is_hydrated


def test_one_that_was_reloaded_makes_a_new_version(own_module: Any) -> None:
    beside = own_module
    space: dict[str, Any] = {"__name__": "__main__", "beside": beside}
    exec("def uses(x):\n    return beside.step(x)\n", space)
    f = app.function(name="reloads")(space["uses"])
    assert f.remote(1) == 2
    edit(beside, "STEP = 1\ndef step(x):\n    return x + 100 * STEP  # edited\n")
    importlib.reload(beside)
    assert f.remote(1) == 101


# --- sizes ---------------------------------------------------------------------------------------


def test_the_report_has_names_kinds_types_and_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    def uses(step: int = 3) -> Any:
        return FACTOR, TABLE, twice, doubled, sys

    monkeypatch.setitem(globals(), "TABLE", bytes(5000))
    found = {c.name: (c.kind, c.type) for c in report(uses)}
    assert found == {
        "step": ("default", "int"),
        "FACTOR": ("global", "int"),
        "TABLE": ("global", "bytes"),
        "twice": ("function", "function"),
        "doubled": ("Function", "nbfn.Function"),
        "sys": ("module", "module"),
    }
    assert next(c.size for c in report(uses) if c.name == "TABLE") > 5000


def test_over_256_kib_it_warns_with_what_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    f = app.function(name="large")(lambda: len(TABLE))
    monkeypatch.setitem(globals(), "TABLE", bytes(300_000))
    with pytest.warns(UserWarning, match=r"'large' takes .*'TABLE' \(0.3 MB, bytes\).*argument"):
        assert f.remote() == 300_000


def test_over_16_mib_it_is_refused_with_what_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    f = app.function(name="larger")(lambda: len(TABLE))
    monkeypatch.setitem(globals(), "TABLE", bytes(17_000_000))
    with pytest.raises(exception.InvalidError, match=r"'TABLE' \(16.2 MB, bytes\).*argument"):
        f.remote()
    assert f.local() == 17_000_000


# --- versions ------------------------------------------------------------------------------------


def deployed() -> Function[..., Any, Any]:
    """Deploy a Function and return the handle that another notebook gets."""
    deploying = nbfn.App("versions")
    deploying.function(name="doubled")(twice)
    deploying.deploy()
    return Function.from_name("versions", "doubled")


def test_a_function_of_another_python_is_a_version_error_that_names_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    far = deployed()
    ours = process_info.this_environment()
    other = type(ours)(ours.executable, ours.sys_path, ours.cwd, "3.99", ours.cloudpickle)
    monkeypatch.setattr(remote_ref, "this_environment", lambda: other)
    with pytest.raises(exception.VersionError, match=r"under Python 3\.\d+, this is Python 3\.99"):
        far.remote(1)


def test_a_function_of_another_cloudpickle_warns_and_names_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    far = deployed()
    ours = process_info.this_environment()
    other = type(ours)(ours.executable, ours.sys_path, ours.cwd, ours.python, "9.0.1")
    monkeypatch.setattr(remote_ref, "this_environment", lambda: other)
    with pytest.warns(UserWarning, match=r"cloudpickle 3\.[\d.]+, this is 9\.0\.1"):
        assert far.remote(1) == 2


def test_a_result_outlives_its_handle() -> None:
    made = doubled.spawn(21).object_id
    assert FunctionCall.from_id(made).get() == 42
