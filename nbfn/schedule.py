"""`Cron` and `Period`: when the hub calls a Function by itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cron:
    """A crontab line: minute, hour, day of month, month, day of week.

    Args:
        cron_string: The five fields.
        timezone: The name of the time zone they are in.

    Examples:
        >>> Cron("0 9 * * 1", timezone="Europe/Berlin").timezone
        'Europe/Berlin'
    """

    __module__ = "nbfn"

    cron_string: str
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A time span between two calls, counted from the deploy.

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
