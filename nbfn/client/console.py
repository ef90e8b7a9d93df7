"""Writes to this process's stdout and stderr so that lines of several calls do not mix."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from typing import Protocol, TextIO
from weakref import WeakKeyDictionary


class Row(Protocol):
    """A line that is rewritten in place and stays below other output."""

    def hide(self) -> None:
        """Clear the line."""

    def show(self) -> None:
        """Write the line again."""


#: Rows that are shown; the last one is at the bottom.
rows: list[Row] = []
#: Called on any thread when the reading end of the pipe that stdout or stderr is has been closed.
on_broken_pipe: Callable[[], object] | None = None


def write(channel: str, text: str, *, source: str = "calls") -> None:
    """Write text at once; after an unfinished line of another source, on a new line.

    Args:
        channel: stdout or stderr.
        text: The text.
        source: Who writes it; lines of two sources are not mixed.
    """
    with _lock:
        stream = getattr(sys, channel)
        if stream is None or not text:
            return
        with contextlib.suppress(TypeError):  # a stream of the user's without a hash
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
