"""Computes when a schedule is due next, as pure functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError
from dateutil.relativedelta import relativedelta

from nbfn.declarations.schedule import SHORTEST, Cron, Period, time_zone
from nbfn.exception import InvalidError
from nbfn.protocol.messages import Schedule

#: Approximate seconds of a month, to estimate where the search starts.
_MONTH = 30.44 * 86400


def problem(schedule: Schedule) -> str:
    """Return why a schedule is invalid, or ""."""
    s = schedule
    try:
        if s.cron:
            Cron(s.cron, s.timezone)
        else:
            Period(
                years=s.years,
                months=s.months,
                weeks=s.weeks,
                days=s.days,
                hours=s.hours,
                minutes=s.minutes,
                seconds=s.seconds,
            )
    except InvalidError as error:
        return str(error)
    return ""


def text(schedule: Schedule) -> str:
    """Return a schedule as text: ``0 9 * * 1 (UTC)``, ``every 6 hours``."""
    if schedule.cron:
        return f"{schedule.cron} ({schedule.timezone})"
    units = ("years", "months", "weeks", "days", "hours", "minutes", "seconds")
    given = [(getattr(schedule, unit), unit) for unit in units if getattr(schedule, unit)]
    parts = [f"{n:g} {unit if n != 1 else unit[:-1]}" for n, unit in given]
    return f"every {' '.join(parts)}"


def following(schedule: Schedule, anchor: datetime, after: datetime) -> datetime | None:
    """Return the first time after ``after`` at which a schedule is due.

    Args:
        schedule: A crontab line in its time zone, or a period. A time that is skipped by a change to summer time
            is due right after it; a time that is repeated is due once.
        anchor: The start of the first period.
        after: A time with a time zone.

    Returns:
        The time, in UTC; None for never.
    """
    try:
        return _cron(schedule, after) if schedule.cron else _period(schedule, anchor, after)
    except (CronSimError, InvalidError, ValueError, OverflowError):
        return None  # invalid, or beyond the last year


def _cron(schedule: Schedule, after: datetime) -> datetime | None:
    zone = time_zone(schedule.timezone)
    for local in CronSim(schedule.cron, after.astimezone(zone)):
        found = local.astimezone(UTC)
        if found > after:  # in a repeated hour, the first occurrence may have been found
            return found
    return None


def _period(schedule: Schedule, anchor: datetime, after: datetime) -> datetime:
    s = schedule
    months = 12 * s.years + s.months
    rest = timedelta(
        weeks=s.weeks, days=s.days, hours=s.hours, minutes=s.minutes, seconds=s.seconds
    )

    def number(count: int) -> datetime:
        moved: datetime = anchor + relativedelta(months=months * count)
        return moved + rest * count

    about = months * _MONTH + rest.total_seconds()
    if about < SHORTEST:
        raise ValueError(schedule)
    count = max(1, int((after - anchor).total_seconds() / about))
    while number(count) <= after:
        count += 1
    while count > 1 and number(count - 1) > after:
        count -= 1
    return number(count)
