"""The record of what workers did when: a span for each attempt of an input, and a lane for each worker.

`spans` and the modules that change workers fill it. It is in memory only, and limited: the oldest spans are
dropped first. A span is one packed row, without a Python object, so that 200,000 of them need 10 MB.
All times are seconds since 1970; 0 where a time is not known.
"""

from __future__ import annotations

import math
import struct
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

#: The most spans, the most bytes of spans and of the calls that they belong to, and the most lanes.
MAX_SPANS, MAX_BYTES, MAX_LANES = 200_000, 16 * 2**20, 2_000
#: Spans that are dropped together.
CHUNK = 4096
#: The most exceptions that are kept, the most bytes of all of them, and of one.
MAX_FAILURES, MAX_FAILURE_BYTES, MAX_ONE_FAILURE = 2_000, 8 * 2**20, 256 * 2**10
#: Bytes that one call counts for.
CALL_BYTES = 500
#: Seconds for which the smallest difference between two clocks is valid.
CLOCK_PERIOD = 10.0

#: queued, started, seconds, seconds of the code itself, index, inputs, lane, call, attempt, outcome.
ROW = struct.Struct("<ddffqIIIHB")

_MOST_ATTEMPTS = 2**16 - 1


class Span(NamedTuple):
    """One attempt of the input with index ``first``, or several quick inputs from that one on (see `spans`).

    ``lane`` and ``call`` are numbers of this record; ``outcome`` is the number of an `InputStatus`.
    """

    queued: float
    started: float
    seconds: float
    busy: float
    first: int
    inputs: int
    lane: int
    call: int
    attempt: int
    outcome: int


class CallLabel(NamedTuple):
    """What is shown of a call."""

    id: str
    function: str
    name: str
    app: str
    version: int
    kind: str


@dataclass(slots=True)
class Lane:
    """One worker: when it was started, connected, bound to a Function and loaded, and how it ended."""

    number: int
    worker: str
    asked: float
    host: str = ""
    pid: int = 0
    connected: float = 0.0
    bound: float = 0.0
    loaded: float = 0.0
    ended: float = 0.0
    function: str = ""
    name: str = ""
    app: str = ""
    cold: bool = False  # inputs waited when it was bound
    lost: bool = False  # it did not end as it should
    how: str = ""  # how it ended
    memory_peak: int = 0  # in bytes; 0 if unknown
    clock: Clock = field(default_factory=lambda: Clock())


class Clock:
    """Converts times of a worker's monotonic clock to seconds since 1970.

    The difference is the smallest one seen between the time at which a message was sent and that at which it
    arrived, so a message that was late does not move anything.
    """

    __slots__ = ("_before", "_least", "_since")

    def __init__(self) -> None:
        self._before = self._least = math.inf
        self._since = -math.inf

    def difference(self, sent: float, wall: float, now: float) -> float:
        """Return what to add to a time of the worker.

        Args:
            sent: When the worker sent the message, on its clock.
            wall: When the message arrived.
            now: That time on the hub's clock.
        """
        if now - self._since >= CLOCK_PERIOD:
            self._since = now
            self._before, self._least = self._least, math.inf
        self._least = min(self._least, wall - sent)
        return min(self._least, self._before)


