"""`progress`: reports the progress of a loop inside a remote function."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two updates.
INTERVAL = 0.25


def progress(iterable: Iterable[T], *, total: int | None = None, desc: str = "") -> Iterator[T]:
    """Iterate, and show the progress under the cell of a call, in its display, or in the log of a map.

    Rewrites one line on stderr, at most four times a second; also outside of a worker.

    Args:
        iterable: What to iterate over.
        total: How many items there are, if ``len`` does not tell.
        desc: The beginning of the line.

    Yields:
        The items.

    Examples:
        >>> import contextlib, sys
        >>> with contextlib.redirect_stderr(sys.stdout):
        ...     print(sum(progress([1, 2, 3], desc="adding"))) # doctest: +ELLIPSIS
        adding 0/3...
        6
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    began = updated = time.monotonic()
    done = 0
    _write_line(desc, done, total, 0.0, "\r")
    try:
        for item in iterable:
            yield item
            done += 1
            now = time.monotonic()
            if now - updated >= INTERVAL:
                updated = now
                _write_line(desc, done, total, now - began, "\r")
    finally:
        _write_line(desc, done, total, time.monotonic() - began, "\n")


def _write_line(desc: str, done: int, total: int | None, seconds: float, end: str) -> None:
    of = f"/{total}" if total is not None else ""
    share = f" · {done / total:.0%}" if total else ""
    rate = f" · {done / seconds:.1f}/s" if done and seconds > 0 else ""
    line = f"{desc} {done}{of}{share}{rate}".strip()
    # Padded, since the previous line may be longer.
    sys.stderr.write(f"{line:<40}{end}")
    sys.stderr.flush()
