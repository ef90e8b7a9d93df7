"""Limits the bytes of single calls in flight: of thousands that begin at once, some wait before
their arguments are pickled.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future

from nbfn.client.calls.active_call import settle
from nbfn.runtime.sync import wait

#: Bytes of an input from which on a call is counted. Smaller ones cannot fill the limit: each waits in a thread.
COUNTED = 1024


class CallThrottle:
    """Counts the bytes of inputs in flight.

    Args:
        most: Bytes after which a further call waits.

    Attributes:
        full: Whether a call should wait for room.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._weight = 0
        self.full = most <= 0
        self._waiting: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    async def room(self) -> None:
        """Wait until another call may begin."""
        while self.full:
            turn: Future[None] = Future()
            self._waiting.append(turn)
            self._wake()  # there may be room by now
            try:
                await wait(turn)
            finally:
                self._wake()  # so that the next one checks, also if this call does not begin

    def enter(self, weight: int) -> None:
        """Add the bytes of a call that begins."""
        with self._lock:
            self._weight += weight
            self.full = self._weight >= self._most

    def leave(self, weight: int) -> None:
        """Subtract the bytes of a call that has ended or is stored."""
        with self._lock:
            self._weight -= weight
            self.full = self._weight >= self._most
        self._wake()

    def _wake(self) -> None:
        while self._waiting and not self.full:
            turn = self._waiting.popleft()
            if not turn.done():
                settle(turn)
                return


#: The throttle of this process.
throttle = CallThrottle(48 * 1024 * 1024)
