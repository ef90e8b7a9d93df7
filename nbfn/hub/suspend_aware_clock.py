"""The hub's time: seconds in which it was awake.

What is stopped (SIGSTOP, a debugger, a machine without breath) hears nobody; if its own sleep counted, it
would wake up to find every lease and every client's grace over, before it had read what they said meanwhile.
"""

from __future__ import annotations

import time

#: Seconds between two looks at the clock from which on the hub must have slept; it looks at least once a second.
ASLEEP = 3.0


class SuspendAwareClock:
    """A monotonic clock that stands still while nobody looks at it for long."""

    def __init__(self) -> None:
        self._slept = 0.0
        self._last = time.monotonic()

    def now(self) -> float:
        """Return the seconds."""
        now = time.monotonic() - self._slept
        if now - self._last > ASLEEP:
            self._slept += now - self._last
            return self._last
        self._last = now
        return now
