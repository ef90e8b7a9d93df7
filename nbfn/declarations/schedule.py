"""Provides `Cron` and `Period`, the schedules on which the hub calls a Function."""

from __future__ import annotations

import dataclasses
import datetime
import math
import zoneinfo
from dataclasses import dataclass
from typing import Any

from cronsim import CronSim, CronSimError

from nbfn.exception import InvalidError
from nbfn.runtime.traceback_filter import trimmed_init

#: The shortest period in seconds, and the longest in years.
SHORTEST, MOST_YEARS = 0.001, 100
#: The approximate length of each unit in years.
_YEARS = {
    "years": 1.0, "months": 1 / 12, "weeks": 1 / 52, "days": 1 / 365, "hours": 1 / 8760,
    "minutes": 1 / 525_600, "seconds": 1 / 31_536_000,
}  # fmt: skip
_SOME_TIME = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)


@trimmed_init
@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule from a crontab line: minute, hour, day of month, month, day of week.

    Args:
        cron_string: The five fields, separated by spaces.
        timezone: The name of the time zone for the fields.

    Raises:
        InvalidError: If the line is not valid, or the time zone is unknown.

    Examples:
        >>> Cron("0 9 * * 1", timezone="Europe/Berlin").timezone
        'Europe/Berlin'
    """

    __module__ = "nbfn"

    cron_string: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if len(str(self.cron_string).split()) != 5:
            raise InvalidError(
                f"{self.cron_string!r} is not a crontab line of five fields "
                "(minute, hour, day of month, month, day of week), such as '0 9 * * 1'."
            )
        try:
            CronSim(str(self.cron_string), _SOME_TIME)
        except CronSimError as error:
            raise InvalidError(
                f"{self.cron_string!r} is not a crontab line: {str(error).rstrip('.')}."
            ) from None
        time_zone(self.timezone)


@trimmed_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A schedule with a fixed time between two calls, starting at the deployment.

    The arguments are added. Months and years are calendar months and years.

    Raises:
        InvalidError: If the period is zero or too long, or an argument is negative or not a number.

    Examples:
        >>> Period(hours=6).hours
        6
    """

    __module__ = "nbfn"

    years: int = 0
    months: int = 0
    weeks: int = 0
    days: int = 0
    hours: int = 0
    minutes: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        parts = dataclasses.asdict(self)
        for name, value in parts.items():
            _check_part(name, value)
        if any(value > MOST_YEARS / _YEARS[name] for name, value in parts.items()):
            raise InvalidError(f"A period is at most {MOST_YEARS} years long.")
        if parts.pop("seconds") < SHORTEST and not any(parts.values()):
            raise InvalidError(
                f"Period(seconds={self.seconds!r}) is no time at all; give one, such as Period(hours=6)."
            )


def _check_part(name: str, value: Any) -> None:
    """Check the number of one unit of a period."""
    whole = name != "seconds"
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
        kind = "whole number" if whole else "number"
        raise InvalidError(f"Period({name}={value!r}): {name} must be a {kind}.")
    if value < 0:
        raise InvalidError(f"Period({name}={value!r}): a period cannot be negative.")


def time_zone(name: str) -> zoneinfo.ZoneInfo:
    """Return the time zone with a name.

    Args:
        name: A name such as 'Europe/Berlin' or 'UTC'.

    Raises:
        InvalidError: If it is unknown.
    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise InvalidError(
            f"Unknown time zone {name!r}. Use a name such as 'Europe/Berlin' or 'UTC'."
        ) from None
