"""Line-buffers concurrent writers so that their lines do not interleave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

#: The most characters of an unfinished line that are buffered.
LONGEST = 8 * 1024


class LineMultiplexer:
    """Writes the output of several writers to one place, line by line.

    A single writer is not buffered; the output of several writers is written in whole lines. A carriage return ends a
    line too, so that progress bars are updated.

    Args:
        write: Function that writes text. It is called by one thread at a time.
        lock: Held while writing. It is reentrant, because a signal handler of user code may print. A new lock if not
            given.
    """

    def __init__(self, write: Callable[[str], object], lock: threading.RLock | None = None) -> None:
        self._write = write
        self._held: dict[Hashable, str] = {}
        self._begun: Hashable = None  # the writer whose unfinished line was written last
        self._turn = lock or threading.RLock()

    def say(self, who: Hashable, text: str, *, alone: bool) -> None:
        """Write text of one writer.

        Args:
            who: The writer.
            text: The text.
            alone: Whether there is no other writer.
        """
        with self._turn:
            if self._held:
                text = self._held.pop(who, "") + text
            if not alone:
                end = max(text.rfind("\n"), text.rfind("\r")) + 1
                if len(text) - end < LONGEST:
                    text, rest = text[:end], text[end:]
                    if rest:
                        self._held[who] = rest
            self._put(who, text)

    def note_unfinished_line(self, who: Hashable) -> None:
        """Record that a writer has written the beginning of a line without `say`."""
        self._begun = who

    def flush(self, who: Hashable) -> None:
        """Write the buffered, unfinished line of a writer."""
        if self._held:
            with self._turn:
                self._put(who, self._held.pop(who, ""))

    def end(self) -> None:
        """Write the buffered, unfinished lines of all writers."""
        for who in tuple(self._held):
            self.flush(who)

    def _put(self, who: Hashable, text: str) -> None:
        if not text:
            return
        if self._begun is not None and self._begun != who:
            text = f"\n{text}"
        self._begun = None if text[-1] in "\r\n" else who
        self._write(text)
