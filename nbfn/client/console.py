"""This process's stdout and stderr, to which several calls write: each line is of one of them."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from typing import Protocol, TextIO
from weakref import WeakKeyDictionary


class Row(Protocol):
    """A line that is rewritten in its place, and stays below what is written."""

    def hide(self) -> None:
        """Take it away."""

    def show(self) -> None:
        """Write it again."""


#: Rows that are shown; the last one is at the bottom.
rows: list[Row] = []
#: Called, on any thread, when what is written goes into a pipe that nobody reads any more.
on_broken_pipe: Callable[[], object] | None = None


def write(channel: str, text: str, *, source: str = "calls") -> None:
    """Write a text at once; where a line from another source is unfinished, on a line of its own.

    Args:
        channel: stdout or stderr.
        text: The text.
        source: Where it comes from: this process's own calls, or others.
    """
    with _lock:
        stream = getattr(sys, channel)
        if stream is None or not text:
            return
        with contextlib.suppress(TypeError):  # a stream of the user's that has no hash, say
            if _unfinished.pop(stream, source) != source:
                text = f"\n{text}"
            if text[-1] not in "\r\n":
                _unfinished[stream] = source
        _write(stream, text)


def _write(stream: TextIO, text: str) -> None:
    shown = rows[-1:]
    for row in shown:
        row.hide()
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        if on_broken_pipe is not None:
            on_broken_pipe()
    for row in shown:
        row.show()


_lock = threading.RLock()  # reentrant, since a signal handler of the user's may print
#: The source of the unfinished line at the end of a stream. Users put other streams in place of ``sys.stdout``.
_unfinished: WeakKeyDictionary[TextIO, str] = WeakKeyDictionary()
