"""Several who write to one place: whose text goes out when, so that no line is of two of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

#: Characters of a line after which it goes out unfinished.
LONGEST = 8 * 1024


class LineMultiplexer:
    """Puts the texts of several writers one after the other.

    Who writes alone is heard at once. Who does not is heard in whole lines; a carriage return ends
    a line, too, so that bars go on moving.

    Args:
        write: Takes what goes out. It is called by one thread at a time.
        lock: Held meanwhile; reentrant, since a signal handler of the user's may print. Its own, if none is given.
    """

    def __init__(self, write: Callable[[str], object], lock: threading.RLock | None = None) -> None:
        self._write = write
        self._held: dict[Hashable, str] = {}
        self._begun: Hashable = None  # whose unfinished line is out
        self._turn = lock or threading.RLock()

    def say(self, who: Hashable, text: str, *, alone: bool) -> None:
        """Write a text of somebody's."""
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
        """Note that somebody has written the beginning of a line without `say`."""
        self._begun = who

    def flush(self, who: Hashable) -> None:
        """Write what somebody began."""
        if self._held:
            with self._turn:
                self._put(who, self._held.pop(who, ""))

    def end(self) -> None:
        """Write what is begun, of all."""
        for who in tuple(self._held):
            self.flush(who)

    def _put(self, who: Hashable, text: str) -> None:
        if not text:
            return
        if self._begun is not None and self._begun != who:
            text = f"\n{text}"
        self._begun = None if text[-1] in "\r\n" else who
        self._write(text)
