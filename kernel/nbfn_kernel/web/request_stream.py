"""Receives the parts of a web request that arrive while its input runs, with back-pressure."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from nbfn.protocol.messages import WantFeed
from nbfn_kernel.worker.outbox import Outbox


class RequestStream:
    """The remaining parts of one request; used on the worker's loop.

    Args:
        lease: The lease of the input.
        outbox: Queues the messages that allow further parts.

    Attributes:
        gone: Set when the client has disconnected.
    """

    __slots__ = ("_lease", "_outbox", "_pieces", "gone")

    def __init__(self, lease: int, outbox: Outbox) -> None:
        self._lease = lease
        self._outbox = outbox
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self.gone = asyncio.Event()

    def put(self, data: bytes) -> None:
        """Add a part; an empty one is the last and means that the client has disconnected."""
        self._pieces.put_nowait(data)
        if not data:
            self.gone.set()

    async def get(self) -> bytes:
        """Wait for the next part; return the last, empty part to every further call."""
        data = await self._pieces.get()
        if not data:
            self._pieces.put_nowait(data)
        return data

    def allow(self, upto: int) -> None:
        """Allow the client to send up to ``upto`` parts in total."""
        self._outbox.put(WantFeed(self._lease, upto))


#: The stream of the running input.
request_stream: ContextVar[RequestStream] = ContextVar("nbfn_request_stream")
