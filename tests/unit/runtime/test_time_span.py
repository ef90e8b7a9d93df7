"""Time spans as text, and back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nbfn.runtime.time_span import format_clock, format_span, parse_span


def test_spans_are_formatted_as_seconds_and_then_as_a_clock() -> None:
    assert [format_span(s) for s in (0, 4.23, 9.94, 10, 72, 3723, 100_000)] == [
        *("0.0 s", "4.2 s", "9.9 s", "0:10", "1:12", "1:02:03", "27:46:40"),
    ]
    assert format_clock(4.23) == "0:04"


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("10m", timedelta(minutes=10)),
        ("1.5 h", timedelta(minutes=90)),
        ("1d", timedelta(days=1)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_spans_are_parsed(text: str, span: timedelta) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["", "x", "10", "-1h", "1y", "h"])
def test_what_is_not_a_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^Pass a span like 90s, 10m, 2h or 1d\.$"):
        parse_span(text)
