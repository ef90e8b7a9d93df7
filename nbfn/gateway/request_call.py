"""The call of a web request: passes messages of the hub from the client's thread to the gateway's event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from nbfn import exception
from nbfn.client.calls.active_call import ActiveCall, Connection
from nbfn.client.calls.generator_call import ItemCredit
from nbfn.protocol import messages
from nbfn.protocol.messages import EndpointFound, Message, Output
from nbfn.protocol.web_events import Event, unpack_events
from nbfn.types import InputStatus


class AnswerInterrupted(exception.Error):
    """The worker was lost after a part of the request or the response had been sent, so it cannot be retried."""


class RequestCall(ActiveCall):
    """The call of one request. `receive`, `fail` and `opening` run on the client's thread, the rest on the loop.

    Args:
        client: The connection to the hub.
        found: The endpoint.
        data: The packed request.
    """

    def __init__(self, client: Connection, found: EndpointFound, data: bytes) -> None:
        super().__init__(client, found.info, "web", version=0)
        self._loop = asyncio.get_running_loop()
        self._method = found.method
        self._input = messages.NewInput(0, client.serializer.dump_arguments((data,), {}))
        self._events: deque[tuple[tuple[Event, ...], int]] = deque()  # with their sizes in bytes
        self._items_received = 0
        self._credit = ItemCredit()
        self._changed = asyncio.Event()
        self._attempt = 0
        self._parts_sent = 0
        self._parts_allowed = 0
        self._allowed = asyncio.Event()
        self.output: Output | None = None
        self.error: exception.Error | None = None

    # --- the client's thread ---

    def opening(self, *, resent: bool) -> Iterable[Message]:
        """See `ActiveCall.opening`; fails after a reconnect, since messages may have been lost."""
        if resent:
            self.fail(
                exception.ConnectionError("The connection to the hub was lost during the request.")
            )
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
            self.count(message.outputs[:1])
            self.end("success" if output.status == InputStatus.SUCCESS else "failure", settled=True)
            self.client.serializer.discard(output.payload)
        self._loop.call_soon_threadsafe(self._on_message, message)

    def fail(self, error: exception.Error) -> None:
        """See `ActiveCall.fail`."""
        self.end("failure", error)
        self._loop.call_soon_threadsafe(self._end, None, error)

    def end(
        self, status: str, error: BaseException | None = None, *, settled: bool = False
    ) -> None:
        """See `ActiveCall.end`; also frees the memory of a large body."""
        super().end(status, error, settled=settled)
        self.client.serializer.discard(self._input.payload)

    # --- the loop ---

    @property
    def ended(self) -> bool:
        """Whether the call has ended; `events` may still have events."""
        return self.output is not None or self.error is not None

    def _on_message(self, message: Message) -> None:
        if isinstance(message, messages.Outputs):
            self._end(message.outputs[0], None)
        elif isinstance(message, messages.Items):
            self._on_items(message)
        elif isinstance(message, messages.FeedWanted):
            if self._parts_sent and message.attempt != self._attempt:
                self._interrupt()
            self._attempt, self._parts_allowed = message.attempt, message.upto
            self._allowed.set()

    def _on_items(self, items: messages.Items) -> None:
        repeated = self._items_received - items.start  # sent again after a reconnect of the worker
        if repeated < 0 or (repeated and not items.start):
            self._interrupt()  # the first item again: another worker has restarted the request
        if self.ended:
            return
        new = items.payloads[repeated:]
        self._items_received += len(new)
        try:
            self._events.extend((unpack_events(payload), payload.weight) for payload in new)
        except ValueError:
            self._interrupt()
        self._changed.set()

    def _interrupt(self) -> None:
        if not self.ended:
            self.cancel()
            self.end("failure")
            self._end(None, AnswerInterrupted("The worker was lost while it handled the request."))

    def _end(self, output: Output | None, error: exception.Error | None) -> None:
        if not self.ended:
            self.output, self.error = output, error
        self._changed.set()
        self._allowed.set()

    async def started(self) -> None:
        """Wait for events or the end of the call."""
        while not (self._events or self.ended):
            self._changed.clear()
            await self._changed.wait()

    async def events(self) -> tuple[Event, ...]:
        """Return the next events; an empty tuple at the end."""
        await self.started()
        if not self._events:
            return ()
        events, weight = self._events.popleft()
        if self._credit.take(1, weight):
            self.client.send(messages.TakeItems(self.id, 0, self._credit.upto))
        return events

    async def feed(self, data: bytes) -> None:
        """Send a part of the request when the worker allows it."""
        while self._parts_sent >= self._parts_allowed and not self.ended:
            self._allowed.clear()
            await self._allowed.wait()
        if not self.ended:
            self._parts_sent += 1
            self.client.send(messages.FeedInput(self.id, 0, data))

    def client_left(self) -> None:
        """Tell the app that the client has disconnected; the call continues until the app ends."""
        if not self.ended:
            self.client.send(messages.FeedInput(self.id, 0, b""))

    async def drain(self) -> None:
        """Discard events until the end."""
        while await self.events():
            pass

    def abandon(self) -> None:
        """Cancel the call if it has not ended."""
        if not self.ended:
            self.cancel()
            self.end("terminated")
            self._end(None, exception.RemoteError("The client disconnected."))
