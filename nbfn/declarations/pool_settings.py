"""Checks the settings of a pool of workers."""

from __future__ import annotations

from typing import Any

from nbfn.declarations.retries import LARGEST_COUNT, check_at_most, is_int, is_number
from nbfn.exception import InvalidError

#: The most seconds that an idle worker may be kept.
LONGEST_WINDOW = 1200.0
#: The smallest value of each setting that is a number of workers.
_LEAST = {"min_containers": 0, "max_containers": 1, "buffer_containers": 0}
NAMES = (*_LEAST, "scaledown_window")


def check_count(name: str, value: Any, least: int) -> int:
    """Check that a value is a whole number and not below ``least``, and return it.

    Args:
        name: The name of the setting, for the error message.
        value: The value.
        least: The smallest valid number.

    Raises:
        InvalidError: If the value is not valid or too large.
    """
    if not is_int(value) or value < least:
        raise InvalidError(f"{name} is {value!r}; it must be a whole number, {least} or more.")
    check_at_most(name, value, LARGEST_COUNT)
    return int(value)


def check_pool_setting(setting: str, value: Any, shown: str = "") -> Any:
    """Check the value of one setting of a pool, and return it.

    Args:
        setting: One of `NAMES`.
        value: Its value; seconds for ``scaledown_window``, otherwise a number of workers.
        shown: The name of the setting in the error message, if it is another one.

    Raises:
        InvalidError: If the value is not valid.
    """
    name = shown or setting
    if setting != "scaledown_window":
        return check_count(name, value, _LEAST[setting])
    if not is_number(value) or not 0 < value <= LONGEST_WINDOW:
        raise InvalidError(
            f"{name} is {value!r}; it must be > 0 and at most {LONGEST_WINDOW:.0f} seconds."
        )
    return float(value)


def check_pool_bounds(least: int | None, most: int | None) -> None:
    """Check that the bounds of a pool do not contradict each other.

    Args:
        least: ``min_containers``; None if it is not given.
        most: ``max_containers``; None if it is not given.

    Raises:
        InvalidError: If ``least`` is above ``most``.
    """
    if least is not None and most is not None and least > most:
        raise InvalidError(f"min_containers ({least}) is above max_containers ({most}).")
