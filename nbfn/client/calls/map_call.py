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

from nbfn import exception
from nbfn.client.calls import recent_failures
from nbfn.client.calls.active_call import CallableFunction, Connection, settle
from nbfn.client.calls.failed_inputs import FailedInputs, size_of
from nbfn.client.calls.input_feeder import MultiInputCall, weight_of
from nbfn.client.calls.outcome import outcome_name
from nbfn.protocol import messages
from nbfn.protocol.messages import FunctionInfo, Message, NewInput, Output, Payload
from nbfn.runtime.sync import wait
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


class MapCall(MultiInputCall):
    """The inputs and outcomes of one map.

    Args:
        hydrated: The Function.
        total: How many inputs there will be; None while that is not known.
        fail_fast: Whether the first failure ends it.
        parent: The hub's name of the input whose code makes the call; empty outside a worker.
        again: The failed inputs of another map and their indices there, if this one runs them again.
        results: Returns the `nbfn.client.calls.map_result.MapResult` while it exists.
    """

    def __init__(
        self,
        hydrated: CallableFunction,
        *,
        total: int | None,
        fail_fast: bool,
        parent: str,
        again: tuple[FailedInputs, Sequence[int]] | None = None,
        results: Callable[[], Any] = lambda: None,
    ) -> None:
        self.results = results
        #: The inputs that failed; empty for a map that ends with its first failure.
        self.failures = again[0] if again else FailedInputs(hydrated.client.serializer)
        self._original_indices = again[1] if again else None
        self.repeats = again is not None
        self.over: Future[None] = Future()
        self.stuck = ""  # why no results are taken, if that is not up to the caller
        self.detached = False  # the loop over the results ends, and the call continues
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
            total=total,
        )
        if not self.sink.detachable:
            self._history = None

    # --- helper thread ---------------------------------------------------------------------------

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
            self._arrived.extend(new)
            self._arrived_weight += weight
            complete = self._complete()
        self._received += weight
        self._duplicates += len(outputs) - len(new)
        if new:
            self._measure(weight / len(new))
        self._settled(weight_of(spent))
        failed = sum(output.status != _SUCCESS for output in new)
        if failed:
            self._take_failed(new, spent)
        else:
            self._reclaim(spent)
        self.count(new, failed)
        if (now := time.monotonic()) >= self._log_due:
            self._log_due = now + LOG_EVERY
            self._log_counters()
        if complete:
            self.client.send(self._report_all_taken)
            self.end("failure" if self.failed else "success")
        elif failed and self._fail_fast:
            worst = next(output.status for output in new if output.status != _SUCCESS)
            self._stop(outcome_name(worst))  # at once: the consumer may be slow
        self._notify()

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
        yield from super().opening(resent=resent)

    def _log_counters(self) -> None:
        logger.debug(
            "%s map of %r: %d inputs pulled, %d of them not sent, %d received, %d of them failed, %d duplicates, "
            "%d without an outcome, %d results not taken",
            *(self.id, self.function.name, self._sent, len(self._outgoing), self.done),
            *(self.failed, self._duplicates, len(self._unsettled), len(self._arrived)),
        )

    def _keep_failed(self, new: Sequence[Output], spent: Sequence[NewInput]) -> None:
        """Keep the inputs that failed, for a retry; in a retry also those that were cancelled."""
        passed: tuple[int, ...] = (_SUCCESS, InputStatus.TERMINATED)
        if self._original_indices is not None:
            passed = (_SUCCESS,)
        for output, item in zip(new, spent, strict=True):
            if output.status not in {_SUCCESS, InputStatus.TERMINATED}:
                number = (
                    self._original_indices[item.index]
                    if self._original_indices is not None
                    else item.index
                )
                recent_failures.keep(self.id, number, self.function, self.version, item.payload)
            wanted = output.status not in passed
            if self._fail_fast or not wanted or not self._keep(item):
                self._reclaim((item,))

    def _keep(self, item: NewInput) -> bool:
        number = (
            self._original_indices[item.index] if self._original_indices is not None else item.index
        )
        return self.failures.keep(number, item.payload)

    def _reclaim(self, spent: Iterable[NewInput]) -> None:
        for item in spent:
            if item.payload.segments:
                self.client.serializer.reclaim(item.payload)

    def _complete(self) -> bool:
        return self._exhausted and not self._unsettled

    def fail(self, error: exception.Error) -> None:
        """See `ActiveCall.fail`."""
        self.input_failed(error)
        self._stop("failure", error)

    # --- any thread ------------------------------------------------------------------------------

    def notify_end(self, status: str, error: BaseException | None = None) -> None:
        """See `ActiveCall.notify_end`."""
        with self._lock:
            if not self.detached:  # else `resume` is about to be called
                self._history = None
        super().notify_end(status, error)
        settle(self.over)

    def _notify(self) -> None:
        with self._lock:
            news, self._news = self._news, None
        if news is not None:
            settle(news)

    def _stop(self, status: str, error: BaseException | None = None) -> None:
        """Stop making inputs and end the call; the hub cancels the rest of it."""
        self.stop_input()
        if self._opened:
            self.cancel()
        self.end(status, error)
        for item in list(self._unsettled.values()):
            kept = self._original_indices is not None and self._keep(item)  # as a failed input
            if not kept:
                self.client.serializer.discard(item.payload)

    def abandon(self) -> None:
        """Cancel the call and drop its results: the consumer has left."""
        if not self.stopped:
            self._stop("terminated")
        with self._lock:
            arrived, self._arrived = self._arrived, []
        self.discard(arrived)
        self._notify()  # the consumer may wait on another thread

    def discard(self, outputs: Iterable[Output]) -> None:
        """Free the shared memory of outcomes that are not unpickled."""
        for output in outputs:
            self.client.serializer.discard(output.payload)

    def detach(self) -> None:
        """End the loop over the results with `Detached`; the call continues."""
        self.detached = True
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
                    raise self._input_error
                if self._complete() or self.stopped:
                    break
                news: Future[None] = Future()
                self._news = news
            await wait(news)
        self.end("failure" if self.failed else "success")
        return []


class RetriedInputs:
    """The newest version of a Function, called with inputs that are pickled already; see `CallableFunction`.

    Args:
        client: The connection to the hub.
        info: What the hub knows of the Function now.
    """

    #: The newest version.
    version = 0

    def __init__(self, client: Connection, info: FunctionInfo) -> None:
        self.client = client
        self.info = info

    def pickle(
        self, args: tuple[Any, ...], _kwargs: Mapping[str, Any], *, durable: bool = False
    ) -> Payload:
        """Return the input, which is pickled already."""
        assert not durable
        payload: Payload = args[0]
        return payload
