"""The private parts of cloudpickle that are used: each is what it is taken for, in the version that is installed."""

from __future__ import annotations

import enum
import inspect
import io
import re
import sys
import tomllib
import types
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cloudpickle import cloudpickle
from packaging.requirements import Requirement
from packaging.version import Version

from nbfn.serialization import pickler


class Local:
    """Of a module that is imported."""


def dynamic(text: str, name: str) -> Any:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(text, names)
    return names[name]


def test_the_installed_version_is_one_of_those_that_are_allowed() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    wanted = {r.name: r for r in map(Requirement, project["project"]["dependencies"])}[
        "cloudpickle"
    ]
    assert wanted.specifier.contains(Version(version("cloudpickle")))
    assert not wanted.specifier.contains("4.0")


def test_trackers_of_classes_are_weak_and_by_class_and_id() -> None:
    kind = dynamic("class A: pass", "A")
    key = cloudpickle._get_or_create_tracker_id(kind)
    assert cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS[kind] == key
    assert cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID[key] is kind
    other = dynamic("class A: pass", "A")
    assert cloudpickle._lookup_class_or_track(key, other) is kind
    assert cloudpickle._lookup_class_or_track("new", other) is other
    with cloudpickle._DYNAMIC_CLASS_TRACKER_LOCK:
        assert cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS[other] == "new"


def test_a_class_is_reduced_to_six_parts_whose_order_is_known() -> None:
    kind = dynamic("class A(int):\n    x = 1\n", "A")
    make, given, state, *nothing, fill = cloudpickle._dynamic_class_reduce(kind)
    key = cloudpickle._get_or_create_tracker_id(kind)
    assert (make, fill) == (cloudpickle._make_skeleton_class, cloudpickle._class_setstate)
    assert given == (type, "A", (int,), {"__module__": "__main__"}, key, None)
    assert nothing == [None, None]
    assert state[0]["x"] == 1
    assert state[1] == {}


def test_an_enum_is_reduced_to_parts_whose_order_is_known() -> None:
    kind = dynamic("import enum\nclass E(enum.Enum):\n    A = 1\n    B = 1\n", "E")
    make, given, _state, *_, fill = cloudpickle._dynamic_class_reduce(kind)
    key = cloudpickle._get_or_create_tracker_id(kind)
    assert (make, fill) == (cloudpickle._make_skeleton_enum, cloudpickle._class_setstate)
    assert given == ((enum.Enum,), "E", "E", {"A": 1}, "__main__", key, None)


def test_a_function_is_reduced_to_its_code_and_globals_first() -> None:
    function = dynamic("def f(): return 1", "f")
    one = cloudpickle.Pickler(io.BytesIO())
    make, given, state, *nothing, fill = one.reducer_override(function)
    assert (make, fill) == (cloudpickle._make_function, cloudpickle._function_setstate)
    assert given[:2] == (function.__code__, {"__name__": "__main__"})
    assert list(one._function_getnewargs(function)) == list(given)
    assert set(state[1]) >= {"__globals__", "__qualname__", "__closure__"}
    assert nothing == [None, None]


def test_code_is_reduced_to_what_makes_it_without_its_file() -> None:
    code = compile("1", "here.py", "eval")
    make, given = cloudpickle._code_reduce(code)
    assert make is types.CodeType
    assert pickler._NAMELESS in given


def test_what_is_importable_is_told_by_its_module_and_name() -> None:
    assert cloudpickle._should_pickle_by_reference(Local)
    assert cloudpickle._lookup_module_and_qualname(Local) == (sys.modules[__name__], "Local")
    assert cloudpickle._lookup_module_and_qualname(dynamic("class A: pass", "A")) is None
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        assert __name__ in cloudpickle._PICKLE_BY_VALUE_MODULES
        assert cloudpickle._is_registered_pickle_by_value(sys.modules[__name__])
        assert not cloudpickle._should_pickle_by_reference(Local)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_the_pickler_has_a_table_of_reducers_by_type() -> None:
    assert cloudpickle.Pickler._dispatch_table[property] is cloudpickle._property_reduce
    assert pickler.Pickler.dispatch_table[property] is cloudpickle._property_reduce
    assert inspect.isfunction(cloudpickle.Pickler.reducer_override)


def test_states_are_set_on_skeletons() -> None:
    kind = dynamic("class A: x = 1", "A")
    make, given, state, *_ = cloudpickle._dynamic_class_reduce(kind)
    other = make(*given[:4], "another key", None)
    cloudpickle._class_setstate(other, state)
    assert (other.x, other.__module__) == (1, "__main__")
    function = dynamic("def f(): return x", "f")
    function.__globals__["x"] = 5
    make, given, state, *_ = cloudpickle.Pickler(io.BytesIO()).reducer_override(function)
    made = make(*given)
    cloudpickle._function_setstate(made, state)
    assert (made(), made.__qualname__) == (5, "f")


def test_a_name_can_be_given_for_what_has_another() -> None:
    found = cloudpickle._lookup_module_and_qualname(Local, name="Local.other")
    assert found is None
    assert cloudpickle._lookup_module_and_qualname(Local, name="Local") is not None


def test_each_private_part_that_is_used_is_tested_here() -> None:
    package = Path(pickler.__file__).parent
    used = {
        name
        for file in package.glob("*.py")
        for name in re.findall(r"\b_inner\.(?:Pickler\.)?(_\w+)", file.read_text())
    }
    text = Path(__file__).read_text()
    assert used
    assert {name for name in used if f".{name}" not in text} == set()
