"""Levels and filters of callers in a worker: put in force, taken back, and left where user code changed them."""

from __future__ import annotations

import logging
import sys
import types
import warnings
from collections.abc import Iterator

import pytest

from nbfn.protocol.log_records import DEFAULT, LogLevels, WarningFilter, dump_levels, load_levels
from nbfn_kernel.worker.log_forwarding import CallerLogLevels

NAMES = ("", "levels.a", "levels.b")


@pytest.fixture
def levels() -> Iterator[CallerLogLevels]:
    before = {name: logging.getLogger(name).level for name in NAMES}
    with warnings.catch_warnings():
        yield CallerLogLevels()
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
    logging.disable(logging.NOTSET)


def in_force() -> list[int]:
    return [logging.getLogger(name).level for name in NAMES]


def test_they_change_with_the_call_and_go_back(levels: CallerLogLevels) -> None:
    logging.root.setLevel(logging.WARNING)
    levels.store({"fc-1": dump_levels(LogLevels({"": 10, "levels.a": 40}, disabled=5))})
    levels.apply_for("fc-1")
    assert (in_force(), logging.root.manager.disable) == ([10, 40, 0], 5)
    levels.apply_for("fc-2")
    assert (in_force(), logging.root.manager.disable) == ([30, 0, 0], 0)


def test_what_user_code_changed_stays(levels: CallerLogLevels) -> None:
    levels.apply(dump_levels(LogLevels({"": 20, "levels.a": 20})))
    logging.getLogger("levels.a").setLevel(10)
    levels.apply(dump_levels(LogLevels({"": 40, "levels.a": 40, "levels.b": 50})))
    assert in_force() == [40, 10, 50]


def test_a_category_of_a_module_that_comes_later_is_looked_for_again(
    levels: CallerLogLevels, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = WarningFilter("error", "", "later_module:Late", "", 0)
    packed = dump_levels(LogLevels(DEFAULT.levels, filters=(wanted,)))
    levels.by_call["fc-1"] = packed
    levels.apply_for("fc-1")
    module = types.ModuleType("later_module")
    late = type("Late", (UserWarning,), {"__module__": "later_module"})
    module.Late = late  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "later_module", module)
    levels.apply_for("fc-1")
    with pytest.raises(late):
        warnings.warn("now", late, stacklevel=1)
    assert levels.current == packed


def test_filters_are_set_once_as_long_as_no_module_comes(levels: CallerLogLevels) -> None:
    wanted = WarningFilter("ignore", "", "never_loaded:Category", "", 0)
    levels.by_call["fc-1"] = dump_levels(LogLevels(DEFAULT.levels, filters=(wanted,)))
    levels.apply_for("fc-1")
    warnings.simplefilter("error")
    before = list(warnings.filters)
    levels.apply_for("fc-1")
    assert list(warnings.filters) == before


def test_calls_that_are_long_over_are_forgotten(levels: CallerLogLevels) -> None:
    for number in range(1000):
        levels.store({f"fc-{number}": b"x"})
    assert len(levels.by_call) == 256
    assert "fc-999" in levels.by_call


def test_many_levels_are_cut_and_those_near_the_root_stay() -> None:
    many = {"": 10} | {f"package{n}.module.part": 10 for n in range(1000)}
    found = load_levels(dump_levels(LogLevels(many)))
    assert found.levels[""] == 10
    assert len(dump_levels(LogLevels(many))) <= 4096


@pytest.mark.parametrize("data", [b"\xff", b"nonsense", b"\x93\x01\x02\x03"])
def test_what_cannot_be_read_is_as_if_nothing_was_configured(data: bytes) -> None:
    assert load_levels(data) == DEFAULT
