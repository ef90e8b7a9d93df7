"""`map`, `starmap`, `for_each`: many inputs of one call, under way at once, with bounded memory.

Three threads meet in a `MapCall`: a helper pulls the caller's iterables and pickles, the client's
thread sends and receives, the consumer unpickles and puts in order. Inputs sent and not yet
consumed never exceed the window that the hub grants, so an endless iterable is pulled only so far;
the helper waits then, and a slow iterable holds up nothing but itself.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from nbfn import exception
from nbfn.call import outcome_name, result_of, value_of
from nbfn.session import OpenCall, Session, guarded, settle
from nbfn.sync import Stream, wait
from nbfn.types import InputStatus
from nbfn.wire import messages
from nbfn.wire.messages import FunctionInfo, Message, NewInput, Output, Payload

logger = logging.getLogger("nbfn.client")

T = TypeVar("T")

#: Inputs that may be under way before the hub has said how many.
FIRST_WINDOW = 1000
#: Most inputs, and most bytes of them, in one message.
BATCH_INPUTS, BATCH_BYTES = 512, 2 * 1024 * 1024
#: Results handed to the consumer at once; what it took is counted batch by batch.
HAND_OUT = 128

_SUCCESS = int(InputStatus.SUCCESS)


class LiveFunction(Protocol):
    """What a map needs of a Function that the hub knows."""

    @property
    def client(self) -> Session:
        """The way to its hub."""

    @property
    def info(self) -> FunctionInfo:
        """What the hub said of it."""

    @property
    def version(self) -> int:
        """The version to call; 0 for the newest."""

    def pickle(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Payload:
        """Pickle the arguments of one input."""


class Inputs:
    """The argument tuples of a map, made of the caller's iterables when they are asked for.

    Args:
        iterables: One for each argument, or for `starmap` one of whole argument tuples.
        spread: Whether it is the latter.
    """

    def __init__(self, iterables: tuple[Iterable[Any], ...], *, spread: bool = False) -> None:
        self._iterables = iterables
        self._spread = spread

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        __tracebackhide__ = True
        if self._spread:
            return map(tuple, self._iterables[0])
        return zip(*self._iterables, strict=False)

    def __len__(self) -> int:
        """Return how many there will be.

        Raises:
            TypeError: If one of the iterables does not know its length.
        """
        return min((len(iterable) for iterable in self._iterables), default=0)  # type: ignore[arg-type]

    def close(self) -> None:
        """Let generators among them run their ``finally``."""
        for iterable in self._iterables:
            close = getattr(iterable, "close", None)
            if close is not None and hasattr(
                iterable, "__next__"
            ):  # a generator, or another map's results
                guarded(close)


class MapCall(OpenCall):
    """The inputs and outcomes of one map, between the three threads."""

    def __init__(
        self,
        live: LiveFunction,
        inputs: Inputs,
        kwargs: Mapping[str, Any],
        *,
        fail_fast: bool,
        parent: str,
    ) -> None:
        self._live = live
        self._source = inputs
        self._kwargs = kwargs
        self._fail_fast = fail_fast
        self._parent = parent
        self._unsettled: dict[int, NewInput] = {}
        self._outgoing: deque[NewInput] = deque()
        self._flush_due = False  # the client's thread has been asked to send
        self._announced = False  # the hub has been told of the call
        self._told_closed = False
        self._exhausted = False  # no more inputs will come
        self._sent = 0
        self._consumed = 0
        self._window = FIRST_WINDOW
        self._credit = threading.Condition()
        self._lock = threading.Lock()
        self._arrived: list[Output] = []
        self._news: Future[None] | None = None
        self._trouble: BaseException | None = None  # of the input iterable, or the connection
        self.stopped = False  # nothing more is wanted
        self._cancelled = False  # somebody cancelled it; the consumer is told by the outcomes
        try:
            total = len(inputs)
        except Exception:  # noqa: BLE001 - a generator; or a __len__ of the user's that raises
            total = None
        super().__init__(live.client, live.info, "map", version=live.version, total=total)

    def start(self) -> None:
        """Begin to pull inputs."""
        self.client.track(self)
        around = contextvars.copy_context()  # the caller's iterables see the caller's context
        threading.Thread(
            target=around.run, args=(self._feed,), name="nbfn-map-inputs", daemon=True
        ).start()

    # --- helper thread ---------------------------------------------------------------------------

    def _feed(self) -> None:
        __tracebackhide__ = True
        try:
            for args in self._source:
                if self.stopped or self._cancelled:
                    break
                self._put(NewInput(self._sent, self._live.pickle(args, self._kwargs)))
                # Before the next one is pulled: it is not asked for until it may be sent.
                if self._sent - self._consumed >= self._window and not self._await_credit():
                    break
        except BaseException as error:  # noqa: BLE001 - the caller's iterable's own
            self._end_with(error)
        else:
            self._finish_input()
        finally:
            self._source.close()

    def _await_credit(self) -> bool:
        """Wait until another input may be sent; False when none is wanted any more."""
        with self._credit:
            self._credit.wait_for(
                lambda: (
                    self._sent - self._consumed < self._window or self.stopped or self._cancelled
                )
            )
        return not (self.stopped or self._cancelled)

    def _put(self, item: NewInput) -> None:
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
        if self._sent:
            self.client.send(self._flush)
        self._notify()

    def _end_with(self, error: BaseException) -> None:
        with self._lock:
            self._trouble = self._trouble or error
        self._notify()

    # --- client's thread -------------------------------------------------------------------------

    def _flush(self) -> Iterable[Message]:
        self._flush_due = False  # before looking: what is added from here on asks again
        while self._outgoing and not self.stopped:
            exhausted = self._exhausted  # before looking whether anything is left
            batch = tuple(_batch(self._outgoing))
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
            resent=resent,
            parent=self._parent,
            total=self.total,
            method=self.function.method,
        )

    def opening(self, *, resent: bool) -> Iterable[Message]:
        """See `OpenCall.opening`: the call, and every input without an outcome."""
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
            batch = tuple(_batch(again))
            yield self._message(batch, closed=exhausted and not again, resent=resent)
            if not again:
                return

    def receive(self, message: Message) -> None:
        """See `OpenCall.receive`."""
        if isinstance(message, messages.Outputs):
            self._take(message.outputs)
        elif isinstance(message, messages.Window):
            self._window = max(1, message.size)
            with self._credit:
                self._credit.notify_all()

    def _take(self, outputs: tuple[Output, ...]) -> None:
        new: list[Output] = []
        spent: list[Payload] = []
        with (
            self._lock
        ):  # at one stroke: who finds nothing unsettled has to find the last outcome as well
            for output in outputs:
                item = self._unsettled.pop(output.index, None)
                if item is not None:  # else it was told twice
                    spent.append(item.payload)
                    new.append(output)
            self._arrived.extend(new)
            complete = self._complete()
        failed = sum(output.status != _SUCCESS for output in new)
        for payload in spent:
            if payload.segments:
                self.client.carrier.reclaim(payload)
        self.count(len(new), failed)
        if complete:
            self.end("failure" if self.failed else "success")
        elif failed and self._fail_fast:
            worst = next(output.status for output in new if output.status != _SUCCESS)
            self._withdraw(outcome_name(worst))  # at once: the consumer may be slow to hear of it
        self._notify()

    def _complete(self) -> bool:
        return self._exhausted and not self._unsettled

    def fail(self, error: exception.Error) -> None:
        """See `OpenCall.fail`."""
        self._end_with(error)
        self._withdraw("failure", error)

    # --- any thread ------------------------------------------------------------------------------

    def _notify(self) -> None:
        with self._lock:
            news, self._news = self._news, None
        if news is not None:
            settle(news)

    def _withdraw(self, status: str, error: BaseException | None = None) -> None:
        """Stop pulling and let go of the call; the hub cancels what is left of it."""
        self.stopped = True
        with self._credit:
            self._credit.notify_all()
        if self._announced:
            super().cancel()
        self.end(status, error)
        for item in list(self._unsettled.values()):
            self.client.carrier.discard(item.payload)

    def cancel(self) -> None:
        """See `OpenCall.cancel`; no more inputs are pulled either."""
        self._cancelled = True
        with self._credit:
            self._credit.notify_all()
        super().cancel()

    def abandon(self) -> None:
        """Give up: the consumer wants nothing more."""
        if not self.stopped:
            self._withdraw("terminated")
        with self._lock:
            arrived, self._arrived = self._arrived, []
        self.discard(arrived)

    def discard(self, outputs: Iterable[Output]) -> None:
        """Free the shared memory of outcomes that nobody will look at."""
        for output in outputs:
            self.client.carrier.discard(output.payload)

    # --- consumer's thread -----------------------------------------------------------------------

    def consumed(self, count: int) -> None:
        """Note that the consumer has had so many results: as many more inputs may be sent."""
        self._consumed += count
        with self._credit:
            self._credit.notify()

    async def take(self) -> list[Output]:
        """Return the outcomes that arrived since the last time; an empty list when there will be none."""
        __tracebackhide__ = True
        while True:
            with self._lock:
                if self._arrived:
                    arrived, self._arrived = self._arrived, []
                    return arrived
                if self._trouble is not None:
                    raise self._trouble
                if self._complete():
                    break
                news: Future[None] = Future()
                self._news = news
            await wait(news)
        self.end("failure" if self.failed else "success")
        return []


def _batch(queue: deque[NewInput]) -> Iterator[NewInput]:
    """Take as many inputs as fit into one message."""
    count = size = 0
    while queue and count < BATCH_INPUTS and size < BATCH_BYTES:
        item = queue.popleft()
        count, size = count + 1, size + len(item.payload.data)
        yield item


class MapResult(Stream[T]):
    """What `Function.map` and `Function.starmap` return: begins the call when it is iterated.

    Args:
        way: map, starmap or for_each, for messages.
        begin: Gives the live Function.
        inputs: The argument tuples.
        kwargs: Keyword arguments of every input.
        ordered: Whether results come in the order of the inputs.
        returning: Whether an exception takes the place of its result.
        parent: The id of the input that makes this call, if one does.
    """

    #: Whether results are wanted; `for_each` only wants the failures.
    keep_values = True

    def __init__(
        self,
        way: str,
        begin: Callable[[], Coroutine[Any, Any, LiveFunction]],
        inputs: Inputs,
        kwargs: Mapping[str, Any],
        *,
        ordered: bool,
        returning: bool,
        parent: str,
    ) -> None:
        self._way = way
        self._begin = begin
        self._inputs = inputs
        self._kwargs = kwargs
        self._ordered = ordered
        self._returning = returning
        self._parent = parent
        self._call: MapCall | None = None
        self._touched = False
        self._ready: deque[T] = deque()
        self._early: dict[int, Any] = {}  # results that wait for earlier ones
        self._next = 0
        self._handed = 0  # given out since the last count
        self._error: BaseException | None = None  # to be raised after what is ready

    async def _more(self) -> list[T]:
        __tracebackhide__ = True
        self._touched = True
        if self._call is None:
            live = await self._begin()
            self._call = MapCall(
                live, self._inputs, self._kwargs, fail_fast=not self._returning, parent=self._parent
            )
            self._call.start()
        if self._handed:
            self._call.consumed(self._handed)
            self._handed = 0
        while not self._ready:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            arrived = await self._call.take()
            if not arrived:
                self._ended = True
                raise StopAsyncIteration
            self._sort(self._call, arrived)
        batch = [self._ready.popleft() for _ in range(min(HAND_OUT, len(self._ready)))]
        self._handed = len(batch)
        return batch

    def _sort(self, call: MapCall, arrived: list[Output]) -> None:
        """Unpack outcomes and put those that are due in order."""
        __tracebackhide__ = True
        ready, early = self._ready, self._early
        for place, output in enumerate(arrived):
            try:
                value = self._unpack(call, output)
            except Exception as error:  # noqa: BLE001 - the user's, to be returned or raised
                guarded(call.sink.failed, output.index, error)
                if not self._returning:
                    self._error = error
                    call.discard(arrived[place + 1 :])
                    return
                value = error
            if not self._ordered:
                ready.append(value)
            elif output.index != self._next:
                early[output.index] = value
            else:
                ready.append(value)
                self._next += 1
                while self._next in early:
                    ready.append(early.pop(self._next))
                    self._next += 1

    def _unpack(self, call: MapCall, output: Output) -> Any:
        __tracebackhide__ = True
        payload = output.payload
        if output.status != _SUCCESS or payload is None or payload.segments:
            return result_of(call.client.carrier, output, call.function.name, call.id)
        if not self.keep_values:
            return None
        return value_of(call.client.carrier, payload, call.function.name)

    def _stop(self) -> None:
        self._touched = True
        if self._call is not None:
            self._call.abandon()

    def __del__(self) -> None:
        if not getattr(self, "_touched", True):
            logger.warning(
                "The result of Function.%s was never iterated, so nothing was called. Use a for loop or list(...).",
                self._way,
            )
        elif not self._ended:
            self.close()

    def __repr__(self) -> str:
        return f"<results of Function.{self._way}, single use: iterate over them>"


async def each(results: MapResult[Any]) -> None:
    """Take all results, for what making them does."""
    __tracebackhide__ = True
    try:
        while True:
            await results._more()
    except StopAsyncIteration:
        return
    except BaseException:
        results.close()
        raise
