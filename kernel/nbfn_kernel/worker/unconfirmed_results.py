"""Counts the bytes of results that the hub has not confirmed: with too many, a worker begins no input."""

from __future__ import annotations

import threading
from collections.abc import Callable

#: Bytes of results that may be unconfirmed when an input begins.
UNCONFIRMED_BYTES = 32 * 1024 * 1024
#: Seconds between two looks whether the worker is to stop.
LOOK = 0.1


class UnconfirmedResults:
    """Counts results of one worker.

    Args:
        hurry: Has the hub told of what was made.

    Attributes:
        made: Bytes of all results; written by the thread that runs inputs.
        confirmed: Bytes of those that are safe; written by the connection's thread.
    """

    def __init__(self, hurry: Callable[[], None]) -> None:
        self.made = 0
        self.confirmed = 0
        self._hurry = hurry
        self._news = threading.Event()
        self._lock = threading.Lock()

    @property
    def full(self) -> bool:
        """Whether nothing more should begin."""
        return self.made - self.confirmed >= UNCONFIRMED_BYTES

    def add(self, weight: int) -> None:
        """Count results, on any thread."""
        with self._lock:
            self.made += weight

    def confirm(self, weight: int) -> None:
        """Count results that are safe; on the connection's thread."""
        self.confirmed += weight
        self._news.set()

    def await_room(self, stopping: Callable[[], bool]) -> None:
        """Wait until another input may begin, or the worker is to stop."""
        while self.full and not stopping():
            self._hurry()
            self._news.clear()
            if self.full:
                self._news.wait(LOOK)
