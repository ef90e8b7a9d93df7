"""The settings of a pool of workers: which values each may have, and which go together."""

from __future__ import annotations

from typing import Any

from nbfn.declarations.retries import LARGEST_COUNT, check_at_most, is_int, is_number
from nbfn.exception import InvalidError

#: Seconds an idle worker may be kept at most.
LONGEST_WINDOW = 1200.0
#: The smallest value of each setting that is a number of workers.
_LEAST = {"min_containers": 0, "max_containers": 1, "buffer_containers": 0}
NAMES = (*_LEAST, "scaledown_window")


def check_count(name: str, value: Any, least: int) -> int:
    """Return a whole number that is not below ``least``.

    Raises:
        InvalidError: If it is not, or is too large.
    """
    if not is_int(value) or value < least:
        raise InvalidError(f"{name} is {value!r}; it must be a whole number, {least} or more.")
    check_at_most(name, value, LARGEST_COUNT)
    return int(value)


def check_pool_setting(setting: str, value: Any, shown: str = "") -> Any:
    """Return the value of one setting of a pool.

    Args:
        setting: One of `NAMES`.
        value: Its value.
        shown: What the user calls the setting, for the error; the name of the setting if empty.

    Raises:
        InvalidError: If the setting cannot have this value.
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
    """Check that the two bounds of a pool go together.

    Args:
        least: ``min_containers``, None where it is not given.
        most: ``max_containers``, None where it is not given.

    Raises:
        InvalidError: If the least is above the most.
    """
    if least is not None and most is not None and least > most:
        raise InvalidError(f"min_containers ({least}) is above max_containers ({most}).")
