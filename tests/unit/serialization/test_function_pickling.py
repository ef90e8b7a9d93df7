"""What a function takes along."""

from __future__ import annotations

import importlib
import math
import pickle
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import pytest

from nbfn.exception import InvalidError, SerializationError
from nbfn.serialization import function_pickling, user_modules
from nbfn.serialization.dependencies import DependencySnapshot
from nbfn.serialization.function_pickling import report

THRESHOLD = 3
TABLE = bytes(1000)


def helper(x: int) -> int:
    return x + THRESHOLD


def uses_all(x: int, step: int = 2) -> float:
    return math.floor(helper(x) * step) + len(TABLE) + len(json_of(x))


def json_of(x: int) -> str:
    import json

    return json.dumps(x)


def test_the_report_names_what_is_referred_to_through_helpers_too() -> None:
    found = {c.name: c for c in report(uses_all)}
    assert {name: c.kind for name, c in found.items()} == {
        "step": "default",
        "math": "module",
        "helper": "function",
        "THRESHOLD": "global",
        "TABLE": "global",
        "json_of": "function",
    }
    assert found["TABLE"].size > 1000
    assert found["math"].size == 0
    assert found["THRESHOLD"].type == "int"


@dataclass
class Point:
    x: int


class Pair(NamedTuple):
    a: int


def test_the_report_names_nothing_of_what_made_a_class() -> None:
    def uses_classes() -> tuple[Point, Pair]:
        return Point(1), Pair(2)

    assert [(c.name, c.kind) for c in report(uses_classes)] == [
        ("Point", "class"),
        ("Pair", "class"),
    ]


def test_closures_are_found() -> None:
    factor = 5

    def times(x: int) -> int:
        return x * factor

    assert [(c.name, c.kind) for c in report(times)] == [("factor", "closure")]


@pytest.mark.parametrize("name", ["THRESHOLD", "helper", "math"])
def test_a_rebound_name_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = DependencySnapshot(uses_all)
    assert snapshot.current()
    monkeypatch.setitem(globals(), name, helper if name != "helper" else len)
    assert not snapshot.current()


def test_a_name_that_appears_later_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def uses_later() -> Any:
        return not_there_yet  # type: ignore[name-defined]  # noqa: F821

    snapshot = DependencySnapshot(uses_later)
    monkeypatch.setitem(globals(), "not_there_yet", 1)
    assert not snapshot.current()


def test_a_rebound_closure_and_new_defaults_are_noticed() -> None:
    factor = 1

    def times(x: int = 1) -> int:
        return x * factor

    snapshot = DependencySnapshot(times)
    factor = 2
    assert not snapshot.current()
    snapshot = DependencySnapshot(times)
    times.__defaults__ = (5,)
    assert not snapshot.current()


def test_looking_is_cheap() -> None:
    snapshot = DependencySnapshot(uses_all)
    best = min(_timed(snapshot.current) for _ in range(5))
    assert best < 20e-6  # 5 microseconds on an idle machine


def _timed(function: Callable[[], object], times: int = 1000) -> float:
    started = time.perf_counter()
    for _ in range(times):
        function()
    return (time.perf_counter() - started) / times


def test_recursion_ends() -> None:
    def even(n: int) -> bool:
        return n == 0 or odd(n - 1)

    def odd(n: int) -> bool:
        return n != 0 and even(n - 1)

    assert [c.name for c in report(even)] == ["odd"]


def test_too_much_is_refused_without_pickling_it() -> None:
    table = bytes(20_000_000)

    def f() -> int:
        return len(table)

    with pytest.raises(InvalidError) as caught:
        function_pickling.dump("f", f, DependencySnapshot(f))
    assert str(caught.value).startswith(
        "Function 'f' captures 'table' (19.1 MB, bytes); pass it as an argument instead."
    )


def test_too_much_that_does_not_show_is_refused_too() -> None:
    numbers = list(map(float, range(2_000_000)))

    def f() -> int:
        return len(numbers)

    with pytest.raises(InvalidError, match=r"captures 'numbers' \(17.2 MB, list\)"):
        function_pickling.dump("f", f, DependencySnapshot(f))


def test_what_cannot_be_pickled_is_named() -> None:
    lock = threading.Lock()

    def f() -> None:
        lock.acquire()

    with pytest.raises(
        SerializationError, match=r"Function 'f' uses lock → _thread.lock, which cannot"
    ):
        function_pickling.dump("f", f, DependencySnapshot(f))


@pytest.fixture
def local_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "our_helpers.py").write_text(
        "LOCKS = []\nclass Point:\n    x = 1\ndef twice(x):\n    return 2 * x\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield importlib.import_module("our_helpers")
    sys.modules.pop("our_helpers", None)


def _without_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "our_helpers")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if "pytest-" not in p])


def test_a_module_beside_the_notebook_travels_by_value(
    local_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = local_module.twice

    def f(x: int) -> int:
        return twice(x) + local_module.Point.x  # type: ignore[no-any-return]

    data, taken = function_pickling.dump("f", f, DependencySnapshot(f))
    assert local_module in taken
    assert cloudpickle.list_registry_pickle_by_value() == set()
    _without_module(monkeypatch)
    assert pickle.loads(data)(3) == 7


def test_a_module_that_cannot_travel_by_value_travels_by_name(local_module: Any) -> None:
    local_module.LOCKS.append(threading.Lock())

    def f(x: int) -> int:
        return local_module.twice(x)  # type: ignore[no-any-return]

    data, taken = function_pickling.dump("f", f, DependencySnapshot(f))
    assert taken == []
    assert pickle.loads(data)(3) == 6


def test_installed_modules_travel_by_name() -> None:
    assert not user_modules.is_local(
        sys.modules["json"] if "json" in sys.modules else importlib.import_module("json")
    )
    assert not user_modules.is_local(pytest)
    assert not user_modules.is_local(function_pickling)


def test_what_is_taken_of_a_local_module_is_watched(local_module: Any) -> None:
    our_helpers = local_module
    namespace: dict[str, Any] = {"our_helpers": our_helpers}
    exec("def f(x):\n    return our_helpers.twice(x)\n", namespace)
    snapshot = DependencySnapshot(namespace["f"])
    assert snapshot.current()
    importlib.reload(our_helpers)
    assert not snapshot.current()


def test_what_an_installed_module_does_to_itself_is_not_watched() -> None:
    assert "dumps" not in {name for _, name, _ in DependencySnapshot(json_of)._names}


def test_what_autoreload_changed_is_noticed(local_module: Any) -> None:
    from IPython.extensions.autoreload import superreload

    twice = local_module.twice  # as by ``from our_helpers import twice``

    def f(x: int) -> int:
        return twice(x)  # type: ignore[no-any-return]

    snapshot = DependencySnapshot(f)
    Path(local_module.__file__).write_text("def twice(x):\n    return 20 * x\n")
    superreload(local_module)
    assert twice(1) == 20  # changed in place: the same function, with other code
    assert not snapshot.current()
