"""Tells values that are nested too deeply for pickle from others that cannot be pickled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: The remedy.
FLATTEN = (
    "Pass flat data instead, such as a list of its parts with the index of the parent of each."
)
#: Levels below which an endless recursion has another reason, and above which they are not counted.
LEAST, MOST = 50, 1_000_000
#: Parts that are looked at.
WIDEST = 2_000_000


def describe_depth(value: Any, error: BaseException) -> str:
    """Return the words that describe how deeply a value is nested; "" if that is not why it cannot be pickled.

    Args:
        value: The value.
        error: What pickling it raised.

    Examples:
        >>> too_deep([[]], RecursionError())
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
