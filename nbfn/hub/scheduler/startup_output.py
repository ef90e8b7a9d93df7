"""Buffers output of a worker outside of inputs until it is sent to the calls that should receive it."""

from __future__ import annotations

from collections import deque
from itertools import islice

#: Most bytes that are kept; the oldest are dropped.
MOST_KEPT = 256 * 1024


class StartupOutput:
    """Parts of output in order, and up to which part each call has received them."""

    __slots__ = ("_first", "_parts", "_shown", "_size")

    def __init__(self) -> None:
        self._parts: deque[tuple[str, bytes]] = deque()
        self._size = 0
        self._first = 0  # the number of the first part that is kept
        self._shown: dict[str, int] = {}  # by call, the number of the next part

    def add(self, channel: str, data: bytes) -> None:
        """Add a part."""
        self._parts.append((channel, data))
        self._size += len(data)
        while self._size > MOST_KEPT and len(self._parts) > 1:
            self._size -= len(self._parts.popleft()[1])
            self._first += 1

    def new_for(self, call: str) -> list[tuple[str, bytes]]:
        """Return the parts that a call has not received yet, as (channel, data)."""
        since = max(self._shown.get(call, 0) - self._first, 0)
        self._shown[call] = self._first + len(self._parts)
        return list(islice(self._parts, since, None))
