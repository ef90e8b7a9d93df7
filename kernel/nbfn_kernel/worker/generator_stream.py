"""Sends the items of a generator input to the hub, within the credit that the consumer has granted."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from nbfn.protocol.messages import ITEM_BYTES, ITEM_WINDOW, Payload
from nbfn.serialization.payload import Serializer
from nbfn_kernel.worker import function_loader
from nbfn_kernel.worker.outbox import Item, Outbox


class GeneratorStream:
    """Sends the items of one input.

    Args:
        name: The name of the function, for error messages.
        lease: The lease of the input.
        serializer: Pickles the items.
        outbox: Queues the items for the hub.
    """

    def __init__(self, name: str, lease: int, serializer: Serializer, outbox: Outbox) -> None:
        self.lease = lease
        self._name = name
        self._serializer = serializer
        self._outbox = outbox
        self._count = 0
        self._credit = ITEM_WINDOW
        self._weight = 0  # bytes of all items sent
        self._granted = 0  # `_weight` at the last grant of the consumer
        self._notify: Callable[[], object] = lambda: None  # wakes the sender

    def grant(self, upto: int) -> None:
        """Allow items up to number ``upto``; thread-safe."""
        if upto:
            self._credit = max(upto, self._credit)
            self._granted = self._weight
            self._notify()

    def _full(self) -> bool:
        return self._count >= self._credit or self._weight - self._granted >= ITEM_BYTES

    def send_all(self, returned: object) -> int:
        """Send all items of a generator; return their number.

        Raises:
            InvalidError: If ``returned`` is not iterable.
        """
        granted: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._notify = lambda: granted.put(None)
        iterator = function_loader.iterate(self._name, returned)
        try:
            for value in iterator:
                payload = self._serializer.dump_result(value)
                while self._full():
                    granted.get()
                self._send(payload)
        finally:
            if (close := getattr(iterator, "close", None)) is not None:
                close()
        return self._count

    async def send_all_async(self, returned: Any) -> int:
        """Send all items of an async or plain generator; return their number.

        Raises:
            InvalidError: If ``returned`` is not iterable.
        """
        granted, loop = asyncio.Event(), asyncio.get_running_loop()
        self._notify = lambda: loop.call_soon_threadsafe(granted.set)
        if not hasattr(returned, "__aiter__"):
            returned = _as_async(function_loader.iterate(self._name, returned))
        try:
            async for value in returned:
                payload = self._serializer.dump_result(value)
                while self._full():
                    granted.clear()
                    if self._full():
                        await granted.wait()
                self._send(payload)
        finally:
            if (close := getattr(returned, "aclose", None)) is not None:
                await close()
        return self._count

    def _send(self, payload: Payload) -> None:
        self._weight += payload.weight
        self._outbox.put(Item(self.lease, self._count, payload))
        self._count += 1


async def _as_async(values: Iterator[Any]) -> AsyncIterator[Any]:
    for value in values:
        yield value
