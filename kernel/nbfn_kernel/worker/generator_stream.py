"""Sends the items of a generator input to the hub, as far as the consumer has granted credit."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from nbfn.protocol.messages import ITEM_BYTES, ITEM_WINDOW, Payload
from nbfn.serialization.payload import Carrier
from nbfn_kernel.worker import function_loader
from nbfn_kernel.worker.outbox import Item, Outbox


class GeneratorStream:
    """Sends the items of one input.

    Args:
        name: The function's, for messages.
        lease: The input's.
        carrier: Of this process.
        outbox: Takes the items.
    """

    def __init__(self, name: str, lease: int, carrier: Carrier, outbox: Outbox) -> None:
        self.lease = lease
        self._name = name
        self._carrier = carrier
        self._outbox = outbox
        self._count = 0
        self._credit = ITEM_WINDOW
        self._weight = 0  # of all that were sent
        self._granted = 0  # that weight when the consumer was heard of last
        self._more: Callable[[], object] = lambda: None  # says that there is more of it

    def grant(self, upto: int) -> None:
        """Let the generator go on up to item number ``upto``; any thread may call."""
        if upto:
            self._credit = max(upto, self._credit)
            self._granted = self._weight
            self._more()

    def _full(self) -> bool:
        return self._count >= self._credit or self._weight - self._granted >= ITEM_BYTES

    def take(self, returned: object) -> int:
        """Send all that a generator yields; return how many.

        Raises:
            InvalidError: If it is none.
        """
        came: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._more = lambda: came.put(None)
        iterator = function_loader.iterate(self._name, returned)
        try:
            for value in iterator:
                payload = self._carrier.dump_result(value)
                while self._full():
                    came.get()
                self._send(payload)
        finally:
            if (close := getattr(iterator, "close", None)) is not None:
                close()
        return self._count

    async def take_async(self, returned: Any) -> int:
        """Send all that a generator, async or not, yields; return how many.

        Raises:
            InvalidError: If it is none.
        """
        came, loop = asyncio.Event(), asyncio.get_running_loop()
        self._more = lambda: loop.call_soon_threadsafe(came.set)
        if not hasattr(returned, "__aiter__"):
            returned = _steps(function_loader.iterate(self._name, returned))
        try:
            async for value in returned:
                payload = self._carrier.dump_result(value)
                while self._full():
                    came.clear()
                    if self._full():
                        await came.wait()
                self._send(payload)
        finally:
            if (close := getattr(returned, "aclose", None)) is not None:
                await close()
        return self._count

    def _send(self, payload: Payload) -> None:
        self._weight += payload.weight
        self._outbox.put(Item(self.lease, self._count, payload))
        self._count += 1


async def _steps(values: Iterator[Any]) -> AsyncIterator[Any]:
    for value in values:
        yield value
