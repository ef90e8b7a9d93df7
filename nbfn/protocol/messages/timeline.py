"""Messages with which clients read the record of what workers did when. Times are seconds since 1970."""

from __future__ import annotations

from nbfn.protocol.messages.base import Data, Message, Payload
from nbfn.protocol.messages.fields import Count, Id, Seconds, Token


class LaneRow(Data):
    """One worker; a time that is not known is 0."""

    number: int
    worker: str
    host: str
    pid: int
    function: str  # its id
    name: str
    app: str
    asked: float  # when it was started
    connected: float
    bound: float  # when it began to load the Function
    loaded: float
    ended: float
    cold: bool  # inputs waited when it was bound
    lost: bool  # it did not end as it should
    how: str  # how it ended
    memory_peak: int  # in bytes; 0 if unknown


class CallLabelRow(Data):
    """The call that spans belong to."""

    number: int
    id: str
    function: str  # its id
    name: str
    app: str
    version: int
    kind: str


class SpanColumns(Data):
    """Attempts of inputs, as columns of the same length.

    ``inputs`` is over 1 for a row that stands for several quick inputs of which ``index`` is the first.
    ``lane`` and ``call`` are numbers of rows, ``outcome`` is that of an `InputStatus`.
    """

    queued: tuple[float, ...] = ()
    started: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    busy: tuple[float, ...] = ()  # seconds of the code itself
    index: tuple[int, ...] = ()
    inputs: tuple[int, ...] = ()
    lane: tuple[int, ...] = ()
    call: tuple[int, ...] = ()
    attempt: tuple[int, ...] = ()
    outcome: tuple[int, ...] = ()


class BinColumns(Data):
    """What a worker did in equal parts of the time from ``start`` on, as columns of the same length."""

    start: float
    seconds: float  # of one part
    lane: tuple[int, ...] = ()
    bin: tuple[int, ...] = ()  # the number of the part
    inputs: tuple[int, ...] = ()  # that started in it
    failed: tuple[int, ...] = ()  # attempts that ended in it and did not succeed
    busy: tuple[float, ...] = ()  # seconds
    call: tuple[int, ...] = ()  # which was busiest


class SlowInput(Data):
    """One of the inputs that took longest."""

    call: int
    index: int
    attempt: int
    lane: int
    started: float
    seconds: float
    outcome: int


class TimelineSummary(Data):
    """Where the time of the workers went, in seconds of all workers together.

    ``running`` are the selected inputs, ``other`` further inputs of the same workers. ``waiting`` is time in
    which a loaded worker ran nothing although an input waited; ``idle`` that in which none waited.
    """

    start: float
    end: float
    workers: int
    running: float
    other: float
    starting: float
    waiting: float
    idle: float
    inputs: int  # that have started
    failed: int  # attempts
    queued: int  # inputs that wait now
    duration_p50: float
    duration_p95: float
    wait_p50: float  # from queued to started
    wait_p95: float
    slowest: tuple[SlowInput, ...]
    critical_lane: int  # the worker that ended last, 0 for none
    tail: float  # seconds in which only that worker still ran


class GetTimeline(Message):
    """Request spans after number ``after`` that overlap the time from ``since`` to ``until``, oldest first.

    A filter that is empty or 0 matches every span. If ``columns`` is not 0 and there are more than ``most``
    spans, the answer has that many bins instead of spans.
    """

    request: Token
    call: Id = ""
    function: Id = ""
    worker: Id = ""
    since: Seconds = 0.0
    until: Seconds = 0.0
    after: Count = 0
    columns: Count = 0
    most: Count = 0  # the most spans of one answer; 0 for the hub's limit
    summary: bool = False


class Timeline(Message):
    """Answer to `GetTimeline`.

    ``epoch`` is the hub's: a new hub numbers its spans from 1 again.
    ``last`` is the span number to continue from, ``more`` means that further spans are available now.
    ``running`` are attempts that have not ended, with the seconds so far; they have no number.
    """

    request: int
    epoch: int
    now: float
    matched: int
    last: int
    more: bool
    dropped: int  # older spans that the hub no longer has
    lanes: tuple[LaneRow, ...]
    calls: tuple[CallLabelRow, ...]
    spans: SpanColumns
    running: SpanColumns
    bins: BinColumns | None = None
    summary: TimelineSummary | None = None


class GetFailure(Message):
    """Request the exception of an attempt that failed."""

    request: Token
    call: Id
    index: Count
    attempt: Count


class FailureTold(Message):
    """Answer to `GetFailure`. Of attempts whose exception is not kept, ``payload`` is None."""

    request: int
    payload: Payload | None
