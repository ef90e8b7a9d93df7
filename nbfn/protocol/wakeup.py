"""Provides a file descriptor that any thread can make readable: an eventfd, or a pipe where there is no eventfd."""

from __future__ import annotations

import os
import sys
import weakref

_ONE = (1).to_bytes(
    8, sys.byteorder
)  # an eventfd requires integers of eight bytes; a pipe accepts any bytes


class Wakeup:
    """Wakes a thread that polls `fileno`.

    The descriptor stays open as long as the object exists, so other threads can call `set` at any time without a lock.
    If it were closed earlier, they could write to a file of the user that has the same descriptor number.
    """

    def __init__(self) -> None:
        if sys.platform == "linux" and hasattr(os, "eventfd"):
            self._readable = self._writable = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self._readable, self._writable = os.pipe()
            os.set_blocking(self._readable, False)
            os.set_blocking(self._writable, False)
        weakref.finalize(self, _close, {self._readable, self._writable})

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._readable

    def set(self) -> None:
        """Make the descriptor readable. Safe from any thread and from signal handlers."""
        try:
            os.write(self._writable, _ONE)
        except BlockingIOError:  # it is full, and therefore readable
            pass

    def clear(self) -> None:
        """Make the descriptor unreadable until the next `set`."""
        try:
            os.read(self._readable, 64 * 1024)
        except BlockingIOError:
            pass


def _close(descriptors: set[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
