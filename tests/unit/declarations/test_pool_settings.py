"""The values that settings of a pool may have."""

from __future__ import annotations

from typing import Any

import pytest

from nbfn.declarations.pool_settings import check_pool_bounds, check_pool_setting
from nbfn.exception import InvalidError


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("min_containers", 0),
        ("max_containers", 1),
        ("buffer_containers", 3),
        ("scaledown_window", 0.5),
        ("scaledown_window", 1200),
    ],
)
def test_values_within_the_bounds_are_returned(setting: str, value: Any) -> None:
    assert check_pool_setting(setting, value) == value


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("min_containers", -1, "a whole number, 0 or more"),
        ("min_containers", True, "a whole number, 0 or more"),
        ("max_containers", 0, "a whole number, 1 or more"),
        ("max_containers", 1.5, "a whole number, 1 or more"),
        ("buffer_containers", 2**40, "at most 1000000"),
        ("scaledown_window", 0, "> 0 and at most 1200 seconds"),
        ("scaledown_window", float("nan"), "> 0 and at most 1200 seconds"),
    ],
)
def test_values_outside_of_the_bounds_are_refused(setting: str, value: Any, says: str) -> None:
    with pytest.raises(InvalidError, match=f"^{setting} is .*; it must be {says}"):
        check_pool_setting(setting, value)
    with pytest.raises(InvalidError, match=f"^--flag is .*; it must be {says}"):
        check_pool_setting(setting, value, shown="--flag")


def test_the_least_is_not_above_the_most() -> None:
    check_pool_bounds(2, 2)
    check_pool_bounds(None, 2)
    check_pool_bounds(2, None)
    with pytest.raises(InvalidError, match=r"min_containers \(3\) is above max_containers \(2\)"):
        check_pool_bounds(3, 2)
