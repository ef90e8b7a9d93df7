"""`MapResult`: the results of `map`, `starmap` and `for_each`, in bounded memory.

The consumer's thread unpickles results and puts them in order. Inputs that were sent and whose results are not consumed
never exceed the window that the hub grants, so an endless iterable is read only so far.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import weakref
from collections import deque
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, TypeVar

import msgspec

from nbfn import exception
from nbfn.client.calls import interrupt
from nbfn.client.calls.active_call import CallableFunction, guarded
from nbfn.client.calls.input_iterator import InputIterator
from nbfn.client.calls.map_call import MapCall
from nbfn.client.calls.map_retry import Rest, RetriedInputs, RetriedMap
from nbfn.client.calls.outcome import result_of, value_of
from nbfn.client.calls.result_collector import (
    CollectedResults,
    ResultReader,
    collect_results,
    mean_weight,
)
from nbfn.protocol import messages
from nbfn.protocol.call_states import InputCounts
from nbfn.protocol.messages import Output
from nbfn.runtime import traceback_filter
from nbfn.runtime.stream import Stream
from nbfn.runtime.sync import blocking, callers_loop, original, run
from nbfn.types import InputStatus

T = TypeVar("T")

#: Bytes of results after which no more are kept for `MapResult.finished`.
FINISHED_BYTES = 32 * 1024 * 1024
#: Results that the consumer gets at once.
HAND_OUT = 128

_SUCCESS = int(InputStatus.SUCCESS)


class MapResult(Stream[T]):
    """The result of `Function.map` and `Function.starmap`: begins the call when it is iterated.

    Args:
        way: map, starmap or for_each, for messages.
        begin: Returns the Function, registered or looked up.
        inputs: The argument tuples.
        kwargs: Keyword arguments of every input.
        ordered: Whether results come in the order of the inputs.
        returning: Whether an exception takes the place of its result.
        parent: The hub's name of the input whose code makes the call; empty outside a worker.
        again: The inputs of an ended map that this one runs again.
    """

    #: Whether results are unpickled; `for_each` needs only the failures.
    keep_values = True

    def __init__(
        self,
        way: str,
        begin: Callable[[], Coroutine[Any, Any, CallableFunction]],
        inputs: InputIterator,
        kwargs: Mapping[str, Any],
        *,
        ordered: bool,
        returning: bool,
        parent: str,
        again: RetriedMap | None = None,
    ) -> None:
        self._way = way
        self._made_by = f"Function.{way}"
        self._begin = begin
        self._inputs = inputs
        self._kwargs = kwargs
        self._ordered = ordered
        self._returning = returning
        self._parent = parent
        self._again = again
        self._call: MapCall | None = None
        self._gathered: CollectedResults[T] | None = None  # once it is collected in the background
        self._reader: ResultReader | None = None  # ... and read with ``next()``
        self._handed_out: list[T] = []  # the batch that the loop has now
        self._count = 0  # results that the loop has had
        self._ready: deque[T] = deque()
        self._out_of_order: dict[int, Any] = {}  # results that wait for earlier ones
        self._next = 0
        self._handed = 0  # of the last batch
        self._size = 0.0  # mean bytes of the latest results
        self._error: BaseException | None = None  # raised after the results before it
        #: Results by the index of their input, in case the map ends early; None after its whole end.
        self._finished: dict[int, T] | None = {}

    async def _more(self) -> list[T]:
        __tracebackhide__ = True
        try:
            self._handed_out = await self._next_batch()
        except exception.Detached:
            self._continue_in_background()
            raise
        except KeyboardInterrupt as error:
            await self._interrupted(error)
            self._note_end(error)
            raise
        except BaseException as error:
            self._note_end(error)
            raise
        return self._handed_out

    def _note_end(self, error: BaseException) -> None:
        """Let the handler of an error find what had finished: the attribute ``map_result``."""
        if isinstance(error, StopAsyncIteration):
            if self._call is not None and not self._call.stopped:
                self._finished = None  # the loop has had all results
            return
        with contextlib.suppress(AttributeError, TypeError):  # an exception with slots
            error.map_result = self  # type: ignore[attr-defined]

    async def _interrupted(self, by: KeyboardInterrupt) -> None:
        """Cancel the call; on a second interrupt detach it."""
        __tracebackhide__ = True
        call = self._call
        if call is None or self._gathered is not None:
            return
        try:
            await interrupt.interrupted(call, call.over, call.abandon)
        except exception.Detached:
            if not call.sink.detach():  # else the sink keeps the results
                self.detach()
            self._continue_in_background()
            raise
        by.add_note(f"cancelled: {call.function.name} ({call.id})")

    async def _next_batch(self) -> list[T]:
        """Return the next results."""
        __tracebackhide__ = True
        if self._call is None:
            self._call = await self._start()
        if self._handed:
            self._call.consumed(self._handed)
            self._handed = 0
        while not self._ready:
            if self._error is not None:
                error, self._error = self._error, None
                self._call.stop_failing()
                self._finish_with(self._call, self._call.take_arrived())
                raise error
            arrived = await self._call.take()
            if not arrived:
                self._ended = True
                raise StopAsyncIteration
            if self._gathered is not None:
                self._size = mean_weight(arrived)
            self._sort(self._call, arrived)
        batch = [self._ready.popleft() for _ in range(min(HAND_OUT, len(self._ready)))]
        self._handed = len(batch)
        self._count += len(batch)
        return batch

    async def _start(self) -> MapCall:
        __tracebackhide__ = True
        hydrated = await self._begin()
        inputs, kwargs = self._inputs, self._kwargs
        call = MapCall(
            hydrated,
            total=inputs.known(),
            fail_fast=not self._returning,
            parent=self._parent,
            again=self._again,
            rest=self._rest(hydrated) if self._again is None and inputs.repeatable else None,
            results=weakref.ref(self),
        )
        call.unattended = self._way == "for_each" and self._returning
        call.begin(inputs, lambda args: hydrated.pickle(args, kwargs), await callers_loop())
        return call

    def _rest(self, hydrated: CallableFunction) -> Rest:
        """Return a function that makes the payloads of inputs again, from an index on."""
        inputs, kwargs = self._inputs, self._kwargs
        return lambda first: (hydrated.pickle(args, kwargs) for args in inputs.repeated(first))

    def _sort(self, call: MapCall, arrived: list[Output], *, report: bool = True) -> None:
        """Unpickle outcomes and put them in order; report errors to the sink."""
        __tracebackhide__ = True
        ready, early = self._ready, self._out_of_order
        places = call.places
        keeps = self._finished if call.received < FINISHED_BYTES else None
        for place, output in enumerate(arrived):
            index = output.index if places is None else places[output.index]
            try:
                value = self._unpack(call, output)
            except Exception as error:  # noqa: BLE001 - the user's own; it is returned or raised
                if report:
                    guarded(call.sink.failed, output.index, original(error))
                if not self._returning:
                    self._error = error
                    self._finish_with(call, arrived[place + 1 :])
                    return
                value = original(error)
            else:
                if keeps is not None:
                    keeps[output.index] = value
            if not self._ordered:
                ready.append(value)
            elif index != self._next:
                early[index] = value
            else:
                ready.append(value)
                self._next += 1
                while self._next in early:
                    ready.append(early.pop(self._next))
                    self._next += 1

    def _finish_with(self, call: MapCall, outputs: Iterable[Output]) -> None:
        """Unpickle outcomes that no loop gets, because the map has failed; keep those that are results."""
        for output in outputs:
            if output.status != _SUCCESS or self._finished is None:
                call.discard((output,))
                continue
            with contextlib.suppress(Exception):
                self._finished[output.index] = self._unpack(call, output)

    def _unpack(self, call: MapCall, output: Output) -> Any:
        __tracebackhide__ = True
        payload = output.payload
        if output.status != _SUCCESS or payload is None or payload.segments:
            return result_of(call.client.serializer, output, call.function.name, call.id)
        if not self.keep_values:
            return None
        return value_of(call.client.serializer, payload, call.function.name)

    def _stop(self) -> None:
        # Leaving a loop over results that are collected in the background cancels nothing.
        if self._call is not None and self._gathered is None:
            self._call.abandon()

    # --- in the background -----------------------------------------------------------------------

    @property
    def call_id(self) -> str:
        """The call's id; empty before the call has begun."""
        return self._call.id if self._call is not None else ""

    @property
    def sink(self) -> Any:
        """The sink of the call; None before the call has begun."""
        return self._call.sink if self._call is not None else None

    @property
    def version(self) -> int:
        """The version of the Function; 0 before the call has begun."""
        return self._call.function.version if self._call is not None else 0

    @property
    def untouched(self) -> bool:
        """Whether it was never iterated."""
        return not self._touched

    @property
    def collected(self) -> bool:
        """Whether its results are collected in the background, so that they can be read any number of times."""
        return self._gathered is not None

    def collect(self) -> None:
        """Begin the call, if it has not begun, and collect the results in the background.

        They are kept as long as this object, on disk when they are too large for memory, and can be iterated any
        number of times. `cancel` ends the call early. Does nothing when called again.
        """
        __tracebackhide__ = True
        if self._gathered is None:
            self._touched = True
            if self._call is None:
                self._call = run(self._start())
                self._call.resume()  # no loop can be detached, so no history is kept
            self._collect(0)

    def _collect(self, first: int) -> None:
        call = self._call
        assert call is not None
        self._gathered = CollectedResults(first, call.client.places.home)
        around = contextvars.copy_context()  # so that output appears in the caller's cell
        threading.Thread(
            target=around.run,
            args=(collect_results, self._gathered, self._next_weighed, call),
            name="nbfn-map-results",
            daemon=True,
        ).start()

    async def _next_weighed(self) -> tuple[list[T], int]:
        __tracebackhide__ = True
        try:
            batch = await self._next_batch()
        except BaseException as error:
            self._note_end(error)
            raise
        return batch, int(len(batch) * self._size)

    def detach(self) -> None:
        """End the loop over this with `Detached`; the call continues and its results are collected (see `collect`).

        The results that the loop has had are among them, unless they were too large to be kept. May be called on any
        thread; does not block.
        """
        if self._call is not None and self._gathered is None:
            self._call.detach()
            if self._call.keeps_history:
                self._handed_out.clear()  # the rest of the batch is collected with the others

    def _continue_in_background(self) -> None:
        """Collect the results in the background from now on."""
        call = self._call
        assert call is not None
        history = call.resume()
        if history is None:
            self._collect(self._count)
            return
        self._ready.clear()
        self._out_of_order.clear()
        self._next = self._count = self._handed = 0
        self._size = mean_weight(history)
        self._sort(call, history, report=False)
        self._collect(0)

    def cancel(self) -> None:
        """Cancel inputs that have not run, and interrupt those that run. Any thread; does not block."""
        if self._call is not None:
            self._call.cancel()

    def __iter__(self) -> Iterator[T]:
        return (
            iter(ResultReader(self._gathered)) if self._gathered is not None else super().__iter__()
        )

    def __aiter__(self) -> AsyncIterator[T]:
        return (
            aiter(ResultReader(self._gathered))
            if self._gathered is not None
            else super().__aiter__()
        )

    def __next__(self) -> T:
        __tracebackhide__ = True
        try:
            return super().__next__() if self._gathered is None else next(self._read())
        except BaseException as error:
            traceback_filter.hide(error)
            raise

    async def __anext__(self) -> T:
        __tracebackhide__ = True
        try:
            return await (super().__anext__() if self._gathered is None else anext(self._read()))
        except BaseException as error:
            traceback_filter.hide(error)
            raise

    def _read(self) -> ResultReader:
        assert self._gathered is not None
        self._reader = self._reader or ResultReader(self._gathered)
        return self._reader

    # --- failed inputs -----------------------------------------------------------------------------

    @property
    def finished(self) -> dict[int, T]:
        """The results of a map that ended early, by the index of their input.

        Of a map with many results, about the first 32 MiB are kept. Empty if the loop over the results came to its
        end: it has had all of them. The exception that ended the map has this object as its attribute ``map_result``.
        """
        call, found = self._call, dict(self._finished or {})
        if call is None:
            return found
        for output in call.late.outputs:
            with contextlib.suppress(Exception):
                found[output.index] = self._unpack(call, output)
        return dict(sorted(found.items()))

    @property
    def counts(self) -> InputCounts:
        """How many inputs succeeded, failed, were cancelled, or have not run; until the end the others wait."""
        return self._call.latest.counts_now if self._call is not None else InputCounts()

    @property
    def own_counts(self) -> InputCounts:
        """The inputs that have ended; of a retry, only those that it ran."""
        call = self._call
        return call.counts - call.settled_before if call is not None else InputCounts()

    @property
    def failures(self) -> list[int]:
        """The indices of inputs that have no result and are kept to run again."""
        return self._call.failures.indices if self._call is not None else []

    @blocking
    async def retry(self) -> dict[int, Any]:
        """Run the inputs without a result again, with the newest version of the Function, and wait for them.

        These failed, were cancelled or did not run. They keep their indices, and the call its id.

        If the results are collected (see `collect`), the new ones replace the old.

        Returns:
            The new results by the index of their inputs: values, and exceptions of inputs that failed again.
        """
        __tracebackhide__ = True
        if self._call is None:
            return {}
        indices, results = retry_failed(self._call)
        if not indices:
            return {}
        found = dict(zip(indices, await all_results(results), strict=True))
        self.replace(found)
        return found

    def replace(self, found: Mapping[int, Any]) -> None:
        """Replace results, by the index of their inputs, if they are collected in order."""
        if self._finished is not None:
            good = {n: value for n, value in found.items() if not isinstance(value, BaseException)}
            self._finished.update(good)
        gathered = self._gathered
        if gathered is not None and self._ordered:
            for index, value in found.items():
                if gathered.first <= index < gathered.first + len(gathered):
                    gathered.put(index, value)

    def __repr__(self) -> str:
        if self._gathered is not None:
            state = "all there" if self._gathered.ended else "on their way"
            return f"<results of Function.{self._way}, {len(self._gathered):,} of them, {state}>"
        return f"<results of Function.{self._way}, single use: iterate over them>"


