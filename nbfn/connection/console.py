"""This process's stdout and stderr, to which several calls write: each line is of one of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Protocol

from nbfn.voices import Voices


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
    _voices[channel].say(source, text, alone=True)


def _writing(channel: str) -> Callable[[str], None]:
    def put(text: str) -> None:
        stream = getattr(sys, channel)
        if stream is None:
            return
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

    return put


_voices = {channel: Voices(_writing(channel)) for channel in ("stdout", "stderr")}
