"""`progress`: how far a loop inside a remote function is, told while it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two words.
INTERVAL = 0.25


def progress(iterable: Iterable[T], *, total: int | None = None, desc: str = "") -> Iterator[T]:
    """Iterate, and tell how far that is: under the cell of a call, in its handle, in the log of a map.

    It writes one line to stderr, again and again, at most four times a second; where it is used outside
    of a worker, too.

    Args:
        iterable: What to iterate over.
        total: How many items there are, where ``len`` does not tell.
        desc: What the line begins with.

    Examples:
        >>> import contextlib, sys
        >>> with contextlib.redirect_stderr(sys.stdout):
        ...     print(sum(progress([1, 2, 3], desc="adding"))) # doctest: +ELLIPSIS
        adding 0/3...
        6
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    began = told = time.monotonic()
    done = 0
    _tell(desc, done, total, 0.0, "\r")
    try:
        for item in iterable:
            yield item
            done += 1
            now = time.monotonic()
            if now - told >= INTERVAL:
                told = now
                _tell(desc, done, total, now - began, "\r")
    finally:
        _tell(desc, done, total, time.monotonic() - began, "\n")


def _tell(desc: str, done: int, total: int | None, seconds: float, end: str) -> None:
    of = f"/{total}" if total is not None else ""
    share = f" · {done / total:.0%}" if total else ""
    rate = f" · {done / seconds:.1f}/s" if done and seconds > 0 else ""
    line = f"{desc} {done}{of}{share}{rate}".strip()
    # Padded: it is written over what may be longer.
    sys.stderr.write(f"{line:<40}{end}")
    sys.stderr.flush()