@dataclass(slots=True)
class _Chunk:
    """A part of the record; ``rows`` is a `bytearray` only while spans are added."""

    first: int
    rows: bytearray | bytes
    calls: set[int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The record at one time; another thread may read it."""

    first: int  # the number of the first span
    parts: tuple[bytes, ...]
    lanes: dict[int, Lane]
    calls: dict[int, CallLabel]  # these two change meanwhile; to look up only
    numbers: dict[str, int]
    dropped: int


class Timeline:
    """The record.

    Args:
        max_spans: The most spans, about.
        max_bytes: The most bytes of spans and calls, about.
        max_lanes: The most lanes of workers that have ended.
    """

    def __init__(
        self,
        max_spans: int = MAX_SPANS,
        max_bytes: int = MAX_BYTES,
        max_lanes: int = MAX_LANES,
    ) -> None:
        self.lanes: dict[str, Lane] = {}
        self.dropped = 0  # spans that are no longer kept
        self._max_spans, self._max_bytes, self._max_lanes = max_spans, max_bytes, max_lanes
        self._chunk = max(1, min(CHUNK, max_spans // 8))
        self._open = _Chunk(1, bytearray(), set())
        self._chunks: deque[_Chunk] = deque([self._open])
        self._count = 0
        self._calls: dict[int, CallLabel] = {}
        self._numbers: dict[str, int] = {}
        self._uses: Counter[int] = Counter()  # chunks that have spans of a call
        self._last_call = self._last_lane = 0
        self._ended: deque[str] = deque()
        #: (call, index, attempt) -> the pickled exception
        self._failures: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._failure_bytes = 0

    # --- workers ---

    def open_lane(self, worker: str, asked: float) -> Lane:
        """Add a worker that is started now."""
        self._last_lane += 1
        lane = self.lanes[worker] = Lane(self._last_lane, worker, asked)
        return lane

    def close_lane(self, worker: str, wall: float) -> None:
        """Note that a worker is gone."""
        lane = self.lanes.get(worker)
        if lane is None or lane.ended:
            return
        lane.ended = wall
        if not lane.bound:
            del self.lanes[worker]  # it never had a Function
            return
        self._ended.append(worker)
        while len(self._ended) > self._max_lanes:
            self.lanes.pop(self._ended.popleft(), None)

    # --- spans ---

    @property
    def last(self) -> int:
        """The number of the newest span; spans are numbered from 1."""
        return self._open.first + len(self._open.rows) // ROW.size - 1

    @property
    def size(self) -> int:
        """The bytes that spans and calls count for."""
        return self._count * ROW.size + len(self._calls) * CALL_BYTES

    def number_of(self, call: str) -> int:
        """Return the number of a call; 0 for one that `name_call` must add first."""
        number = self._numbers.get(call, 0)
        if number and number not in self._open.calls:
            self._use(number)
        return number

    def name_call(self, label: CallLabel) -> int:
        """Add a call and return its number."""
        self._last_call += 1
        number = self._numbers[label.id] = self._last_call
        self._calls[number] = label
        self._use(number)
        return number

    def _use(self, number: int) -> None:
        self._open.calls.add(number)
        self._uses[number] += 1

    def add(
        self,
        queued: float,
        started: float,
        seconds: float,
        busy: float,
        index: int,
        inputs: int,
        lane: int,
        call: int,
        attempt: int,
        outcome: int,
    ) -> None:
        """Add a span; the parameters are the fields of `Span`."""
        self._open.rows += ROW.pack(
            queued,
            started,
            seconds,
            busy,
            index,
            inputs,
            lane,
            call,
            min(attempt, _MOST_ATTEMPTS),
            outcome,
        )
        self._count += 1
        if len(self._open.rows) >= self._chunk * ROW.size:
            self._begin_chunk()

    def keep_failure(self, call: str, index: int, attempt: int, exception: bytes) -> None:
        """Keep the pickled exception of an attempt; the oldest ones are dropped."""
        key = (call, index, attempt)
        if len(exception) > MAX_ONE_FAILURE or key in self._failures:
            return
        self._failures[key] = exception
        self._failure_bytes += len(exception)
        while len(self._failures) > MAX_FAILURES or self._failure_bytes > MAX_FAILURE_BYTES:
            _, dropped = self._failures.popitem(last=False)
            self._failure_bytes -= len(dropped)

    def failure(self, call: str, index: int, attempt: int) -> bytes | None:
        """Return the pickled exception of an attempt, if it is kept."""
        return self._failures.get((call, index, attempt))

    def failures(self, call: str) -> Iterator[tuple[int, tuple[int, bytes]]]:
        """Yield the index, and the attempt with its pickled exception, of the kept failures of a call."""
        for (name, index, attempt), exception in self._failures.items():
            if name == call:
                yield index, (attempt, exception)

    def _begin_chunk(self) -> None:
        first = self.last + 1
        self._open.rows = bytes(self._open.rows)
        self._open = _Chunk(first, bytearray(), set())
        self._chunks.append(self._open)
        while len(self._chunks) > 2 and (
            self._count > self._max_spans or self.size > self._max_bytes
        ):
            self._drop(self._chunks.popleft())

    def _drop(self, chunk: _Chunk) -> None:
        spans = len(chunk.rows) // ROW.size
        self._count -= spans
        self.dropped += spans
        for number in chunk.calls:
            self._uses[number] -= 1
            if not self._uses[number]:
                del self._uses[number]
                del self._numbers[self._calls.pop(number).id]

    def snapshot(self, after: int = 0) -> Snapshot:
        """Return the spans after a number, with all lanes."""
        chunks = [chunk for chunk in self._chunks if chunk.first + self._chunk > after]
        return Snapshot(
            chunks[0].first if chunks else self._open.first,
            tuple(bytes(chunk.rows) for chunk in chunks),
            {lane.number: lane for lane in self.lanes.values()},
            self._calls,
            self._numbers,
            self.dropped,
        )
