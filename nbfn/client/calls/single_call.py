"""Calls with one input whose caller waits: `remote` and `remote_gen`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from nbfn import context, exception
from nbfn.client.active_call import ActiveCall, CallableFunction, Connection
from nbfn.client.calls import interrupt, recent_failures
from nbfn.client.calls.item_credit import ItemCredit
from nbfn.client.calls.outcome import outcome_name, result_of, value_of
from nbfn.client.connection import settle
from nbfn.protocol import messages
from nbfn.protocol.messages import FunctionInfo, Message, Output, Payload
from nbfn.runtime.stream import Stream
from nbfn.runtime.sync import wait
from nbfn.types import InputStatus

#: Results of at least this many bytes are acknowledged to the hub.
ACKNOWLEDGED_BYTES = 64 * 1024


class SingleCall(ActiveCall):
    """A call with one input whose caller waits for the outcome."""

    def __init__(
        self,
        client: Connection,
        function: FunctionInfo,
        kind: str,
        payload: Payload,
        version: int,
        parent: str,
    ) -> None:
        self._input = messages.NewInput(0, payload)
        self._parent = parent
        self.outcome: Future[Output] = Future()
        super().__init__(client, function, kind, version=version)

    def opening(self, *, resent: bool) -> Iterable[Message]:
        """See `ActiveCall.opening`."""
        yield messages.PutCall(
            self.id,
            self.function.id,
            self.version,
            self.kind,
            (self._input,),
            resent=resent,
            parent=self._parent,
            method=self.function.method,
            deployment=self.function.deployment,
            levels=self.levels,
        )

    def receive(self, message: Message) -> None:
        """See `ActiveCall.receive`."""
        if isinstance(message, messages.Outputs):
            output = message.outputs[0]
            self.count(message.outputs[:1], output.status != InputStatus.SUCCESS)
            if output.status not in {InputStatus.SUCCESS, InputStatus.TERMINATED}:
                recent_failures.keep(self.id, 0, self.function, self.version, self._input.payload)
            self.end(outcome_name(output.status), settled=True)
            settle(self.outcome, output)
            # Smaller results the hub drops after a while.
            if (weight := output.weight) >= ACKNOWLEDGED_BYTES:
                self.client.send(messages.ResultsTaken(self.id, weight))
            # Last, since freeing 100 MB takes as long as ten calls.
            self.client.serializer.reclaim(self._input.payload)

    def fail(self, error: exception.Error) -> None:
        """See `ActiveCall.fail`."""
        self.client.serializer.discard(self._input.payload)
        self.end("failure", error)
        settle(self.outcome, error=error)

    def abandon(self) -> None:
        """Cancel the call and forget it."""
        if self.outcome.done():
            return
        self.cancel()
        self.end("terminated")
        self.client.serializer.discard(self._input.payload)

    @property
    def was_not_loaded(self) -> bool:
        """Whether the worker could not load the Function."""
        return self.outcome.done() and self.outcome.result().status == InputStatus.INIT_FAILURE

    async def interrupted(self, by: BaseException) -> None:
        """Cancel the call after an interrupt of its caller; after a second one detach it.

        Raises:
            Detached: If it is detached.
        """
        __tracebackhide__ = True
        try:
            await interrupt.interrupted(self, self.outcome, self.abandon)
        except exception.Detached:
            interrupt.keep_detached(self)
            raise
        ended = self.outcome.done() and self.outcome.result().status == InputStatus.SUCCESS
        what = "had ended" if ended else "cancelled"
        by.add_note(f"{what}: {self.function.name} ({self.id})")

    async def result(self) -> Any:
        """Wait for the outcome and return the value; an interrupt cancels the call."""
        __tracebackhide__ = True
        try:
            output = await wait(self.outcome)
        except exception.Error:
            raise
        except KeyboardInterrupt as error:
            await self.interrupted(error)
            raise
        except BaseException:
            self.abandon()
            raise
        return result_of(self.client.serializer, output, self.function.name, self.id)


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
