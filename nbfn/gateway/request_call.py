"""One request as a call: what the hub says of it, brought from the client's thread to the gateway's loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from nbfn import exception
from nbfn.client.active_call import ActiveCall, Connection
from nbfn.client.calls.item_credit import ItemCredit
from nbfn.protocol import messages
from nbfn.protocol.messages import EndpointFound, Message, Output
from nbfn.protocol.web_events import Event, unpack_events
from nbfn.types import InputStatus


class Torn(exception.Error):
    """The request began anew elsewhere after part of it was seen: it cannot be told again."""


class WebCall(ActiveCall):
    """A request's call. `receive`, `fail` and `opening` happen on the client's thread, all else on the loop.

    Args:
        client: The gateway's.
        found: What answers.
        data: The packed request.
    """

    def __init__(self, client: Connection, found: EndpointFound, data: bytes) -> None:
        super().__init__(client, found.info, "web", version=0)
        self._loop = asyncio.get_running_loop()
        self._method = found.method
        self._input = messages.NewInput(0, client.carrier.dump_arguments((data,), {}))
        self._events: deque[tuple[tuple[Event, ...], int]] = deque()  # with their bytes
        self._arrived = 0
        self._credit = ItemCredit()
        self._news = asyncio.Event()
        self._attempt = 0
        self._fed = 0
        self._wanted = 0
        self._room = asyncio.Event()
        self.output: Output | None = None
        self.error: exception.Error | None = None

    # --- the client's thread ---

    def opening(self, *, resent: bool) -> Iterable[Message]:
        """See `ActiveCall.opening`. After a reconnect it is too late: what was on its way may be lost."""
        if resent:
            self.fail(exception.ConnectionError("The hub was lost while it answered."))
            return
        yield messages.PutCall(
            self.id,
            self.function.id,
            self.version,
            self.kind,
            (self._input,),
            total=1,
            method=self._method,
        )

    def receive(self, message: Message) -> None:
        """See `ActiveCall.receive`."""
        if isinstance(message, messages.Outputs):
            output = message.outputs[0]
            self.count(message.outputs[:1], output.status != InputStatus.SUCCESS)
            self.end("success" if output.status == InputStatus.SUCCESS else "failure", settled=True)
            self.client.carrier.discard(output.payload)
        self._loop.call_soon_threadsafe(self._take, message)

    def fail(self, error: exception.Error) -> None:
        """See `ActiveCall.fail`."""
        self.end("failure", error)
        self._loop.call_soon_threadsafe(self._end, None, error)

    def end(
        self, status: str, error: BaseException | None = None, *, settled: bool = False
    ) -> None:
        """See `ActiveCall.end`. A large body's memory is free then."""
        super().end(status, error, settled=settled)
        self.client.carrier.discard(self._input.payload)

    # --- the loop ---

    @property
    def ended(self) -> bool:
        """Whether nothing more will come, other than what `events` has."""
        return self.output is not None or self.error is not None

    def _take(self, message: Message) -> None:
        if isinstance(message, messages.Outputs):
            self._end(message.outputs[0], None)
        elif isinstance(message, messages.Items):
            self._take_items(message)
        elif isinstance(message, messages.FeedWanted):
            if self._fed and message.attempt != self._attempt:
                self._tear()
            self._attempt, self._wanted = message.attempt, message.upto
            self._room.set()

    def _take_items(self, items: messages.Items) -> None:
        known = self._arrived - items.start  # said again after a worker's reconnect
        if known < 0 or (known and not items.start):
            self._tear()  # the first one again: another worker began anew
        if self.ended:
            return
        new = items.payloads[known:]
        self._arrived += len(new)
        try:
            self._events.extend((unpack_events(payload), payload.weight) for payload in new)
        except ValueError:
            self._tear()
        self._news.set()

    def _tear(self) -> None:
        if not self.ended:
            self.cancel()
            self.end("failure")
            self._end(None, Torn("The worker was lost while it answered."))

    def _end(self, output: Output | None, error: exception.Error | None) -> None:
        if not self.ended:
            self.output, self.error = output, error
        self._news.set()
        self._room.set()

    async def started(self) -> None:
        """Wait for the first events, or the end."""
        while not (self._events or self.ended):
            self._news.clear()
            await self._news.wait()

    async def events(self) -> tuple[Event, ...]:
        """Return the next events; none at the end."""
        await self.started()
        if not self._events:
            return ()
        events, weight = self._events.popleft()
        if self._credit.take(1, weight):
            self.client.send(messages.TakeItems(self.id, 0, self._credit.upto))
        return events

    async def feed(self, data: bytes) -> None:
        """Send a piece of the request, once the worker is ready for it."""
        while self._fed >= self._wanted and not self.ended:
            self._room.clear()
            await self._room.wait()
        if not self.ended:
            self._fed += 1
            self.client.send(messages.FeedInput(self.id, 0, data))

    def leave(self) -> None:
        """Say that who asked is gone. The app is told so, and has the time it takes to end."""
        if not self.ended:
            self.client.send(messages.FeedInput(self.id, 0, b""))

    async def drain(self) -> None:
        """Pass over what still comes, until the end."""
        while await self.events():
            pass

    def abandon(self) -> None:
        """Let go of it, cancelling it if it runs."""
        if not self.ended:
            self.cancel()
            self.end("terminated")
            self._end(None, exception.RemoteError("Who asked is gone."))
