"""`map`, `starmap`, `for_each`: many inputs of one call, under way at once, with bounded memory.

A third thread joins the two of `nbfn.feed`: the consumer unpickles and puts in order. Inputs sent
and not yet consumed never exceed the window that the hub grants, so an endless iterable is pulled
only so far.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from nbfn import exception
from nbfn.feed import FedCall
from nbfn.inputs import Inputs
from nbfn.outcome import outcome_name, result_of, value_of
from nbfn.session import Session, guarded, settle
from nbfn.sync import Stream, callers_loop, wait
from nbfn.types import InputStatus
from nbfn.wire import messages
from nbfn.wire.messages import FunctionInfo, Message, Output, Payload

T = TypeVar("T")

#: Inputs that may be under way before the hub has said how many.
FIRST_WINDOW = 1000
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

    def pickle(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, durable: bool = False
    ) -> Payload:
        """Pickle the arguments of one input."""


class MapCall(FedCall):
    """The inputs and outcomes of one map, between the three threads.

    Args:
        live: What is called.
        total: Inputs there will be, None while that is not known.
        fail_fast: Whether the first failure ends it.
        parent: The input whose code makes it, as the hub knows it.
    """

    def __init__(
        self, live: LiveFunction, *, total: int | None, fail_fast: bool, parent: str
    ) -> None:
        self._fail_fast = fail_fast
        self._consumed = 0
        self._window = FIRST_WINDOW
        self._arrived: list[Output] = []
        self._news: Future[None] | None = None
        self._trouble: BaseException | None = None  # of the input iterable, or the connection
        super().__init__(
            live.client, live.info, "map", version=live.version, parent=parent, total=total
        )

    # --- helper thread ---------------------------------------------------------------------------

    def has_room(self) -> bool:
        """See `FedCall.has_room`."""
        return self._sent - self._consumed < self._window

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
        """See `OpenCall.receive`."""
        if isinstance(message, messages.Outputs):
            self._take(message.outputs)
        elif isinstance(message, messages.Window):
            self._window = max(1, message.size)
            self.credited()

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
        if failed and any(output.status == InputStatus.TERMINATED for output in new):
            self._cancelled = True  # by somebody else: what is still to be pulled would not run
            self.credited()
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
        self.broke(error)
        self._withdraw("failure", error)

    # --- any thread ------------------------------------------------------------------------------

    def _notify(self) -> None:
        with self._lock:
            news, self._news = self._news, None
        if news is not None:
            settle(news)

    def _withdraw(self, status: str, error: BaseException | None = None) -> None:
        """Stop pulling and let go of the call; the hub cancels what is left of it."""
        self.stop_pulling()
        if self._announced:
            self.client.send(messages.Cancel(0, self.id))
        self.end(status, error)
        for item in list(self._unsettled.values()):
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

    # --- consumer's thread -----------------------------------------------------------------------

    def consumed(self, count: int) -> None:
        """Note that the consumer has had so many results: as many more inputs may be sent."""
        self._consumed += count
        self.credited()

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
                if self._complete() or self.stopped:
                    break
                news: Future[None] = Future()
                self._news = news
            await wait(news)
        self.end("failure" if self.failed else "success")
        return []


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
        self._made_by = f"Function.{way}"
        self._begin = begin
        self._inputs = inputs
        self._kwargs = kwargs
        self._ordered = ordered
        self._returning = returning
        self._parent = parent
        self._call: MapCall | None = None
        self._ready: deque[T] = deque()
        self._early: dict[int, Any] = {}  # results that wait for earlier ones
        self._next = 0
        self._handed = 0  # given out since the last count
        self._error: BaseException | None = None  # to be raised after what is ready

    async def _more(self) -> list[T]:
        __tracebackhide__ = True
        if self._call is None:
            self._call = await self._start()
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

    async def _start(self) -> MapCall:
        __tracebackhide__ = True
        live = await self._begin()
        inputs, kwargs = self._inputs, self._kwargs
        call = MapCall(
            live, total=inputs.known(), fail_fast=not self._returning, parent=self._parent
        )
        call.begin(inputs, lambda args: live.pickle(args, kwargs), await callers_loop())
        return call

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
        if self._call is not None:
            self._call.abandon()

    def __repr__(self) -> str:
        return f"<results of Function.{self._way}, single use: iterate over them>"


async def each(results: MapResult[Any]) -> None:
    """Take all results, for what making them does."""
    __tracebackhide__ = True
    results._touched = True
    try:
        while True:
            await results._more()
    except StopAsyncIteration:
        return
    except BaseException:
        results.close()
        raise
