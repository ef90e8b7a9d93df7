"""Calls of generator Functions: `GeneratorCall`, and `GeneratorItems`, which `remote_gen` returns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from nbfn import context, exception
from nbfn.client.calls.active_call import CallableFunction, Connection, SingleCall, settle
from nbfn.client.calls.outcome import result_of, value_of
from nbfn.protocol import messages
from nbfn.protocol.messages import ITEM_BYTES, ITEM_WINDOW, FunctionInfo, Message, Payload
from nbfn.runtime.stream import Stream
from nbfn.runtime.sync import wait


class ItemCredit:
    """Counts the items that were consumed, and decides when to send the worker new credit.

    The worker stops `ITEM_BYTES` after the last credit, so a new one is sent when half of that was consumed.

    Attributes:
        upto: The number of the item before which the worker stops.
    """

    def __init__(self) -> None:
        self.upto = ITEM_WINDOW
        self._taken = 0
        self._weight = 0  # of items consumed since the last credit

    def take(self, count: int, weight: int) -> bool:
        """Count consumed items, of ``weight`` bytes together; return whether to send the worker `upto`."""
        self._taken += count
        self._weight += weight
        if self.upto - self._taken >= ITEM_WINDOW // 2 and self._weight < ITEM_BYTES // 2:
            return False
        self.upto = self._taken + ITEM_WINDOW
        self._weight = 0
        return True


class GeneratorCall(SingleCall):
    """A call of a generator Function: receives its items, then its outcome."""

    def __init__(
        self,
        client: Connection,
        function: FunctionInfo,
        payload: Payload,
        version: int,
        parent: str,
    ) -> None:
        self._items: deque[Payload] = deque()
        self._reading: list[Payload] = []  # those that the consumer unpickles now
        self._arrived = 0  # items that have arrived
        self._credit = ItemCredit()
        self._news: Future[None] | None = None
        super().__init__(client, function, "generator", payload, version, parent)

    def opening(self, *, resent: bool) -> Iterable[Message]:
        """See `ActiveCall.opening`."""
        yield from super().opening(resent=resent)
        if resent:
            yield messages.TakeItems(self.id, 0, self._credit.upto)

    def receive(self, message: Message) -> None:
        """See `ActiveCall.receive`."""
        if isinstance(message, messages.Items):
            known = max(0, self._arrived - message.start)
            new = message.payloads[known:]
            self._discard_repeated(message.payloads[:known])
            self._items.extend(new)
            self._arrived += len(new)
        else:
            super().receive(message)
        if (news := self._news) is not None:
            settle(news)

    def _discard_repeated(self, payloads: Iterable[Payload]) -> None:
        """Free items that a later attempt yielded again, unless they are the very ones that are still unread."""
        unread = (*self._reading, *self._items)
        for payload in payloads:
            if payload.segments and payload not in unread:
                self.client.serializer.discard(payload)

    def fail(self, error: exception.Error) -> None:
        """See `ActiveCall.fail`."""
        super().fail(error)
        if (news := self._news) is not None:
            settle(news)

    async def take(self) -> list[Any]:
        """Return the next items, at least one.

        Raises:
            StopAsyncIteration: At the end.
            Exception: The error that the generator raised.
        """
        __tracebackhide__ = True
        while not self._items:
            if self.outcome.done():
                output = self.outcome.result()
                result_of(self.client.serializer, output, self.function.name, self.id)
                raise StopAsyncIteration
            self._news = Future()
            if not self._items and not self.outcome.done():
                await wait(self._news)
            self._news = None
        self._reading = list(self._items)
        payloads = [self._items.popleft() for _ in self._reading]
        if self._credit.take(len(payloads), sum(payload.weight for payload in payloads)):
            self.client.send(messages.TakeItems(self.id, 0, self._credit.upto))
        return [self._load(payload) for payload in payloads]

    def _load(self, payload: Payload) -> Any:
        try:
            return value_of(self.client.serializer, payload, self.function.name)
        finally:
            self.client.serializer.discard(payload)


class GeneratorItems(Stream[Any]):
    """The result of `Function.remote_gen`: begins the call when it is iterated.

    Args:
        begin: Returns the Function, registered or looked up.
        args: The arguments of the call.
        kwargs: Its keyword arguments.
    """

    _made_by = "Function.remote_gen"

    def __init__(
        self,
        begin: Callable[[], Coroutine[Any, Any, CallableFunction]],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        self._begin = begin
        self._args = args
        self._kwargs = kwargs
        self._call: GeneratorCall | None = None

    def __repr__(self) -> str:
        return "<items of Function.remote_gen, single use: iterate over them>"

    async def _more(self) -> list[Any]:
        __tracebackhide__ = True
        if self._call is None:
            hydrated = await self._begin()
            payload = hydrated.pickle(self._args, self._kwargs)
            self._call = GeneratorCall(
                hydrated.client, hydrated.info, payload, hydrated.version, context.current_input()
            )
            hydrated.client.open(self._call)
        try:
            return await self._call.take()
        except KeyboardInterrupt as error:
            try:
                await self._call.interrupted(error)
            except exception.Detached:
                self._call = None  # it goes on, so leaving the loop must not cancel it
                raise
            raise

    def _stop(self) -> None:
        if self._call is not None:
            self._call.abandon()
