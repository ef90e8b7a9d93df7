"""The pieces of a web request that arrive while its input runs, as many as its code asks for."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from nbfn.protocol.messages import WantFeed
from nbfn_kernel.worker.outbox import Outbox


class RequestStream:
    """The request of one input; used on the worker's loop.

    Args:
        lease: Of the input.
        outbox: Takes the message that there is room.

    Attributes:
        gone: Set when nobody is there any more to send or to be answered.
    """

    __slots__ = ("_lease", "_outbox", "_pieces", "gone")

    def __init__(self, lease: int, outbox: Outbox) -> None:
        self._lease = lease
        self._outbox = outbox
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self.gone = asyncio.Event()

    def put(self, data: bytes) -> None:
        """Bring a piece; an empty one, the last, says that who sends them is gone."""
        self._pieces.put_nowait(data)
        if not data:
            self.gone.set()

    async def get(self) -> bytes:
        """Wait for the next piece; the last, empty one comes again and again, to all who wait."""
        data = await self._pieces.get()
        if not data:
            self._pieces.put_nowait(data)
        return data

    def want(self, upto: int) -> None:
        """Say that there is room for ``upto`` pieces in all."""
        self._outbox.put(WantFeed(self._lease, upto))


#: Of the input that runs.
request_stream: ContextVar[RequestStream] = ContextVar("nbfn_request_stream")
