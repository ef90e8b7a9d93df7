"""`DurableCall`: a call that the hub keeps, told by who spawned it, watched by whoever wants its outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future

from nbfn import exception
from nbfn.client.active_call import Connection, guarded
from nbfn.client.calls.input_feeder import FedCall, weight_of
from nbfn.client.calls.outcome import outcome_name
from nbfn.client.connection import settle
from nbfn.protocol import messages
from nbfn.protocol.messages import FunctionInfo, Message, NewInput, Output, Payload
from nbfn.runtime.sync import wait
from nbfn.types import InputStatus

#: Inputs that may be on their way to the disk.
UNACCEPTED = 4096


class DurableCall(FedCall):
    """A call on the hub's disk.

    Made with inputs (`put`, or `begin`), it is told to the hub and `accepted` once all of it is
    stored. Made from the id alone, it only follows what others told.
    """

    durable = True
    waiting = False

    def __init__(
        self,
        client: Connection,
        function: FunctionInfo,
        *,
        version: int = 0,
        parent: str = "",
        call_id: str = "",
        total: int | None = None,
    ) -> None:
        self.accepted: Future[None] = Future()
        self._follows = bool(call_id)  # only: others told of it
        self._waiters: list[tuple[int, Future[Output]]] = []
        self._seen = bytearray()  # a byte for each input: whether it was counted
        self._heard = self._heard_failed = 0  # outcomes that came here
        self._worst = int(InputStatus.SUCCESS)
        super().__init__(
            client,
            function,
            "spawn",
            version=version,
            parent=parent,
            total=total,
            call_id=call_id,
        )
        self.waiting = not self._follows
        if self._follows:
            self._announced = self._exhausted = self._told_closed = True
            settle(self.accepted)

    def put(self, payload: Payload) -> None:
        """Tell the hub of a call with this one input."""
        self._sent = 1
        self._exhausted = True
        self._unsettled[0] = item = NewInput(0, payload)
        self._outgoing.append(item)
        self.client.open(self)

    # --- helper thread ---------------------------------------------------------------------------

    def has_room(self) -> bool:
        """See `FedCall.has_room`."""
        return len(self._unsettled) < UNACCEPTED and self._fits()

    def broke(self, error: BaseException) -> None:
        """See `FedCall.broke`: a call that will never be whole is not wanted."""
        self.withdraw()
        settle(self.accepted, error=error)

    # --- client's thread -------------------------------------------------------------------------

    def opening(self, *, resent: bool) -> Iterable[Message]:
        """See `ActiveCall.opening`."""
        if self.accepted.done():
            yield messages.Watch(0, self.id, 0, 0)
            for index, future in list(self._waiters):
                if not future.done():
                    yield messages.Watch(0, self.id, index, index + 1, follow=False)
        else:
            yield from super().opening(resent=resent)

    def receive(self, message: Message) -> None:
        """See `ActiveCall.receive`."""
        if isinstance(message, messages.Accepted):
            self._stored(message)
        elif isinstance(message, messages.Outputs):
            self._take(message.outputs)
        elif isinstance(message, messages.Progress) and self._follows:
            self.total = self.total if message.total is None else message.total
            self._counted(message.done, message.failed)
            self._end_if_done()

    def _stored(self, accepted: messages.Accepted) -> None:
        stored: list[NewInput] = []
        for index in list(self._unsettled):
            if index >= accepted.upto and not accepted.closed:
                break
            stored.append(self._unsettled.pop(index))
        self._settled(weight_of(stored))
        self.credited()
        if accepted.closed:
            settle(self.accepted)
            self._look_waited()
            self._end_if_done()

    def _take(self, outputs: tuple[Output, ...]) -> None:
        new: list[Output] = []
        failed = 0
        for output in outputs:
            index = output.index
            if index >= len(self._seen):
                self._seen.extend(bytes(index + 1 - len(self._seen)))
            if not self._seen[index]:
                self._seen[index] = 1
                new.append(output)
                failed += output.status != InputStatus.SUCCESS
                self._worst = max(self._worst, output.status)
        self._heard += len(new)
        self._heard_failed += failed
        self._counted(self._heard, self._heard_failed, new)
        by_index = {output.index: output for output in outputs}
        for index, future in list(self._waiters):
            if index in by_index:
                settle(future, by_index[index])
        self._look_waited()
        self._end_if_done()

    def _counted(self, done: int, failed: int, new: Sequence[Output] = ()) -> None:
        """Tell the sink how many inputs have ended.

        Who follows a call by its id has not heard of all; the hub tells the numbers, which are ahead
        of the outcomes that wait for the disk.
        """
        self.done, self.failed = max(self.done, done), max(self.failed, failed)
        guarded(self.sink.outputs, self.done, self.failed, self.total, new)

    def _end_if_done(self) -> None:
        if self.accepted.done() and self.total is not None and self.done >= self.total:
            self._let_go()

    def _let_go(self) -> None:
        """End it here, unless somebody waits for an outcome, which the hub is about to tell again."""
        with self._lock:
            awaited = any(not future.done() for _, future in self._waiters)
            ended = not awaited and self.client.forget(self, settled=False)
        if ended:
            failed = self.failed and self._worst == InputStatus.SUCCESS
            self.tell_end(outcome_name(InputStatus.FAILURE if failed else self._worst))

    def fail(self, error: exception.Error) -> None:
        """See `ActiveCall.fail`."""
        self.stop_pulling()
        self.end("failure", error)
        settle(self.accepted, error=error)
        for _, future in list(self._waiters):
            settle(future, error=type(error)(*error.args))

    def _look_waited(self) -> None:
        self.waiting = not self.accepted.done() or any(not f.done() for _, f in self._waiters)

    # --- any thread ------------------------------------------------------------------------------

    def withdraw(self) -> None:
        """Cancel what the hub has of it: the rest will not come."""
        self.stop_pulling()
        self.client.send(self._farewell)
        self.end("terminated")

    def _farewell(self) -> Iterable[Message]:
        if self._announced:  # on the client's thread, where that is decided
            yield messages.PutInputs(self.id, (), closed=True)
            yield messages.Cancel(0, self.id)

    async def stored(self) -> None:
        """Wait until all of it is on the hub's disk; an interrupt before that cancels it."""
        __tracebackhide__ = True
        try:
            await wait(self.accepted)
        except BaseException:
            self.withdraw()
            raise

    def expect(self, index: int) -> Future[Output]:
        """Have the outcome of an input put into a future, when it comes or is told again (`watch`)."""
        future: Future[Output] = Future()
        with self._lock:
            self._waiters.append((index, future))
            self.waiting = True
        return future

    def leave(self, futures: Iterable[Future[Output]]) -> None:
        """Want these outcomes no more."""
        unwanted = set(futures)
        with self._lock:
            self._waiters = [pair for pair in self._waiters if pair[1] not in unwanted]
        self._look_waited()

    async def watch(self, start: int, end: int | None) -> messages.CallInfo:
        """Have the hub tell what it has of some inputs, and what becomes of all; those it has are here on return.

        Raises:
            NotFoundError: If it knows no such call.
        """
        __tracebackhide__ = True
        try:
            info: messages.CallInfo = await self.client.request(
                lambda number: messages.Watch(number, self.id, start, end)
            )
        except exception.NotFoundError:
            self.end("failure")
            raise
        if info.closed:
            self.total = info.num_inputs
        if self._follows:
            if info.ended and info.cancelled:
                self._worst = max(self._worst, int(InputStatus.TERMINATED))
            self._counted(info.done, info.failed)
        return info

    def settle_down(self, info: messages.CallInfo) -> None:
        """Let go of a call that has ended, when nobody here waits for an outcome of it."""
        if info.ended and self._follows:
            self._let_go()
