"""A monotonic clock that excludes time in which the process was suspended (SIGSTOP, a debugger, a
suspended machine), so that leases and grace periods do not expire before pending messages are read.
"""

from __future__ import annotations

import time

#: Seconds between two calls that mean a suspension; the hub calls `now` at least once a second.
ASLEEP = 3.0


class SuspendAwareClock:
    """A monotonic clock that does not advance during a suspension."""

    def __init__(self) -> None:
        self._slept = 0.0
        self._last = time.monotonic()

    def now(self) -> float:
        """Return the seconds without suspensions."""
        now = time.monotonic() - self._slept
        if now - self._last > ASLEEP:
            self._slept += now - self._last
            return self._last
        self._last = now
        return now
