"""Keeps what a worker wrote outside of any input until the calls that it is for were shown it."""

from __future__ import annotations

from collections import deque
from itertools import islice

#: Bytes that are kept; the oldest go.
MOST_KEPT = 256 * 1024


class StartupOutput:
    """Parts of output in order, and how far each call was shown them."""

    __slots__ = ("_first", "_parts", "_shown", "_size")

    def __init__(self) -> None:
        self._parts: deque[tuple[str, bytes]] = deque()
        self._size = 0
        self._first = 0  # the number of the first part that is kept
        self._shown: dict[str, int] = {}  # by call, the number of the next part

    def add(self, channel: str, data: bytes) -> None:
        """Keep one more part."""
        self._parts.append((channel, data))
        self._size += len(data)
        while self._size > MOST_KEPT and len(self._parts) > 1:
            self._size -= len(self._parts.popleft()[1])
            self._first += 1

    def new_for(self, call: str) -> list[tuple[str, bytes]]:
        """Return the parts that a call was not shown yet, as (channel, data)."""
        since = max(self._shown.get(call, 0) - self._first, 0)
        self._shown[call] = self._first + len(self._parts)
        return list(islice(self._parts, since, None))
