"""When a schedule is due next: months, leap years, clocks that are put forward and back."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbfn.hub.scheduler import cron_times
from nbfn.protocol.messages import Payload, Schedule

ANCHOR = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def schedule(cron: str = "", timezone: str = "UTC", **parts: Any) -> Schedule:
    return Schedule(Payload(b""), cron, timezone, **parts)


def times(what: Schedule, start: datetime, count: int) -> list[datetime]:
    found = []
    after = start
    for _ in range(count):
        due = cron_times.following(what, ANCHOR, after)
        assert due is not None
        assert due > after
        found.append(due)
        after = due
    return found


def at(*parts: int, zone: str = "UTC") -> datetime:
    return datetime(*parts, tzinfo=ZoneInfo(zone)).astimezone(UTC)  # type: ignore[misc, arg-type]


def test_a_line_is_due_when_it_says() -> None:
    start = at(2026, 3, 2, 9, 0)  # a Monday, and due itself: what comes after it is asked for
    assert times(schedule("0 9 * * 1"), start, 2) == [at(2026, 3, 9, 9), at(2026, 3, 16, 9)]
    assert times(schedule("*/30 * * * *"), start, 2) == [at(2026, 3, 2, 9, 30), at(2026, 3, 2, 10)]


def test_a_line_is_of_its_time_zone() -> None:
    due = times(schedule("0 9 * * *", "Asia/Tokyo"), at(2026, 3, 2, 1, 0), 1)
    assert due == [at(2026, 3, 3, 9, zone="Asia/Tokyo")] == [at(2026, 3, 3, 0)]


def test_a_time_that_the_clocks_skip_is_due_when_they_have() -> None:
    berlin = "Europe/Berlin"  # 2026-03-29: 02:00 is 03:00
    due = times(schedule("30 2 * * *", berlin), at(2026, 3, 28, 12, zone=berlin), 2)
    assert due == [at(2026, 3, 29, 3, 0, zone=berlin), at(2026, 3, 30, 2, 30, zone=berlin)]


def test_a_time_that_comes_twice_is_due_once() -> None:
    berlin = "Europe/Berlin"  # 2026-10-25: 03:00 is 02:00 again
    daily = schedule("30 2 * * *", berlin)
    due = times(daily, at(2026, 10, 24, 12, zone=berlin), 2)
    assert due == [at(2026, 10, 25, 0, 30), at(2026, 10, 26, 1, 30)]
    between = at(2026, 10, 25, 1, 10)  # a hub that begins within the second one
    assert times(daily, between, 1) == [at(2026, 10, 26, 1, 30)]


def test_an_hourly_line_goes_on_through_both() -> None:
    hourly = schedule("0 * * * *", "Europe/Berlin")
    for start in (at(2026, 3, 28, 22), at(2026, 10, 24, 22)):
        due = times(hourly, start, 6)
        assert [b - a for a, b in itertools.pairwise(due)] == [timedelta(hours=1)] * 5


def test_a_period_is_counted_from_its_anchor() -> None:
    half_day = schedule(hours=12)
    assert times(half_day, ANCHOR, 2) == [at(2026, 2, 1, 0), at(2026, 2, 1, 12)]
    assert times(half_day, at(2026, 2, 5, 3, 7), 1) == [at(2026, 2, 5, 12)]


def test_a_month_is_the_calendars() -> None:
    due = times(schedule(months=1), ANCHOR, 4)
    assert due == [
        at(2026, 2, 28, 12),
        at(2026, 3, 31, 12),
        at(2026, 4, 30, 12),
        at(2026, 5, 31, 12),
    ]
    assert times(schedule(years=1, days=1), ANCHOR, 2) == [at(2027, 2, 1, 12), at(2028, 2, 2, 12)]


@given(
    months=st.integers(0, 30),
    seconds=st.floats(0, 1e7),
    passed=st.floats(0, 1e9),
)
def test_the_next_time_is_the_next_one(months: int, seconds: float, passed: float) -> None:
    what = schedule(months=months, seconds=seconds)
    after = ANCHOR + timedelta(seconds=passed)
    due = cron_times.following(what, ANCHOR, after)
    if not months and seconds < 0.001:
        assert due is None
        return
    assert due is not None
    assert due > after
    before = cron_times.following(what, ANCHOR, due - timedelta(microseconds=1))
    assert before == due
    length = months * 31 * 86400 + seconds
    assert due - after <= timedelta(seconds=length + 1e-3)


@pytest.mark.parametrize(
    "what",
    [
        schedule("61 * * * *"),
        schedule("0 0 * *"),
        schedule("0 0 * * *", "Mars/Base"),
        schedule("0 0 * * *", "../../etc/passwd"),
        schedule(),
        schedule(hours=-1),
        schedule(seconds=float("nan")),
        schedule(seconds=1e300),
        schedule(years=10**9),
        schedule(weeks=10**18),
    ],
)
def test_nonsense_is_never_due(what: Schedule) -> None:
    assert cron_times.following(what, ANCHOR, ANCHOR) is None


def test_what_is_wrong_is_said() -> None:
    assert cron_times.problem(schedule("0 9 * * 1", "Europe/Berlin")) == ""
    assert cron_times.problem(schedule(days=1)) == ""
    assert "time zone 'Mars/Base'" in cron_times.problem(schedule("0 9 * * 1", "Mars/Base"))
    assert "no time at all" in cron_times.problem(schedule())


def test_people_are_told_when_it_is_due() -> None:
    assert cron_times.text(schedule("0 9 * * 1", "Europe/Berlin")) == "0 9 * * 1 (Europe/Berlin)"
    assert cron_times.text(schedule(seconds=1)) == "every 1 second"
    assert cron_times.text(schedule(hours=6, minutes=30)) == "every 6 hours 30 minutes"
