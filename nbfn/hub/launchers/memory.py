"""Measures how much memory a process and its descendants hold, as cheaply as a limit allows."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Part of the time that may be spent on exact measurements of one tree of processes.
SHARE = 0.05


class MemoryUse:
    """The memory of one tree of processes.

    The sum of what is resident in each is cheap, and never too small. Only while it is over the limit, memory that
    the processes share is counted exactly, and seldom enough that this takes no more than `SHARE` of the time.

    Args:
        pid: Of the process.
        resident: Returns the sum of what is resident in it and in each of its descendants.
        exact: Returns the same with memory that they share counted once.

    Attributes:
        peak: The most bytes seen, counted exactly where that was needed.
    """

    def __init__(
        self, pid: int, resident: Callable[[int], int], exact: Callable[[int], int]
    ) -> None:
        self.peak = 0
        self._measure_resident = resident
        self._measure_exact = exact
        self._pid = pid
        self._exact = 0
        self._resident = 0  # when that was measured
        self._again_at = 0.0

    def exceeds(self, limit: int) -> bool:
        """Whether the processes hold more bytes than this together, each shared page counted once."""
        resident = self._measure_resident(self._pid)
        if resident <= limit:
            self.peak = max(self.peak, resident)
            return False
        began = time.monotonic()
        grown = resident - self._resident
        if began < self._again_at and self._exact + grown <= limit:
            return False
        self._exact, self._resident = self._measure_exact(self._pid), resident
        ended = time.monotonic()
        self._again_at = ended + (ended - began) / SHARE
        self.peak = max(self.peak, self._exact)
        return self._exact > limit
