"""`FedCall`: a call whose inputs are pulled from iterables, told to the hub in batches, and kept until it has them.

Two threads meet here: a helper pulls the caller's iterables and pickles, the client's thread sends
and receives. Inputs that are under way never exceed what a subclass has room for; the helper waits
then, and a slow iterable holds up nothing but itself.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from nbfn.client.active_call import ActiveCall, Connection
from nbfn.client.calls.input_iterator import InputIterator
from nbfn.protocol import messages
from nbfn.protocol.codec import take
from nbfn.protocol.messages import FunctionInfo, Message, NewInput, Payload, total_weight
from nbfn.runtime.sync import raisable

#: Bytes of inputs that may be under way: those of one call, of one whose inputs are run in batches, and of
#: all calls of this process together; and what each may have in any case.
MOST_BYTES, BATCH_BYTES, ALL_BYTES, LEAST_BYTES = 2**25, 2**26, 3 * 2**25, 2**21

#: The calls of this process that have inputs under way.
_feeding: dict[FedCall, None] = {}


class FedCall(ActiveCall):
    """A call that is told bit by bit.

    Args:
        client: The client it is made through.
        function: What is called.
        kind: map or spawn.
        version: The version to call; 0 for the newest.
        parent: The input whose code makes it, as the hub knows it.
        total: Inputs there will be, None while that is not known.
        call_id: Of a call that exists; a new id when not given.
    """

    #: Whether the hub keeps it on disk.
    durable = False
    #: Inputs that may be under way, however large they are, so that no worker waits.
    least = 2
    #: Whether nobody looks at its failures, so that the logs have to have them.
    unattended = False

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
    ) -> None:
        self._parent = parent
        self._source: InputIterator | None = None
        self._unsettled: dict[int, NewInput] = {}
        self._outgoing: deque[NewInput] = deque()
        self._flush_due = False  # the client's thread has been asked to send
        self._announced = False  # the hub has been told of the call
        self._told_closed = False
        self._exhausted = False  # no more inputs will come
        self._sent = 0
        self._put_weight = self._settled_weight = 0  # bytes of inputs, that were put and have ended
        self._credit = threading.Condition()
        self._lock = threading.Lock()
        self.stopped = False  # nothing more is wanted
        self._cancelled = False  # somebody cancelled it; the caller is told by the outcomes
        super().__init__(client, function, kind, version=version, total=total, call_id=call_id)

    def begin(
        self,
        source: InputIterator,
        pickle: Callable[[tuple[Any, ...]], Payload],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        """Begin to pull inputs.

        Args:
            source: Of the argument tuples.
            pickle: Makes an input of one.
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

    # --- what a subclass says --------------------------------------------------------------------

    def has_room(self) -> bool:
        """Return whether another input may be under way."""
        raise NotImplementedError

    def broke(self, error: BaseException) -> None:
        """Take what the iterables raised. Called on the helper thread."""
        raise NotImplementedError

    def dried_up(self) -> None:
        """Note that no more inputs will come: `total` is known. Called on the helper thread."""

    # --- helper thread ---------------------------------------------------------------------------

    def _pull(
        self,
        source: InputIterator,
        pickle: Callable[[tuple[Any, ...]], Payload],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        __tracebackhide__ = True
        try:
            for args in source.begin(loop):
                if self.stopped or self._cancelled:
                    break
                self._put(NewInput(self._sent, pickle(args)))
                # Before the next one is pulled: it is not asked for until it may be sent.
                if not self.has_room() and not self._await_credit():
                    break
        except BaseException as error:  # noqa: BLE001 - the caller's iterable's own
            self.broke(raisable(error, "An iterable of inputs"))
        else:
            self._finish_input()
        finally:
            source.close()

    def _await_credit(self) -> bool:
        """Wait until another input may be sent; False when none is wanted any more."""
        with self._credit:
            self._credit.wait_for(lambda: self.has_room() or self.stopped or self._cancelled)
        return not (self.stopped or self._cancelled)

    def _fits(self) -> bool:
        """Return whether another input may be under way, as far as their bytes are concerned."""
        mine = self._put_weight - self._settled_weight
        if mine < LEAST_BYTES or len(self._unsettled) < self.least:
            return True
        others = sum(call._put_weight - call._settled_weight for call in tuple(_feeding)) - mine
        batches = self.function.batching.max_batch_size is not None
        return mine < (BATCH_BYTES if batches else MOST_BYTES) and others + mine < ALL_BYTES

    def _settled(self, weight: int) -> None:
        """Note that inputs of so many bytes have ended, or are safe."""
        waits = self._put_weight - self._settled_weight >= LEAST_BYTES
        self._settled_weight += weight
        if waits:
            self.credited()
        for call in tuple(_feeding) if weight > LEAST_BYTES // 16 else ():
            call.credited()

    def _put(self, item: NewInput) -> None:
        payload = item.payload
        self._put_weight += payload.weight if payload.segments else len(payload.data)
        self._sent += 1
        self._unsettled[item.index] = item
        self._outgoing.append(item)
        if not self._flush_due:
            self._flush_due = True
            self.client.send(self._flush)

    def _finish_input(self) -> None:
        with self._lock:
            self._exhausted = True
            self.total = self._sent
        if self._sent or self.durable:
            self.client.send(self._flush)
        self.dried_up()

    # --- client's thread -------------------------------------------------------------------------

    def _flush(self) -> Iterable[Message]:
        self._flush_due = False  # before looking: what is added from here on asks again
        while self._outgoing and not self.stopped:
            exhausted = self._exhausted  # before looking whether anything is left
            batch = take(self._outgoing, weight_of)
            yield self._message(batch, closed=exhausted and not self._outgoing)
        if self._exhausted and not self._outgoing and not self._told_closed and not self.stopped:
            yield self._message((), closed=True)
        if self._cancelled and self._announced:  # perhaps before the hub knew the call
            yield messages.Cancel(0, self.id)

    def _message(
        self, items: tuple[NewInput, ...], *, closed: bool, resent: bool = False
    ) -> Message:
        self._told_closed = closed
        if self._announced:
            return messages.PutInputs(self.id, items, closed=closed, resent=resent)
        self._announced = True
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
        )

    def opening(self, *, resent: bool) -> Iterable[Message]:
        """See `ActiveCall.opening`: the call, and every input that the hub may not have."""
        if not self._announced:
            yield from self._flush()
            return
        self._flush_due = (
            False  # a request to send went down with the hub; before looking, as above
        )
        self._announced = False
        self._outgoing.clear()
        exhausted = self._exhausted
        again = deque(list(self._unsettled.values()))
        while True:
            batch = take(again, weight_of)
            yield self._message(batch, closed=exhausted and not again, resent=resent)
            if not again:
                return

    # --- any thread ------------------------------------------------------------------------------

    def tell_end(self, status: str, error: BaseException | None = None) -> None:
        """See `ActiveCall.tell_end`."""
        _feeding.pop(self, None)
        super().tell_end(status, error)

    def stop_pulling(self) -> None:
        """Have no more inputs pulled."""
        self.stopped = True
        self.credited()
        if self._source is not None:
            self._source.stop()

    def credited(self) -> None:
        """Have the helper look again whether there is room."""
        with self._credit:
            self._credit.notify_all()

    def cancel(self) -> None:
        """See `ActiveCall.cancel`; no more inputs are pulled either."""
        self._cancelled = True
        self.credited()
        super().cancel()


def weight_of(items: Iterable[NewInput]) -> int:
    """Return the sum of the weights of inputs."""
    return total_weight([item.payload for item in items])
