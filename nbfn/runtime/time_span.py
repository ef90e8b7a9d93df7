"""Time spans as text: formatting for displays, and parsing of what users type."""

from __future__ import annotations

import re
from datetime import timedelta

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_span(text: str) -> timedelta:
    """Parse a time span.

    Args:
        text: A number and a unit, such as ``90s``, ``10m``, ``2h``, ``1d`` or ``1w``.

    Returns:
        The span.

    Raises:
        ValueError: If the text is not a time span.

    Examples:
        >>> parse_span("10m")
        datetime.timedelta(seconds=600)
    """
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError("Pass a span like 90s, 10m, 2h or 1d.")
    return timedelta(seconds=float(found[1]) * _SECONDS[found[2]])


def format_span(seconds: float) -> str:
    """Format a number of seconds: with one decimal below 10 seconds, otherwise as `format_clock` does.

    Examples:
        >>> format_span(4.23), format_span(72), format_span(3723)
        ('4.2 s', '1:12', '1:02:03')
    """
    return f"{seconds:.1f} s" if seconds < 10 else format_clock(seconds)


def format_clock(seconds: float) -> str:
    """Format a number of seconds as ``minutes:seconds`` or ``hours:minutes:seconds``.

    Examples:
        >>> format_clock(4.23), format_clock(3723)
        ('0:04', '1:02:03')
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
