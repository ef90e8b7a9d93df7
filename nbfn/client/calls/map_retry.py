"""`RetriedMap`: the inputs of a map that run again, and the Function that runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from msgspec.structs import replace

from nbfn.client.call_observer import CallSink
from nbfn.client.calls.active_call import Connection
from nbfn.client.calls.failed_inputs import FailedInputs, KeptInput
from nbfn.protocol.call_states import InputCounts, InputState
from nbfn.protocol.messages import FunctionInfo, Payload

#: Returns the payloads of the inputs from an index on, which a map has not read from its iterables.
Rest = Callable[[int], Iterator[Payload]]


class EndedMap(Protocol):
    """What is needed here of a map; `nbfn.client.calls.map_call.MapCall`."""

    id: str
    sink: CallSink
    failures: FailedInputs
    counts: InputCounts
    _successor: Any


class RetriedMap:
    """The inputs of a map that run again: those that were kept, then those that it had not read.

    Args:
        origin: The map, which has ended.
        indices: Which of the kept inputs run again; all of them, and those that were not read, when not given.
        unread: The index of the first input that was not read from the iterables.
        rest: Makes the inputs from there on; None if that is not possible.
    """

    def __init__(
        self, origin: EndedMap, indices: Sequence[int] | None, unread: int, rest: Rest | None
    ) -> None:
        self.origin = origin
        self.call_id, self.sink, self.failures = origin.id, origin.sink, origin.failures
        self.unread = unread
        self.rest = rest
        counts = origin.counts
        self._kept: dict[int, KeptInput] = self.failures.take(indices)
        reads_rest = indices is None and rest is not None
        self._unread = range(unread, counts.total) if reads_rest else range(0)
        self.indices = [*self._kept, *self._unread]
        self.places = {index: place for place, index in enumerate(self.indices)}
        self.counts = self._others(counts)

    def _others(self, counts: InputCounts) -> InputCounts:
        """Return the counts of the inputs that do not run again."""
        states = [kept.state for kept in self._kept.values()]
        return replace(
            counts,
            total=counts.total - len(self.indices),
            failed=counts.failed - states.count(InputState.FAILED),
            cancelled=counts.cancelled - states.count(InputState.CANCELLED),
            not_run=counts.not_run - states.count(InputState.NOT_RUN) - len(self._unread),
        )

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Payload]:
        for index in list(self._kept):
            yield self._kept.pop(index).payload
        if self._unread:
            assert self.rest is not None
            yield from self.rest(self.unread)

    def keep_again(self) -> None:
        """Keep the inputs that were not read from this, for another retry."""
        for index, kept in self._kept.items():
            self.failures.keep(index, *kept)
        self._kept.clear()


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
