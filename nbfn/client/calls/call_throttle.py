"""Bytes of the inputs of single calls that are under way: of thousands that begin at once, some wait before
their arguments are pickled.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future

from nbfn.client.connection import settle
from nbfn.runtime.sync import wait


class CallThrottle:
    """What is under way.

    Args:
        most: Bytes after which a further call waits.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._weight = 0
        self._waiting: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    @property
    def full(self) -> bool:
        """Whether a call should wait for room."""
        return self._weight >= self._most

    async def room(self) -> None:
        """Wait until another call may begin."""
        while self.full:
            turn: Future[None] = Future()
            self._waiting.append(turn)
            self._wake()  # there may be room since it was looked for
            try:
                await wait(turn)
            finally:
                self._wake()  # the next one looks when this one has begun, or if it does not

    def enter(self, weight: int) -> None:
        """Count a call that begins."""
        with self._lock:
            self._weight += weight

    def leave(self, weight: int) -> None:
        """Count a call that has ended, or is stored."""
        with self._lock:
            self._weight -= weight
        self._wake()

    def _wake(self) -> None:
        while self._waiting and not self.full:
            turn = self._waiting.popleft()
            if not turn.done():
                settle(turn)
                return


#: Of this process.
throttle = CallThrottle(48 * 1024 * 1024)
