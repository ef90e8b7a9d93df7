"""Answers queries about the timeline, on a thread: selects spans, bins and lanes."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from nbfn.hub import timeline_summary
from nbfn.hub.scheduler import spans
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.timeline import ROW, CallLabel, Lane, Snapshot, Span
from nbfn.protocol import messages as m
from nbfn.types import InputStatus

#: The most spans of one answer, and the most bins of a lane.
MOST_SPANS, MOST_COLUMNS = 20_000, 2_000

_SUCCESS = int(InputStatus.SUCCESS)


@dataclass(frozen=True, slots=True)
class Present:
    """What is going on at the time of a query: inputs that run, and per call since when and how many wait."""

    epoch: int
    wall: float
    running: Sequence[tuple[Span, CallLabel]]
    waiting: Sequence[tuple[float, int, CallLabel]]


class Selection:
    """The conditions of a query."""

    def __init__(self, query: m.GetTimeline, found: Snapshot) -> None:
        self._query = query
        self._lane = next((n for n, one in found.lanes.items() if one.worker == query.worker), -1)
        self._found = found
        self._known: dict[int, bool] = {}

    def has_call(self, label: CallLabel) -> bool:
        """Whether spans of a call are selected."""
        query = self._query
        return query.call in ("", label.id) and query.function in ("", label.function)

    def has_lane(self, number: int) -> bool:
        """Whether spans of a lane are selected."""
        return number in self._found.lanes and (not self._query.worker or number == self._lane)

    def overlaps(self, start: float, end: float) -> bool:
        """Whether a time overlaps that of the query."""
        until = self._query.until
        return end >= self._query.since and (not until or start <= until)

    def has(self, span: Span) -> bool:
        """Whether a span of the record is selected."""
        known = self._known.get(span.call)
        if known is None:
            label = self._found.calls.get(span.call)  # None: dropped since
            known = self._known[span.call] = label is not None and self.has_call(label)
        return (
            known
            and self.has_lane(span.lane)
            and self.overlaps(span.started, span.started + span.seconds)
        )


#: Spans with their numbers.
Numbered = list[tuple[int, Span]]


def spans_of(found: Snapshot) -> Iterator[tuple[int, Span]]:
    """Yield the spans of a snapshot with their numbers."""
    number = found.first
    for part in found.parts:
        for fields in ROW.iter_unpack(part):
            yield number, Span._make(fields)
            number += 1


def answer(query: m.GetTimeline, found: Snapshot, present: Present) -> m.Timeline:
    """Return the answer to a query.

    Args:
        query: The query.
        found: The record.
        present: What is going on now.
    """
    selection = Selection(query, found)
    labels = _Labels(found)
    numbered = list(spans_of(found))
    selected = [(number, span) for number, span in numbered if selection.has(span)]
    matched = [(number, span) for number, span in selected if number > query.after]
    running = _running(selection, labels, present)
    shown, found_bins = _shown(query, matched, present.wall)
    more = found_bins is None and len(matched) > len(shown)
    lanes = _lanes(query, found, [*_spans(selected), *running])
    total = _summary(query, selection, lanes, numbered, running, present)
    calls = {span.call for span in (*running, *_spans(shown))}
    calls.update(found_bins.call if found_bins else (), (slow.call for slow in _slow(total)))
    return m.Timeline(
        *(query.request, present.epoch, present.wall, len(matched)),
        shown[-1][0] if more else max(found.first - 1 + len(numbered), query.after),
        more,
        found.dropped,
        tuple(map(_lane_row, lanes)),
        labels.rows(calls),
        columns(_spans(shown)),
        columns(running),
        found_bins,
        total,
    )


def _spans(numbered: Numbered) -> list[Span]:
    return [span for _, span in numbered]


def _shown(
    query: m.GetTimeline, matched: Numbered, wall: float
) -> tuple[Numbered, m.BinColumns | None]:
    """Return the spans to show one by one, or bins if there are too many and the query asks for these."""
    most = min(query.most or MOST_SPANS, MOST_SPANS)
    if query.columns and len(matched) > most:
        return [], bins(query, _spans(matched), wall)
    return matched[:most], None


def _summary(
    query: m.GetTimeline,
    selection: Selection,
    lanes: Sequence[Lane],
    numbered: Numbered,
    running: list[Span],
    present: Present,
) -> m.TimelineSummary | None:
    """Return what the selected spans add up to, if the query asks for it."""
    if not query.summary:
        return None
    every: list[Span] = []
    others: list[Span] = []
    for _, span in numbered:
        (every if selection.has(span) else others).append(span)
    waiting = [part[:2] for part in present.waiting if selection.has_call(part[2])]
    return timeline_summary.summary(
        timeline_summary.Selected(
            *(lanes, every, running, others, waiting),
            *(query.since, query.until, present.wall),
        )
    )


def _slow(total: m.TimelineSummary | None) -> tuple[m.SlowInput, ...]:
    return total.slowest if total is not None else ()


def _running(selection: Selection, labels: _Labels, present: Present) -> list[Span]:
    return [
        span._replace(call=labels.number(label))
        for span, label in present.running
        if selection.has_call(label)
        and selection.has_lane(span.lane)
        and selection.overlaps(span.started, present.wall)
    ]


class _Labels:
    """Numbers the calls of running inputs, of which some are not in the record yet."""

    def __init__(self, found: Snapshot) -> None:
        self._found = found
        self._new: dict[str, int] = {}
        self._labels: dict[int, CallLabel] = {}

    def number(self, label: CallLabel) -> int:
        """Return the number of a call; negative if the record has none."""
        number = self._found.numbers.get(label.id, 0)
        if not number:
            number = self._new.setdefault(label.id, -1 - len(self._new))
        self._labels[number] = label
        return number

    def rows(self, numbers: Iterable[int]) -> tuple[m.CallLabelRow, ...]:
        """Return the rows of calls."""
        rows = []
        for number in sorted(numbers):
            label = self._labels.get(number) or self._found.calls.get(number)
            if label is not None:
                rows.append(m.CallLabelRow(number, *label))
        return tuple(rows)


def columns(spans: Sequence[Span]) -> m.SpanColumns:
    """Return spans as columns."""
    if not spans:
        return m.SpanColumns()
    return m.SpanColumns(*zip(*spans, strict=True))


def _lanes(query: m.GetTimeline, found: Snapshot, spans: Sequence[Span]) -> list[Lane]:
    """Return the lanes of spans, and others of the same Functions, or of all, that existed at that time."""
    used = {span.lane for span in spans}
    functions = {found.lanes[number].function for number in used} | {query.function}
    start = query.since or min((span.queued for span in spans), default=0.0)
    every = not (query.call or query.function)
    lanes = []
    for number, lane in found.lanes.items():
        wanted = query.worker == lane.worker or (
            not query.worker and (every or lane.function in functions)
        )
        if number in used or (wanted and _existed(lane, start, query.until)):
            lanes.append(lane)
    return lanes


def _existed(lane: Lane, start: float, until: float) -> bool:
    return (
        bool(lane.bound)
        and (not lane.ended or lane.ended >= start)
        and (not until or lane.bound <= until)
    )


def _lane_row(lane: Lane) -> m.LaneRow:
    return m.LaneRow(
        *(lane.number, lane.worker, lane.host, lane.pid, lane.function, lane.name, lane.app),
        *(lane.asked, lane.connected, lane.bound, lane.loaded, lane.ended),
        *(lane.cold, lane.lost, lane.how, lane.memory_peak),
    )


def bins(query: m.GetTimeline, spans: Sequence[Span], wall: float) -> m.BinColumns:
    """Return what each lane did in equal parts of the query's time.

    Args:
        query: Its ``columns`` is the number of parts.
        spans: The spans; there is at least one.
        wall: The time of the query.
    """
    start = query.since or min(span.started for span in spans)
    until = query.until or wall
    count = min(max(query.columns, 1), MOST_COLUMNS)
    size = max(until - start, 1e-6) / count
    cells: dict[tuple[int, int], _Bin] = {}
    for span in spans:
        first = int((span.started - start) / size)
        last = int((span.started + span.seconds - start) / size)
        for number in range(max(first, 0), min(last, count - 1) + 1):
            cell = cells.get((span.lane, number))
            if cell is None:
                cell = cells[span.lane, number] = _Bin()
            cell.add(span, start + number * size, size, first=number == first, last=number == last)
    found = [(*key, *cell.values()) for key, cell in sorted(cells.items())]
    return m.BinColumns(start, size, *zip(*found, strict=True))


class _Bin:
    __slots__ = ("busy", "by_call", "failed", "inputs")

    def __init__(self) -> None:
        self.inputs = self.failed = 0
        self.busy = 0.0
        self.by_call: dict[int, float] = {}

    def add(self, span: Span, start: float, size: float, *, first: bool, last: bool) -> None:
        end = min(span.started + span.seconds, start + size)
        inside = max(end - max(span.started, start), 0.0)
        busy = inside * span.busy / span.seconds if span.seconds else 0.0
        self.busy += busy
        self.by_call[span.call] = self.by_call.get(span.call, 0.0) + busy
        self.inputs += span.inputs if first else 0
        self.failed += last and span.outcome != _SUCCESS

    def values(self) -> tuple[int, int, float, int]:
        return (
            self.inputs,
            self.failed,
            round(self.busy, 6),
            max(self.by_call, key=lambda number: self.by_call[number]),
        )


# --- the hub's side ------------------------------------------------------------------------------

_log = logging.getLogger("nbfn.hub")


class TimelineQueries:
    """The queries.

    Args:
        hub_state: The state of the state machine; it is only read.
        epoch: The hub's epoch.
        now: The hub's clock.
        wake: Called when `finished` has answers.
    """

    def __init__(
        self,
        hub_state: HubState,
        epoch: int,
        now: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self._hub_state = hub_state
        self._epoch = epoch
        self._now = now
        self._wake = wake
        self._finished: queue.SimpleQueue[tuple[str, m.Message]] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(1, "nbfn-timeline")

    def ask(self, client: str, message: m.GetTimeline) -> None:
        """Begin to answer a query; the answer shows the record as it is now."""
        t = self._hub_state
        t.now, t.wall = self._now(), time.time()
        present = Present(self._epoch, t.wall, spans.running_now(t), spans.waiting_now(t))
        found = t.timeline.snapshot(0 if message.summary else message.after)
        self._threads.submit(self._answer, client, message, found, present)

    def finished(self) -> list[tuple[str, m.Message]]:
        """Return (client, answer) for each query that is finished."""
        ready = []
        while not self._finished.empty():
            ready.append(self._finished.get_nowait())
        return ready

    def _answer(
        self, client: str, message: m.GetTimeline, found: Snapshot, present: Present
    ) -> None:
        try:
            reply: m.Message = answer(message, found, present)
        except Exception:  # noqa: BLE001 - logged
            _log.exception("the timeline cannot be read")
            text = "The timeline cannot be read (see logs/hub.log in NBFN_HOME)."
            reply = m.Failed(message.request, "internal_failure", text)
        self._finished.put((client, reply))
        self._wake()
