"""`MultiInputCall`: a call whose inputs come from iterables and are sent in batches.

A helper thread iterates and pickles; the client's thread sends and receives. An input is kept until the hub has
confirmed it. When a subclass has no room for further inputs in flight, the helper waits, so a slow iterable delays
only its own call.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace

from nbfn.client.call_observer import CallSink
from nbfn.client.calls.active_call import ActiveCall, Connection
from nbfn.client.calls.input_iterator import InputIterator
from nbfn.protocol import messages
from nbfn.protocol.call_states import InputCounts
from nbfn.protocol.codec import take
from nbfn.protocol.messages import FunctionInfo, Message, NewInput, Payload, total_weight
from nbfn.runtime.sync import raisable

#: Bytes of inputs in flight: at most of one call, of one call with batching, and of all calls of this process
#: together; and what each call may have in any case.
MOST_BYTES, BATCH_BYTES, ALL_BYTES, LEAST_BYTES = 2**25, 2**26, 3 * 2**25, 2**21

#: The calls of this process that have inputs in flight.
_feeding: dict[MultiInputCall, None] = {}


class MultiInputCall(ActiveCall):
    """A call with any number of inputs, which are sent as they are made.

    Args:
        client: The connection that it uses.
        function: What is called.
        kind: map or spawn.
        version: The version to call; 0 for the newest.
        parent: The hub's name of the input whose code makes the call; empty outside a worker.
        total: How many inputs there will be; None while that is not known.
        call_id: The id of an existing call; a new one when not given.
        sink: The sink of the existing call.
    """

    #: Whether the hub keeps it on disk.
    durable = False
    #: Inputs that may be in flight however large they are, so that no worker waits.
    least = 2
    #: Whether the caller ignores failures, so that they must be logged.
    unattended = False
    #: Whether the call has ended before and some of its inputs run again, and the counts of its other inputs.
    again = False
    settled_before = InputCounts()

    def __init__(
        self,
        client: Connection,
        function: FunctionInfo,
        kind: str,
        *,
        version: int,
        parent: str = "",
        total: int | None = None,
        call_id: str = "",
        sink: CallSink | None = None,
    ) -> None:
        self._parent = parent
        self._source: InputIterator | None = None
        self._unsettled: dict[int, NewInput] = {}
        self._outgoing: deque[NewInput] = deque()
        self._flush_due = False  # the client's thread has been asked to send
        self._opened = False  # the hub has the call
        self._closed_sent = False
        self._exhausted = False  # no more inputs will come
        self._sent = 0
        self._put_weight = 0  # bytes of inputs that were put
        self._settled_weight = 0  # bytes of inputs that have ended or are stored
        self._credit = threading.Condition()
        self._lock = threading.Lock()
        self.stopped = False  # no further input is needed
        self._cancelled = False  # it was cancelled; the caller gets that as the outcomes
        super().__init__(
            client, function, kind, version=version, total=total, call_id=call_id, sink=sink
        )

    def begin(
        self,
        source: InputIterator,
        pickle: Callable[[tuple[Any, ...]], Payload],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        """Begin to iterate over the inputs, on a helper thread.

        Args:
            source: The argument tuples.
            pickle: Pickles one of them.
            loop: The caller's event loop, if the caller leaves it free meanwhile.
        """
        self._source = source
        self.client.track(self)
        _feeding[self] = None
        around = contextvars.copy_context()  # the caller's iterables see the caller's context
        threading.Thread(
            target=around.run,
            args=(self._pull, source, pickle, loop),
            name="nbfn-map-inputs",
            daemon=True,
        ).start()

    def index_of(self, place: int) -> int:
        """Return the index of the input that is taken from the iterables at this place."""
        return place

    @property
    def known_inputs(self) -> int:
        """See `ActiveCall.known_inputs`."""
        known = self.settled_before.total + self._sent
        return known if self.total is None else max(self.total, known)

    # --- implemented by subclasses --------------------------------------------------------------------

    def has_room(self) -> bool:
        """Return whether another input may be in flight."""
        raise NotImplementedError

    def input_failed(self, error: BaseException) -> None:
        """Called on the helper thread with the error that an iterable or pickling raised."""
        raise NotImplementedError

    def input_exhausted(self) -> None:
        """Called on the helper thread after the last input; `total` is known then."""

    # --- helper thread ---------------------------------------------------------------------------

    def _pull(
        self,
        source: InputIterator,
        pickle: Callable[[tuple[Any, ...]], Payload],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        __tracebackhide__ = True
        whole = False
        try:
            for args in source.begin(loop):
                if self.stopped or self._cancelled:
                    break
                self._put(NewInput(self.index_of(self._sent), pickle(args)))
                # Wait before the next input is made, not after.
                if not self.has_room() and not self._await_credit():
                    break
            else:
                whole = True
        except BaseException as error:  # noqa: BLE001 - the caller's iterable's own
            self.input_failed(raisable(error, "An iterable of inputs"))
        else:
            self._finish_input(whole=whole)
        finally:
            source.close()

    def _await_credit(self) -> bool:
        """Wait until another input may be sent; return False when no more are needed."""
        with self._credit:
            self._credit.wait_for(lambda: self.has_room() or self.stopped or self._cancelled)
        return not (self.stopped or self._cancelled)

    def _fits(self) -> bool:
        """Return whether the limits on bytes in flight allow another input."""
        mine = self._put_weight - self._settled_weight
        if mine < LEAST_BYTES or len(self._unsettled) < self.least:
            return True
        others = sum(call._put_weight - call._settled_weight for call in tuple(_feeding)) - mine
        batches = self.function.batching.max_batch_size is not None
        return mine < (BATCH_BYTES if batches else MOST_BYTES) and others + mine < ALL_BYTES

    def _settled(self, weight: int) -> None:
        """Note that inputs of this many bytes have ended or are stored."""
        waits = self._put_weight - self._settled_weight >= LEAST_BYTES
        self._settled_weight += weight
        if waits:
            self.notify_room()
        for call in tuple(_feeding) if weight > LEAST_BYTES // 16 else ():
            call.notify_room()

    def _put(self, item: NewInput) -> None:
        payload = item.payload
        self._put_weight += payload.weight if payload.segments else len(payload.data)
        self._sent += 1
        self._unsettled[item.index] = item
        self._outgoing.append(item)
        if not self._flush_due:
            self._flush_due = True
            self.client.send(self._flush)

    def _finish_input(self, *, whole: bool) -> None:
        """Note that no more inputs will come; ``whole``: because the iterables have no more."""
        with self._lock:
            self._exhausted = True
            known = self.settled_before.total + self._sent
            self.total = known if whole or self.total is None else max(self.total, known)
        if self._sent or self.durable:
            self.client.send(self._flush)
        self.input_exhausted()

    # --- client's thread -------------------------------------------------------------------------

    def _flush(self) -> Iterable[Message]:
        self._flush_due = False  # first: inputs that are added from now on ask again
        while self._outgoing and not self.stopped:
            exhausted = self._exhausted  # first: before looking whether any input is left
            batch = take(self._outgoing, weight_of)
            yield self._message(batch, closed=exhausted and not self._outgoing)
        if self._exhausted and not self._outgoing and not self._closed_sent and not self.stopped:
            yield self._message((), closed=True)
        # It may have been cancelled before the hub had the call.
        if self._cancelled and self._opened:
            yield messages.Cancel(0, self.id)

    def _message(
        self, items: tuple[NewInput, ...], *, closed: bool, resent: bool = False
    ) -> Message:
        self._closed_sent = closed
        if self._opened:
            return messages.PutInputs(self.id, items, closed=closed, resent=resent)
        self._opened = True
        return messages.PutCall(
            self.id,
            self.function.id,
            self.version,
            self.kind,
            items,
            closed=closed,
            durable=self.durable,
            resent=resent,
            parent=self._parent,
            total=self.total,
            method=self.function.method,
            deployment=self.function.deployment,
            unattended=self.unattended,
            levels=self.levels,
            notify=self.sink.notify,
            settled=replace(self.counts, total=self.counts.settled),
            again=self.again,
            age=time.monotonic() - self.began,
        )

    def opening(self, *, resent: bool) -> Iterable[Message]:
        """See `ActiveCall.opening`: yields the call and every input that the hub may not have."""
        if not self._opened:
            yield from self._flush()
            return
        self._flush_due = False  # a request to flush was lost with the hub; first, as above
        self._opened = False
        self._outgoing.clear()
        exhausted = self._exhausted
        again = deque(list(self._unsettled.values()))
        while True:
            batch = take(again, weight_of)
            yield self._message(batch, closed=exhausted and not again, resent=resent)
            if not again:
                return

    # --- any thread ------------------------------------------------------------------------------

    def notify_end(self, status: str, error: BaseException | None = None) -> None:
        """See `ActiveCall.notify_end`."""
        _feeding.pop(self, None)
        super().notify_end(status, error)

    def stop_input(self) -> None:
        """Stop iterating over the inputs."""
        self.stopped = True
        self.notify_room()
        if self._source is not None:
            self._source.stop()

    def notify_room(self) -> None:
        """Make the helper thread check again whether there is room."""
        with self._credit:
            self._credit.notify_all()

    def cancel(self) -> None:
        """See `ActiveCall.cancel`; also stops iterating over the inputs."""
        self._cancelled = True
        self.notify_room()
        super().cancel()


def weight_of(items: Iterable[NewInput]) -> int:
    """Return the sum of the weights of inputs."""
    return total_weight([item.payload for item in items])
