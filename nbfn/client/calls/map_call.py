"""`MapCall`: the inputs and outcomes of one map, between the thread that pulls, the client's and the consumer's."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from nbfn import exception
from nbfn.client.active_call import CallableFunction, Connection
from nbfn.client.calls import recent_failures
from nbfn.client.calls.failed_inputs import FailedInputs, size_of
from nbfn.client.calls.input_feeder import FedCall, weight_of
from nbfn.client.calls.outcome import outcome_name
from nbfn.client.connection import settle
from nbfn.protocol import messages
from nbfn.protocol.messages import FunctionInfo, Message, NewInput, Output, Payload
from nbfn.runtime.sync import wait
from nbfn.types import InputStatus

logger = logging.getLogger("nbfn.client")

#: Seconds between two lines of the debug log that count what a map has done.
LOG_EVERY = 10.0
#: Inputs that may be under way before the hub has said how many.
FIRST_WINDOW = 1000
#: Bytes of results after which the hub is told that they were taken. It has no more inputs run when
#: some ten times as many are not.
REPORT_BYTES, HELD_BYTES = 2 * 1024 * 1024, 24 * 1024 * 1024
#: Bytes of results that may be under way, as far as can be told from those that came.
RESULT_BYTES = 64 * 1024 * 1024
#: Bytes of results kept for the case that the loop over them is left to itself (`MapCall.detach`).
HISTORY_BYTES = 32 * 1024 * 1024
#: About what an outcome weighs beside its payload.
_OUTCOME_BYTES = 200

_SUCCESS = int(InputStatus.SUCCESS)


class MapCall(FedCall):
    """The inputs and outcomes of one map, between the three threads.

    Args:
        live: What is called.
        total: Inputs there will be, None while that is not known.
        fail_fast: Whether the first failure ends it.
        parent: The input whose code makes it, as the hub knows it.
        again: The failures of another map, and their indices there, which this one runs again.
        results: Finds what the results are taken from, a `nbfn.client.calls.map_result.MapResult`, while it is there.
    """

    def __init__(
        self,
        live: CallableFunction,
        *,
        total: int | None,
        fail_fast: bool,
        parent: str,
        again: tuple[FailedInputs, Sequence[int]] | None = None,
        results: Callable[[], Any] = lambda: None,
    ) -> None:
        self.results = results
        #: The inputs that failed; none of a map that ends with its first failure.
        self.failures = again[0] if again else FailedInputs(live.client.carrier)
        self._numbers = again[1] if again else None
        self.repeats = again is not None
        self.over: Future[None] = Future()
        self.stuck = ""  # why no results are taken, where that is not the caller's own doing
        self.detached = False  # the loop over the results is to end, and the call goes on
        self._history: list[Output] | None = []
        self._history_size = 0
        self._fail_fast = fail_fast
        self._consumed = 0
        self._window = FIRST_WINDOW
        self._most: float = FIRST_WINDOW  # inputs that may be under way
        self._arrived: list[Output] = []
        self._received = 0  # bytes of results that came
        self._result_size = 0.0  # of one of them, of those that came last
        self._arrived_weight = 0  # of those that were not handed to the consumer
        self._taking = [0, 0]  # results that the consumer has and is not done with, and their bytes
        self._taken = self._reported = (
            0  # bytes of those it is done with, and that the hub counts no more
        )
        self._report_due = False  # the client's thread has been asked to tell it
        self._twice = 0  # outcomes that were told again, after a reconnect
        self._log_due = time.monotonic() + LOG_EVERY
        self._news: Future[None] | None = None
        self._trouble: BaseException | None = None  # of the input iterable, or the connection
        super().__init__(
            live.client, live.info, "map", version=live.version, parent=parent, total=total
        )
        if not self.sink.detachable:
            self._history = None

    # --- helper thread ---------------------------------------------------------------------------

    def has_room(self) -> bool:
        """See `FedCall.has_room`."""
        return self._sent - self._consumed < self._most and self._fits()

    def _limit(self) -> None:
        """Set how many inputs may be under way: looked at for each input, changed for each message."""
        window = min(self._window, RESULT_BYTES / max(self._result_size, 1.0))
        self._most = max(window, self.least)

    def broke(self, error: BaseException) -> None:
        """See `FedCall.broke`."""
        with self._lock:
            self._trouble = self._trouble or error
        self._notify()

    def dried_up(self) -> None:
        """See `FedCall.dried_up`."""
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
            self.credited()

    def _take(self, outputs: tuple[Output, ...]) -> None:
        new: list[Output] = []
        spent: list[NewInput] = []
        with (
            self._lock
        ):  # at one stroke: who finds nothing unsettled has to find the last outcome as well
            for output in outputs:
                item = self._unsettled.pop(output.index, None)
                if item is not None:  # else it was told twice
                    spent.append(item)
                    new.append(output)
            weight = messages.outputs_weight(new)
            self._arrived.extend(new)
            self._arrived_weight += weight
            complete = self._complete()
        self._received += weight
        self._twice += len(outputs) - len(new)
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
            self.client.send(self._tell_all_arrived)
            self.end("failure" if self.failed else "success")
        elif failed and self._fail_fast:
            worst = next(output.status for output in new if output.status != _SUCCESS)
            self._withdraw(outcome_name(worst))  # at once: the consumer may be slow to hear of it
        self._notify()

    def _measure(self, size: float) -> None:
        """Note what results weigh, in bytes, a mean."""
        self._result_size += (0.1 if self._result_size else 1.0) * (size - self._result_size)
        self._limit()

    def _take_failed(self, new: list[Output], spent: list[NewInput]) -> None:
        """Keep the inputs that failed, and pull no more where somebody else has cancelled the map."""
        if any(output.status == InputStatus.TERMINATED for output in new):
            self._cancelled = True
            self.credited()
        self._keep_failed(new, spent)

    def _tell_taken(self) -> Iterable[Message]:
        self._report_due = False
        if (weight := self._taken - self._reported) > 0:
            self._reported += weight
            yield messages.ResultsTaken(self.id, weight)

    def _tell_all_arrived(self) -> Iterable[Message]:
        """Tell the hub that it need keep no result for the case that it did not arrive."""
        weight, self._reported = self._received - self._reported, self._received
        if weight >= REPORT_BYTES // 16:
            yield messages.ResultsTaken(self.id, weight)

    def opening(self, *, resent: bool) -> Iterable[Message]:
        """See `ActiveCall.opening`. The hub counts anew what comes from now on."""
        self._report_due = False
        self._reported = self._received
        yield from super().opening(resent=resent)

    def _log_counters(self) -> None:
        logger.debug(
            "%s map of %r: %d inputs pulled, %d of them not sent, %d received, %d of them failed, %d told twice, "
            "%d without an outcome, %d results not taken",
            *(self.id, self.function.name, self._sent, len(self._outgoing), self.done),
            *(self.failed, self._twice, len(self._unsettled), len(self._arrived)),
        )

    def _keep_failed(self, new: Sequence[Output], spent: Sequence[NewInput]) -> None:
        """Keep the inputs that failed, for another time; of a map that runs some again, all but the good."""
        passed: tuple[int, ...] = (_SUCCESS, InputStatus.TERMINATED)
        if self._numbers is not None:
            passed = (_SUCCESS,)
        for output, item in zip(new, spent, strict=True):
            if output.status not in {_SUCCESS, InputStatus.TERMINATED}:
                number = self._numbers[item.index] if self._numbers is not None else item.index
                recent_failures.keep(self.id, number, self.function, self.version, item.payload)
            wanted = output.status not in passed
            if self._fail_fast or not wanted or not self._keep(item):
                self._reclaim((item,))

    def _keep(self, item: NewInput) -> bool:
        number = self._numbers[item.index] if self._numbers is not None else item.index
        return self.failures.keep(number, item.payload)

    def _reclaim(self, spent: Iterable[NewInput]) -> None:
        for item in spent:
            if item.payload.segments:
                self.client.carrier.reclaim(item.payload)

    def _complete(self) -> bool:
        return self._exhausted and not self._unsettled

    def fail(self, error: exception.Error) -> None:
        """See `ActiveCall.fail`."""
        self.broke(error)
        self._withdraw("failure", error)

    # --- any thread ------------------------------------------------------------------------------

    def tell_end(self, status: str, error: BaseException | None = None) -> None:
        """See `ActiveCall.tell_end`."""
        with self._lock:
            if not self.detached:  # else whoever takes the results anew is about to ask for it
                self._history = None
        super().tell_end(status, error)
        settle(self.over)

    def _notify(self) -> None:
        with self._lock:
            news, self._news = self._news, None
        if news is not None:
            settle(news)

    def _withdraw(self, status: str, error: BaseException | None = None) -> None:
        """Stop pulling and let go of the call; the hub cancels what is left of it."""
        self.stop_pulling()
        if self._announced:
            self.cancel()
        self.end(status, error)
        for item in list(self._unsettled.values()):
            if self._numbers is None or not self._keep(item):  # else it has failed as before
                self.client.carrier.discard(item.payload)

    def abandon(self) -> None:
        """Give up: the consumer wants nothing more."""
        if not self.stopped:
            self._withdraw("terminated")
        with self._lock:
            arrived, self._arrived = self._arrived, []
        self.discard(arrived)
        self._notify()  # the consumer may be another map's helper thread

    def discard(self, outputs: Iterable[Output]) -> None:
        """Free the shared memory of outcomes that nobody will look at."""
        for output in outputs:
            self.client.carrier.discard(output.payload)

    def detach(self) -> None:
        """End the loop over the results with `Detached`; the call goes on."""
        self.detached = True
        self._notify()

    @property
    def remembers(self) -> bool:
        """Whether all that the loop has had is kept."""
        return self._history is not None

    def go_on(self) -> list[Output] | None:
        """Be consumed anew, after the loop has ended.

        Returns:
            All outcomes that it has had, or None if they were too many to be kept.
        """
        with self._lock:
            self.detached = False
            history, self._history = self._history, None
        return history

    def _remember(self, outputs: list[Output]) -> None:
        if self._history is None:
            return
        for output in outputs:
            payload = output.payload
            self._history_size += _OUTCOME_BYTES + (size_of(payload) if payload else 0)
            # What lies in shared memory can be read once only.
            if (payload and payload.segments) or self._history_size > HISTORY_BYTES:
                self._history = None
                return
        self._history += outputs

    @property
    def held(self) -> str:
        """Why the hub has nothing of it to do although it has not ended; "" where it has."""
        if self.stuck:
            return self.stuck
        if self._unsettled or self.stopped or self._exhausted or self._trouble is not None:
            return ""
        if not self.has_room() or self._received - self._taken >= HELD_BYTES:
            return f"{self._sent - self._consumed:,} results wait to be taken"
        return "the next input is awaited" if self._sent else "the first input is awaited"

    # --- consumer's thread -----------------------------------------------------------------------

    def consumed(self, count: int) -> None:
        """Note that the consumer has had so many results: as many more inputs may be sent."""
        taking = self._taking
        weight = taking[1] * count // max(1, taking[0])  # of results of one size; else about that
        taking[0] -= count
        taking[1] -= weight
        self._consumed += count
        self._taken += weight
        if self._taken - self._reported >= REPORT_BYTES and not self._report_due:
            self._report_due = True
            self.client.send(self._tell_taken)
        self.credited()

    async def take(self) -> list[Output]:
        """Return the outcomes that arrived since the last time; an empty list when there will be none."""
        __tracebackhide__ = True
        while True:
            with self._lock:
                if self.detached:
                    raise exception.Detached(self.id, self.function.name)
                if self._arrived:
                    arrived, self._arrived = self._arrived, []
                    weight, self._arrived_weight = self._arrived_weight, 0
                    self._taking = [self._taking[0] + len(arrived), self._taking[1] + weight]
                    self._remember(arrived)
                    return arrived
                if self._trouble is not None:
                    raise self._trouble
                if self._complete() or self.stopped:
                    break
                news: Future[None] = Future()
                self._news = news
            await wait(news)
        self.end("failure" if self.failed else "success")
        return []


class RetriedInputs:
    """What a map that runs some inputs again is of: the newest version of its Function; see `CallableFunction`.

    Args:
        client: The way to the hub.
        info: What the hub says of the Function now.
    """

    #: The newest one.
    version = 0

    def __init__(self, client: Connection, info: FunctionInfo) -> None:
        self.client = client
        self.info = info

    def pickle(
        self, args: tuple[Any, ...], _kwargs: Mapping[str, Any], *, durable: bool = False
    ) -> Payload:
        """Return an input, which is pickled already."""
        assert not durable
        payload: Payload = args[0]
        return payload
