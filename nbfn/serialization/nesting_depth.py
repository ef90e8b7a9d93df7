"""Detects values that cannot be pickled because they are nested too deeply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: The remedy.
FLATTEN = (
    "Pass flat data instead, such as a list of its parts with the index of the parent of each."
)
#: The least number of levels that explains a RecursionError, and the number at which counting stops.
LEAST, MOST = 50, 1_000_000
#: The most parts that are examined.
WIDEST = 2_000_000


def describe_depth(value: Any, error: BaseException) -> str:
    """Return a phrase that describes how deeply a value is nested.

    Args:
        value: The value.
        error: The exception that pickling the value raised.

    Returns:
        The phrase; "" if the depth is not the reason why it cannot be pickled.

    Examples:
        >>> describe_depth([[]], RecursionError())
        ''
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, RecursionError):
        cause = cause.__cause__
    if cause is None or (levels := depth(value)) < LEAST:
        return ""
    return f" nested too deeply, {'over ' if levels >= MOST else ''}{levels:,} levels"


def depth(value: Any) -> int:
    """Return the number of levels of a nested value, at most `MOST`.

    Examples:
        >>> depth({"a": [1, (2,)]})
        3
    """
    level, parts, seen, looked = 0, [value], {id(value)}, 0
    while parts and level < MOST and looked < WIDEST:
        level += 1
        looked += len(parts)
        inner = [part for outer in parts for part in _parts(outer)]
        parts = []
        for part in inner:
            if id(part) not in seen:
                seen.add(id(part))
                parts.append(part)
        if not any(_is_nested(part) for part in parts):
            break
    return level


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple | set | frozenset) or hasattr(value, "__dict__")


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return value
    if isinstance(value, type):
        return ()
    return list(getattr(value, "__dict__", {}).values())
