"""`MapCall`: the inputs and outcomes of one map.

Three threads use it: a helper thread makes inputs, the client's thread sends them and receives outcomes, the consumer
takes outcomes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from msgspec.structs import replace

from nbfn import exception
from nbfn.client import detached_apps
from nbfn.client.calls import recent_failures
from nbfn.client.calls.active_call import CallableFunction, guarded, settle
from nbfn.client.calls.failed_inputs import FailedInputs, size_of
from nbfn.client.calls.input_feeder import MultiInputCall, weight_of
from nbfn.client.calls.map_retry import Rest, RetriedMap
from nbfn.protocol import messages
from nbfn.protocol.call_states import CallState, InputCounts, InputState, end_state
from nbfn.protocol.messages import Message, NewInput, Output
from nbfn.runtime.sync import wait
from nbfn.serialization.payload import Serializer
from nbfn.types import InputStatus

logger = logging.getLogger("nbfn.client")

#: Seconds between two lines of the debug log that count what a map has done.
LOG_EVERY = 10.0
#: Inputs that may be in flight before the hub has sent a window.
FIRST_WINDOW = 1000
#: Bytes of taken results after which the hub gets an acknowledgement. It dispatches no further inputs when some ten
#: times as many are not acknowledged.
REPORT_BYTES, HELD_BYTES = 2 * 1024 * 1024, 24 * 1024 * 1024
#: Bytes of results that may be in flight, estimated from those that have arrived.
RESULT_BYTES = 64 * 1024 * 1024
#: Bytes of results that are kept for the case that the map is detached (`MapCall.detach`).
HISTORY_BYTES = 32 * 1024 * 1024
#: About the bytes of an outcome without its payload.
_OUTCOME_BYTES = 200

_SUCCESS = int(InputStatus.SUCCESS)
#: What observers are told of the end.
_ENDS = {
    CallState.SUCCEEDED: "success",
    CallState.FAILED: "failure",
    CallState.CANCELLED: "terminated",
}


class MapCall(MultiInputCall):
    """The inputs and outcomes of one map.

    Args:
        hydrated: The Function.
        total: How many inputs there will be; None while that is not known.
        fail_fast: Whether the first failure ends it.
        parent: The hub's name of the input whose code makes the call; empty outside a worker.
        again: The inputs of an ended map that this one runs again, with its id.
        rest: Makes inputs that the map has not read when it ends; None if that is not possible.
        results: Returns the `nbfn.client.calls.map_result.MapResult` while it exists.
    """

    def __init__(
        self,
        hydrated: CallableFunction,
        *,
        total: int | None,
        fail_fast: bool,
        parent: str,
        again: RetriedMap | None = None,
        rest: Rest | None = None,
        results: Callable[[], Any] = lambda: None,
    ) -> None:
        self.results = results
        #: The inputs without a result: they failed, were cancelled or did not run.
        self.failures = again.failures if again else FailedInputs(hydrated.client.serializer)
        self._retried = again
        self.again = again is not None
        self._rest = rest
        self.failing = False  # it is stopped because of an error
        self._stop_sent = False  # the hub knows that it is stopped
        self.cut_short = False  # it was stopped while more inputs could come
        #: Results that arrived after it was stopped.
        self.late = LateResults(hydrated.client.serializer)
        self.over: Future[None] = Future()
        self.stuck = ""  # why no results are taken, if that is not up to the caller
        self.detached = False  # the loop over the results ends, and the call continues
        self._tells_detached = False  # the hub is told that no loop waits for it
        self._history: list[Output] | None = []
        self._history_size = 0
        self._fail_fast = fail_fast
        self._consumed = 0
        self._window = FIRST_WINDOW
        self._most: float = FIRST_WINDOW  # inputs that may be in flight
        self._arrived: list[Output] = []
        self._received = 0  # bytes of results that have arrived
        self._result_size = 0.0  # mean bytes of the latest ones
        self._arrived_weight = 0  # of those that the consumer has not taken
        self._at_consumer = [0, 0]  # results that the consumer works on, and their bytes
        self._taken = 0  # bytes of results that the consumer is done with
        self._reported = 0  # bytes of results that were acknowledged
        self._report_due = False  # the client's thread has been asked to acknowledge
        self._duplicates = 0  # outcomes that were sent again after a reconnect
        self._log_due = time.monotonic() + LOG_EVERY
        self._news: Future[None] | None = None
        self._input_error: BaseException | None = None  # of an iterable, or of the connection
        super().__init__(
            hydrated.client,
            hydrated.info,
            "map",
            version=hydrated.version,
            parent=parent,
            total=again.counts.total + len(again) if again else total,
            call_id=again.call_id if again else "",
            sink=again.sink if again else None,
        )
        self._successor: MapCall | None = None  # runs its inputs again
        if again:
            again.origin._successor = self
            self.settled_before = self.counts = again.counts
            guarded(self.sink.restarted, again.indices)
            self.report()
        if not self.sink.detachable:
            self._history = None

    # --- helper thread ---------------------------------------------------------------------------

    def index_of(self, place: int) -> int:
        """See `MultiInputCall.index_of`."""
        return place if self._retried is None else self._retried.indices[place]

    @property
    def places(self) -> Mapping[int, int] | None:
        """The places of the inputs in the order of the iterables; None if these are their indices."""
        return self._retried.places if self._retried is not None else None

    @property
    def latest(self) -> MapCall:
        """This call, or the last one that ran its inputs again."""
        call = self
        while call._successor is not None:
            call = call._successor
        return call

    def has_room(self) -> bool:
        """See `MultiInputCall.has_room`."""
        return self._sent - self._consumed < self._most and self._fits()

    def _limit(self) -> None:
        """Compute how many inputs may be in flight. Done for each message, not for each input."""
        window = min(self._window, RESULT_BYTES / max(self._result_size, 1.0))
        self._most = max(window, self.least)

    def input_failed(self, error: BaseException) -> None:
        """See `MultiInputCall.input_failed`."""
        with self._lock:
            self._input_error = self._input_error or error
        self._notify()

    def input_exhausted(self) -> None:
        """See `MultiInputCall.input_exhausted`."""
        self._notify()

    # --- client's thread -------------------------------------------------------------------------

    def receive(self, message: Message) -> None:
        """See `ActiveCall.receive`."""
        if isinstance(message, messages.Outputs):
            self._take(message.outputs)
        elif isinstance(message, messages.Progress):
            self.least = 2 * message.workers + 2
            self._limit()
        elif isinstance(message, messages.Window):
            self._window = max(1, message.size)
            self._limit()
            self.notify_room()

    def _take(self, outputs: tuple[Output, ...]) -> None:
        new: list[Output] = []
        spent: list[NewInput] = []
        # In one step: a thread that sees no unsettled input must see the last outcome too.
        with self._lock:
            for output in outputs:
                item = self._unsettled.pop(output.index, None)
                if item is not None:  # else it is a duplicate
                    spent.append(item)
                    new.append(output)
            weight = messages.outputs_weight(new)
            if not self.stopped:
                self._arrived.extend(new)
                self._arrived_weight += weight
            complete = self._complete()
        self._received += weight
        self._duplicates += len(outputs) - len(new)
        if new:
            self._measure(weight / len(new))
        self._settled(weight_of(spent))
        failed = [output for output in new if output.status != _SUCCESS]
        if failed:
            self._take_failed(new, spent)
        else:
            self._reclaim(spent)
        if self.stopped:
            self.late.add(new)
        self._count(new, failed)
        if (now := time.monotonic()) >= self._log_due:
            self._log_due = now + LOG_EVERY
            self._log_counters()
        if complete:
            self._end_complete()
        elif failed and self._fail_fast and not self.stopped:
            cancelled = all(output.status == InputStatus.TERMINATED for output in failed)
            self._stop(failing=not cancelled)  # at once: the consumer may be slow
        self._notify()

    def _count(self, new: Sequence[Output], failed: Sequence[Output]) -> None:
        if failed:
            self.count(new)
        else:
            self.counts += InputCounts(len(new), succeeded=len(new))
            self.report(new)

    def _end_complete(self) -> None:
        """End the call: each input that was sent has its outcome."""
        self._count_unread()
        self.client.send(self._report_all_taken)
        state = end_state(self.counts, failing=self.failing, cut_short=self.cut_short)
        self.end(_ENDS[state])

    def _measure(self, size: float) -> None:
        """Update the mean size of results, in bytes."""
        self._result_size += (0.1 if self._result_size else 1.0) * (size - self._result_size)
        self._limit()

    def _take_failed(self, new: list[Output], spent: list[NewInput]) -> None:
        """Keep the inputs that failed; stop making inputs if the map was cancelled elsewhere."""
        if any(output.status == InputStatus.TERMINATED for output in new):
            self._cancelled = True
            self.notify_room()
        self._keep_failed(new, spent)

    def _report_taken(self) -> Iterable[Message]:
        self._report_due = False
        if (weight := self._taken - self._reported) > 0:
            self._reported += weight
            yield messages.ResultsTaken(self.id, weight)

    def _report_all_taken(self) -> Iterable[Message]:
        """Acknowledge all results, so that the hub keeps none of them to send it again."""
        weight, self._reported = self._received - self._reported, self._received
        if weight >= REPORT_BYTES // 16:
            yield messages.ResultsTaken(self.id, weight)

    def opening(self, *, resent: bool) -> Iterable[Message]:
        """See `ActiveCall.opening`. The hub counts unacknowledged results from zero."""
        self._report_due = False
        self._reported = self._received
        self._stop_sent = False
        yield from super().opening(resent=resent)
        if self.stopped:
            yield from self._stopping()
        elif self._cancelled:
            yield messages.Cancel(0, self.id)
        if self._tells_detached:
            yield messages.Detach(self.id)

    def retry_asked(self) -> tuple[int, str]:
        """See `ActiveCall.retry_asked`."""
        count = self.retryable
        if not count:
            return (
                0,
                f"No input of map {self.id} can run again: all succeeded, or they were discarded.",
            )
        if self.sink.run_again():
            return count, ""
        return 0, f"Map {self.id} was made by a script: call retry() of its result there."

    def _log_counters(self) -> None:
        logger.debug(
            "%s map of %r: %d inputs pulled, %d of them not sent, %d received, %d of them failed, %d duplicates, "
            "%d without an outcome, %d results not taken",
            *(self.id, self.function.name, self._sent, len(self._outgoing), self.done),
            *(self.counts.unsuccessful, self._duplicates, len(self._unsettled), len(self._arrived)),
        )

    def _keep_failed(self, new: Sequence[Output], spent: Sequence[NewInput]) -> None:
        """Keep the inputs that have no result, for a retry."""
        for output, item in zip(new, spent, strict=True):
            state = output.state
            if state == InputState.FAILED:
                recent_failures.keep(self.id, item.index, self.function, self.version, item.payload)
            if state == InputState.SUCCEEDED or not self.failures.keep(
                item.index, item.payload, state
            ):
                self._reclaim((item,))

    def _reclaim(self, spent: Iterable[NewInput]) -> None:
        for item in spent:
            if item.payload.segments:
                self.client.serializer.reclaim(item.payload)

    def _complete(self) -> bool:
        return (self._exhausted or self.stopped) and not self._unsettled

    def fail(self, error: exception.Error) -> None:
        """See `ActiveCall.fail`."""
        self.input_failed(error)
        self.failing = True
        self.stop_input()
        self._drop(list(self._unsettled.values()))
        self.end("failure", error)

    def _drop(self, items: Sequence[NewInput]) -> None:
        """Note that the hub has not run inputs, and will not."""
        with self._lock:
            dropped = [item for item in items if self._unsettled.pop(item.index, None)]
        for item in dropped:
            if not self.failures.keep(item.index, item.payload, InputState.NOT_RUN):
                self.client.serializer.discard(item.payload)
        self.counts += InputCounts(len(dropped), not_run=len(dropped))

    def _flush(self) -> Iterable[Message]:
        if self.stopped:
            self._flush_due = False
            yield from self._stopping()
        else:
            yield from super()._flush()

    def _stopping(self) -> Iterable[Message]:
        """Return the messages that end a call which was stopped; it ends when the hub has ended its inputs."""
        if self.over.done():
            return
        unsent = list(self._outgoing)
        self._outgoing.clear()
        self._drop(unsent)
        self.cut_short = self.cut_short or not (self._opened or self._exhausted)
        if self._opened and not self._stop_sent:
            self._stop_sent = True
            self.cut_short = self.cut_short or not self._closed_sent
            if not detached_apps.is_detached(self.function.app_id):
                yield messages.Cancel(0, self.id, failing=self.failing)
        if self._opened and not self._closed_sent:
            yield self._message((), closed=True)
        if not self._unsettled:
            self._end_complete()

    # --- any thread ------------------------------------------------------------------------------

    def notify_end(self, status: str, error: BaseException | None = None) -> None:
        """See `ActiveCall.notify_end`."""
        with self._lock:
            if not self.detached:  # else `resume` is about to be called
                self._history = None
        self._count_unread()
        if self.counts.unsuccessful:
            self.client.keep_ended(self)
        super().notify_end(status, error)
        settle(self.over)

    def _count_unread(self) -> None:
        """Count the inputs of a call that ended early which it did not read from its iterables."""
        if self._retried is not None:
            self._retried.keep_again()
        if self.total is not None and (unread := self.total - self.done) > 0:
            self.counts += InputCounts(unread, not_run=unread)
            self.client.run_soon(self.report)

    def _notify(self) -> None:
        with self._lock:
            news, self._news = self._news, None
        if news is not None:
            settle(news)

    def _stop(self, *, failing: bool) -> None:
        """Stop making inputs; the hub cancels those that it has, and the call ends when they have ended."""
        self.failing = self.failing or failing
        self.waiting = False
        self.stop_input()
        self.client.send(self._stopping)

    def abandon(self) -> None:
        """Cancel the call and drop its results: the consumer has left."""
        if not self.stopped:
            self._stop(failing=False)
        with self._lock:
            arrived, self._arrived = self._arrived, []
        self.discard(arrived)
        self._notify()  # the consumer may wait on another thread

    def stop_failing(self) -> None:
        """Stop the call because of an error that its consumer gets."""
        if not self.stopped:
            self._stop(failing=True)

    @property
    def retryable(self) -> int:
        """The number of inputs that `retried` would run again."""
        unread = self.counts.total - self._unread if self._can_read_rest else 0
        return len(self.failures) + unread

    @property
    def _unread(self) -> int:
        """The index of the first input that was not read from the iterables."""
        if self._retried is None:
            return self._sent
        last = self._retried.indices[self._sent - 1] if self._sent else -1
        return max(self._retried.unread, last + 1)

    @property
    def _can_read_rest(self) -> bool:
        rest = self._retried.rest if self._retried is not None else self._rest
        return rest is not None and self.over.done() and self._unread < self.counts.total

    def retried(self, indices: Sequence[int] | None = None) -> RetriedMap:
        """Return the inputs without a result, to run them again; they are no longer kept here.

        Args:
            indices: Which of the kept ones; all, and those that were not read, when not given.
        """
        rest = self._retried.rest if self._retried is not None else self._rest
        rest = rest if self._can_read_rest else None
        return RetriedMap(self, indices, self._unread, rest)

    def forget_inputs(self) -> None:
        """Drop the inputs that could run again."""
        self.failures.clear()
        self._rest = None
        if self._retried is not None:
            self._retried.rest = None

    @property
    def received(self) -> int:
        """About the bytes of the outcomes that have arrived."""
        return self._received + _OUTCOME_BYTES * self.done

    @property
    def counts_now(self) -> InputCounts:
        """The numbers of inputs in each state; those that run are among the waiting ones."""
        known = self.known_inputs
        return replace(self.counts, total=known, waiting=known - self.done)

    def take_arrived(self) -> list[Output]:
        """Return the outcomes that have arrived, without waiting; they do not count as consumed."""
        with self._lock:
            arrived, self._arrived = self._arrived, []
        return arrived

    def discard(self, outputs: Iterable[Output]) -> None:
        """Free the shared memory of outcomes that are not unpickled."""
        for output in outputs:
            self.client.serializer.discard(output.payload)

    def detach(self) -> None:
        """End the loop over the results with `Detached`; the call continues."""
        self.detached = self._tells_detached = True
        self.client.send(messages.Detach(self.id))
        self._notify()

    @property
    def keeps_history(self) -> bool:
        """Whether all results that the loop has had are kept."""
        return self._history is not None

    def resume(self) -> list[Output] | None:
        """Prepare for a new consumer after the loop was detached.

        Returns:
            All outcomes that the loop has had; None if they were too many to be kept.
        """
        with self._lock:
            self.detached = False
            history, self._history = self._history, None
        return history

    def _keep_history(self, outputs: list[Output]) -> None:
        if self._history is None:
            return
        for output in outputs:
            payload = output.payload
            self._history_size += _OUTCOME_BYTES + (size_of(payload) if payload else 0)
            # A payload in shared memory can be read only once.
            if (payload and payload.segments) or self._history_size > HISTORY_BYTES:
                self._history = None
                return
        self._history += outputs

    @property
    def held(self) -> str:
        """Why no input is with the hub although the map has not ended; "" if one is."""
        if self.stuck:
            return self.stuck
        if self._unsettled or self.stopped or self._exhausted or self._input_error is not None:
            return ""
        if not self.has_room() or self._received - self._taken >= HELD_BYTES:
            return f"{self._sent - self._consumed:,} results wait to be taken"
        return "the next input is awaited" if self._sent else "the first input is awaited"

    # --- consumer's thread -----------------------------------------------------------------------

    def consumed(self, count: int) -> None:
        """Note that the consumer has consumed results, so that as many more inputs may be sent."""
        taking = self._at_consumer
        weight = taking[1] * count // max(1, taking[0])  # exact if all have one size
        taking[0] -= count
        taking[1] -= weight
        self._consumed += count
        self._taken += weight
        if self._taken - self._reported >= REPORT_BYTES and not self._report_due:
            self._report_due = True
            self.client.send(self._report_taken)
        self.notify_room()

    async def take(self) -> list[Output]:
        """Wait for outcomes and return those that have arrived; an empty list at the end."""
        __tracebackhide__ = True
        while True:
            with self._lock:
                if self.detached:
                    raise exception.Detached(self.id, self.function.name)
                if self._arrived:
                    arrived, self._arrived = self._arrived, []
                    weight, self._arrived_weight = self._arrived_weight, 0
                    self._at_consumer = [
                        self._at_consumer[0] + len(arrived),
                        self._at_consumer[1] + weight,
                    ]
                    self._keep_history(arrived)
                    return arrived
                if self._input_error is not None:
                    self.stop_failing()
                    raise self._input_error
                if self._complete() or self.stopped:
                    break
                news: Future[None] = Future()
                self._news = news
            await wait(news)
        if not self.stopped:
            self._end_complete()
        return []


# --- late results --------------------------------------------------------------------------------

#: Most bytes of these results that are kept.
KEPT_BYTES = 4 * 1024 * 1024


class LateResults:
    """The results of inputs that ran to their end although their map was stopped.

    Args:
        serializer: The serializer of this process. Results in shared memory are not kept.
    """

    def __init__(self, serializer: Serializer) -> None:
        self._serializer = serializer
        self._size = 0
        self.outputs: list[Output] = []

    def add(self, outputs: Iterable[Output]) -> None:
        """Keep those of these outputs that are results."""
        for output in outputs:
            payload = output.payload
            if payload is None:
                continue
            kept = output.status == InputStatus.SUCCESS and not payload.segments
            if not kept or self._size + payload.weight > KEPT_BYTES:
                self._serializer.discard(payload)
                continue
            self._size += payload.weight
            self.outputs.append(output)
