"""Applies back-pressure: delays inputs while too many bytes of results are not confirmed by the hub."""

from __future__ import annotations

import threading
from collections.abc import Callable

#: An input starts only while fewer bytes of results are unconfirmed.
UNCONFIRMED_BYTES = 32 * 1024 * 1024
#: Seconds between checks whether the worker is stopping.
POLL_INTERVAL = 0.1


class UnconfirmedResults:
    """Counts the bytes of one worker's results.

    Args:
        send_now: Sends queued results to the hub without delay.

    Attributes:
        total: Bytes of all results; written by the thread that runs inputs.
        confirmed: Bytes of results that the hub has confirmed; written by the connection's thread.
    """

    def __init__(self, send_now: Callable[[], None]) -> None:
        self.total = 0
        self.confirmed = 0
        self._send_now = send_now
        self._confirmed_event = threading.Event()
        self._lock = threading.Lock()

    @property
    def full(self) -> bool:
        """Whether no further input may start."""
        return self.total - self.confirmed >= UNCONFIRMED_BYTES

    def add(self, weight: int) -> None:
        """Count results; thread-safe."""
        with self._lock:
            self.total += weight

    def confirm(self, weight: int) -> None:
        """Count confirmed results; called by the connection's thread."""
        self.confirmed += weight
        if not self._confirmed_event.is_set():
            self._confirmed_event.set()

    def wait_for_room(self, stopping: Callable[[], bool]) -> None:
        """Wait until another input may start, or ``stopping`` returns True."""
        while self.full and not stopping():
            self._send_now()
            self._confirmed_event.clear()
            if self.full:
                self._confirmed_event.wait(POLL_INTERVAL)
