"""Time spans as text: formatting for displays, and parsing of what users type."""

from __future__ import annotations

import re
from datetime import timedelta

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_span(text: str) -> timedelta:
    """Return a span such as ``90s``, ``10m``, ``2h``, ``1d`` or ``1w``.

    Raises:
        ValueError: If it is not a span; says which are.

    Examples:
        >>> parse_span("10m")
        datetime.timedelta(seconds=600)
    """
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError("Pass a span like 90s, 10m, 2h or 1d.")
    return timedelta(seconds=float(found[1]) * _SECONDS[found[2]])


def format_span(seconds: float) -> str:
    """Return seconds with a decimal below 10 seconds, and as a clock above.

    Examples:
        >>> format_span(4.23), format_span(72), format_span(3723)
        ('4.2 s', '1:12', '1:02:03')
    """
    return f"{seconds:.1f} s" if seconds < 10 else format_clock(seconds)


def format_clock(seconds: float) -> str:
    """Return seconds as a clock shows them.

    Examples:
        >>> format_clock(4.23), format_clock(3723)
        ('0:04', '1:02:03')
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