async def each(results: MapResult[Any]) -> None:
    """Consume all results and drop them."""
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


async def all_results(results: MapResult[T]) -> list[T]:
    """Consume all results and return them."""
    __tracebackhide__ = True
    results._touched = True
    found: list[T] = []
    try:
        while True:
            found += await results._more()
    except StopAsyncIteration:
        return found
    except BaseException:
        results.close()
        raise


def retry_failed(
    call: MapCall, indices: Sequence[int] | None = None
) -> tuple[list[int], MapResult[Any]]:
    """Run the inputs of a map that have no result again, as the same call, with the newest version of its Function.

    Args:
        call: The map, which has ended.
        indices: Which ones; all when not given.

    Returns:
        The indices of the inputs in the map, and the results in the same order.
    """
    client, before = call.client, call.function
    again = call.latest.retried(indices)

    async def begin() -> CallableFunction:
        __tracebackhide__ = True
        try:
            answer: messages.Registered = await client.request(
                lambda number: messages.LookupId(number, before.id)
            )
        except BaseException:
            again.keep_again()
            raise
        info = msgspec.structs.replace(answer.info, name=before.name, method=before.method)
        return RetriedInputs(client, info)

    results: MapResult[Any] = MapResult(
        "retry",
        begin,
        InputIterator((again,)),
        {},
        ordered=True,
        returning=True,
        parent="",
        again=again,
    )
    return again.indices, results
