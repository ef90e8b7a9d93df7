"""`DurableCall`: a spawned call, which the hub stores, and whose outcomes any process can wait for."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

from msgspec.structs import replace

from nbfn import exception
from nbfn.client.calls.active_call import Connection, settle
from nbfn.client.calls.input_feeder import MultiInputCall, weight_of
from nbfn.client.calls.outcome import outcome_name, result_of
from nbfn.protocol import messages
from nbfn.protocol.call_states import CallState, InputCounts
from nbfn.protocol.messages import FunctionInfo, Message, NewInput, Output, Payload
from nbfn.runtime.sync import wait
from nbfn.types import InputStatus

#: Inputs in flight that are not stored yet.
UNACCEPTED = 4096


class DurableCall(MultiInputCall):
    """A call that the hub stores on disk.

    With inputs (`put` or `begin`) it is a new call, and `accepted` resolves when all of it is stored. Without, it
    watches the existing call ``call_id``.
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
        self._watch_only = bool(call_id)  # another process, or this one earlier, made it
        self._waiters: list[tuple[int, Future[Output]]] = []
        self._seen = bytearray()  # for each input a byte: whether its outcome was counted
        self._received = InputCounts()  # outcomes that arrived
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
        self.waiting = not self._watch_only
        if self._watch_only:
            self._opened = self._exhausted = self._closed_sent = True
            settle(self.accepted)

    def put(self, payload: Payload) -> None:
        """Begin the call, with this one input."""
        self._sent = 1
        self._exhausted = True
        self._unsettled[0] = item = NewInput(0, payload)
        self._outgoing.append(item)
        self.client.open(self)

    # --- helper thread ---------------------------------------------------------------------------

    def has_room(self) -> bool:
        """See `MultiInputCall.has_room`."""
        return len(self._unsettled) < UNACCEPTED and self._fits()

    def input_failed(self, error: BaseException) -> None:
        """See `MultiInputCall.input_failed`: cancels the call, since not all of its inputs can be stored."""
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
        elif isinstance(message, messages.Progress) and self._watch_only:
            if not message.more:
                self.total = message.counts.total
            self._report_counts(message.counts)
            self._end_if_done()

    def _stored(self, accepted: messages.Accepted) -> None:
        stored: list[NewInput] = []
        for index in list(self._unsettled):
            if index >= accepted.upto and not accepted.closed:
                break
            stored.append(self._unsettled.pop(index))
        self._settled(weight_of(stored))
        self.notify_room()
        if accepted.closed:
            settle(self.accepted)
            self._update_waiting()
            self._end_if_done()

    def _take(self, outputs: tuple[Output, ...]) -> None:
        new: list[Output] = []
        for output in outputs:
            index = output.index
            if index >= len(self._seen):
                self._seen.extend(bytes(index + 1 - len(self._seen)))
            if not self._seen[index]:
                self._seen[index] = 1
                new.append(output)
                self._worst = max(self._worst, output.status)
        self._received += messages.count_outputs(new)
        self._report_counts(self._received, new)
        by_index = {output.index: output for output in outputs}
        for index, future in list(self._waiters):
            if index in by_index:
                settle(future, by_index[index])
        self._update_waiting()
        self._end_if_done()

    def _report_counts(self, counts: InputCounts, new: Sequence[Output] = ()) -> None:
        """Tell the sink how many inputs have ended.

        A watcher has not received all outcomes. The hub sends it the numbers, which are ahead of the outcomes that
        are still being stored.
        """
        if counts.settled >= self.done:
            self.counts = replace(counts, running=0, waiting=0)
        self.report(new)

    def _end_if_done(self) -> None:
        if self.accepted.done() and self.total is not None and self.done >= self.total:
            self._release()

    def _release(self) -> None:
        """Forget the call, unless a waiter needs an outcome that the hub is about to send again."""
        with self._lock:
            awaited = any(not future.done() for _, future in self._waiters)
            ended = not awaited and self.client.forget(self, settled=False)
        if ended:
            failed = self.counts.unsuccessful and self._worst == InputStatus.SUCCESS
            self.notify_end(outcome_name(InputStatus.FAILURE if failed else self._worst))

    def fail(self, error: exception.Error) -> None:
        """See `ActiveCall.fail`."""
        self.stop_input()
        self.end("failure", error)
        settle(self.accepted, error=error)
        for _, future in list(self._waiters):
            settle(future, error=type(error)(*error.args))

    def _update_waiting(self) -> None:
        self.waiting = not self.accepted.done() or any(not f.done() for _, f in self._waiters)

    # --- any thread ------------------------------------------------------------------------------

    def withdraw(self) -> None:
        """Cancel the inputs that the hub has; the rest are not sent."""
        self.stop_input()
        self.client.send(self._cancel_messages)
        self.end("terminated")

    def _cancel_messages(self) -> Iterable[Message]:
        if self._opened:  # read on the client's thread, which sets it
            yield messages.PutInputs(self.id, (), closed=True)
            yield messages.Cancel(0, self.id)

    async def stored(self) -> None:
        """Wait until all of it is stored; an interrupt before that cancels it."""
        __tracebackhide__ = True
        try:
            await wait(self.accepted)
        except BaseException:
            self.withdraw()
            raise

    def expect(self, index: int) -> Future[Output]:
        """Return a future for the outcome of an input; `watch` makes the hub send one that it has already."""
        future: Future[Output] = Future()
        with self._lock:
            self._waiters.append((index, future))
            self.waiting = True
        return future

    def leave(self, futures: Iterable[Future[Output]]) -> None:
        """Stop waiting for these outcomes."""
        unwanted = set(futures)
        with self._lock:
            self._waiters = [pair for pair in self._waiters if pair[1] not in unwanted]
        self._update_waiting()

    async def watch(self, start: int, end: int | None) -> messages.CallInfo:
        """Make the hub send the outcomes of some inputs, now or when they end, and the progress of the call.

        Args:
            start: The first input.
            end: The input after the last one; None for all.

        Returns:
            The state of the call. Outcomes that exist already have arrived by then.

        Raises:
            NotFoundError: If there is no such call.
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
        if self._watch_only:
            if info.ended and info.state == CallState.CANCELLED:
                self._worst = max(self._worst, int(InputStatus.TERMINATED))
            self._report_counts(info.counts)
        return info

    def release_if_ended(self, info: messages.CallInfo) -> None:
        """Forget a call that has ended, unless there are waiters."""
        if info.ended and self._watch_only:
            self._release()


# --- waiting for outcomes ------------------------------------------------------------------------


def _unknown_function(name: str) -> FunctionInfo:
    """Return a placeholder for the Function of a call of which only the id is known."""
    nowhere = messages.Environment("", (), "", "", "")
    return FunctionInfo(
        "", "", "", name, 0, False, False, False, "", "", nowhere, 0.0, messages.PoolSettings()
    )


class OutcomeWaiter:
    """Waits for the outcomes of some inputs of a call.

    Args:
        client: The connection to use.
        call_id: The call's id.
        name: Its Function's name; empty if not known.
        indices: The inputs.
        on_output: Called with each outcome.
    """

    def __init__(
        self,
        client: Connection,
        call_id: str,
        name: str,
        indices: range,
        on_output: Callable[[Output], None],
    ) -> None:
        self._client = client
        self._name = name
        self._indices = indices
        self._on_output = on_output
        self._info: messages.CallInfo | None = None
        while True:
            known = client.tracked(call_id)
            if not isinstance(known, DurableCall):
                known = DurableCall(client, _unknown_function(name), call_id=call_id)
            self._call = known
            self.futures = [known.expect(index) for index in indices]
            if client.track(known) is known:
                return
            known.leave(self.futures)  # it ended just now, and another thread watches it again

    async def request(self) -> messages.CallInfo:
        """Ask the hub for the outcomes, which it sends now or when the inputs end.

        Returns:
            The state of the call.

        Raises:
            NotFoundError: If there is no such call.
            InvalidError: If there are no such inputs.
        """
        __tracebackhide__ = True
        call, indices = self._call, self._indices
        self._info = info = await call.watch(indices.start, indices.stop)
        if indices.start < 0 or (info.closed and indices.stop > info.num_inputs):
            wrong = indices.start if indices.start < 0 else indices.stop - 1
            raise exception.InvalidError(
                f"Call {call.id} has {info.num_inputs} inputs; there is no index {wrong}."
            )
        if info.expired:
            for future in self.futures:
                gone = f"The results of call {call.id} were kept for their time and are gone (setting retention)."
                settle(future, error=exception.OutputExpiredError(gone))
        return info

    async def result(self, future: Future[Output]) -> Any:
        """Wait for one of `futures` and return its value.

        Raises:
            Exception: What the function raised.
        """
        __tracebackhide__ = True
        output = await self.output(future)
        return result_of(self._client.serializer, output, self._name, self._call.id)

    async def output(self, future: Future[Output], timeout: float | None = None) -> Output:
        """Wait for one of `futures` and return the outcome.

        Raises:
            builtins.TimeoutError: After ``timeout`` seconds.
        """
        __tracebackhide__ = True
        try:
            output = await wait(future, timeout)
        except builtins.TimeoutError:
            of = f" of {self._name!r}" if self._name else ""
            raise builtins.TimeoutError(
                f"Call {self._call.id}{of} was not ready after {timeout:g} s; it goes on."
            ) from None
        self._on_output(output)
        return output

    def leave(self) -> None:
        """Stop waiting."""
        self._call.leave(self.futures)
        if self._info is not None:
            self._call.release_if_ended(self._info)


async def all_or_first_failure(
    futures: Sequence[Future[Output]], expected: Sequence[OutcomeWaiter]
) -> None:
    """Wait until all futures are done; raise the error of the first to fail."""
    __tracebackhide__ = True
    if not futures:
        return
    news: Future[int | None] = Future()
    missing = set(range(len(futures)))

    def arrived(place: int, future: Future[Output]) -> None:
        missing.discard(place)
        if future.exception() is not None or future.result().status != InputStatus.SUCCESS:
            settle(news, place)
        elif not missing:
            settle(news, None)

    for place, future in enumerate(futures):
        future.add_done_callback(lambda done, place=place: arrived(place, done))  # type: ignore[misc]
    failed = await wait(news)
    if failed is not None:
        await expected[failed].result(futures[failed])
