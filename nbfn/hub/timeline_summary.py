"""Sums up where the time of workers went: running, starting, waiting although inputs waited, and idle."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nbfn.hub.scheduler.timeline import Lane, Span
from nbfn.protocol import messages as m
from nbfn.types import InputStatus

#: The most inputs in the list of the slowest ones.
MOST_SLOW = 10

_FINE = frozenset({int(InputStatus.SUCCESS), int(InputStatus.RUNNING)})

Interval = tuple[float, float]


class Selected(NamedTuple):
    """What a summary is about."""

    lanes: Sequence[Lane]
    spans: Sequence[Span]  # that are selected
    running: Sequence[Span]  # the same, of inputs that run now
    others: Sequence[Span]  # further spans of any lane
    waiting: Sequence[tuple[float, int]]  # per call: since when inputs wait now, and how many
    start: float  # of the time of the query, 0 if it has none
    end: float
    wall: float  # the time of the query


class _Shares:
    """Seconds of all workers together."""

    def __init__(self) -> None:
        self.running = self.other = self.starting = self.waiting = self.idle = 0.0

    def add(
        self,
        life: Interval,
        starting: list[Interval],
        mine: list[Interval],
        every: list[Interval],
        waited: list[Interval],
    ) -> None:
        """Add a lane: its life, and parts of it as merged intervals."""
        used = merged([*starting, *every])
        gaps = complement(life, used)
        running, starts = total(mine), total(starting)
        waiting = total(common(gaps, waited))
        self.running += running
        self.starting += starts
        self.other += max(total(used) - running - starts, 0.0)
        self.waiting += waiting
        self.idle += max(total(gaps) - waiting, 0.0)


def summary(what: Selected) -> m.TimelineSummary:
    """Return the summary."""
    every = [*what.spans, *what.running]
    start = what.start or min(
        [span.queued for span in every] + [since for since, _ in what.waiting], default=what.wall
    )
    going = bool(what.running or what.waiting)
    last = max((_end(span) for span in every), default=what.wall)
    end = what.end or (what.wall if going else last)
    waited = [(span.queued, span.started) for span in every]
    waited += [(since, what.wall) for since, _ in what.waiting]
    shares = _shares(what, (start, end), merged(clipped(waited, (start, end))))
    durations = percentiles([(span.busy / span.inputs, span.inputs) for span in what.spans])
    waits = percentiles([(span.started - span.queued, span.inputs) for span in what.spans])
    critical, tail = critical_lane(every)
    return m.TimelineSummary(
        *(start, end, len(what.lanes)),
        *(shares.running, shares.other, shares.starting, shares.waiting, shares.idle),
        sum(span.inputs for span in every if span.attempt == 1),
        sum(span.outcome not in _FINE for span in what.spans),
        sum(count for _, count in what.waiting),
        *durations,
        *waits,
        slowest(every),
        critical,
        tail,
    )


def _end(span: Span) -> float:
    return span.started + span.seconds


def _shares(what: Selected, window: Interval, waited: list[Interval]) -> _Shares:
    mine, others = _by_lane([*what.spans, *what.running]), _by_lane(what.others)
    shares = _Shares()
    for lane in what.lanes:
        begun = lane.asked if lane.cold else lane.bound  # if inputs waited for it
        life = (max(begun, window[0]), min(lane.ended or window[1], window[1]))
        if life[1] <= life[0]:
            continue
        starting = merged(clipped([(begun, lane.loaded or lane.ended or window[1])], life))
        own = merged(clipped(mine[lane.number], life))
        every = merged([*own, *clipped(others[lane.number], life)])
        shares.add(life, starting, own, every, waited)
    return shares


def _by_lane(spans: Iterable[Span]) -> defaultdict[int, list[Interval]]:
    found: defaultdict[int, list[Interval]] = defaultdict(list)
    for span in spans:
        found[span.lane].append((span.started, _end(span)))
    return found


def slowest(spans: Iterable[Span]) -> tuple[m.SlowInput, ...]:
    """Return the attempts that took longest."""
    found = heapq.nlargest(MOST_SLOW, spans, key=lambda span: span.busy / span.inputs)
    return tuple(
        m.SlowInput(
            *(span.call, span.first, span.attempt, span.lane),
            *(span.started, span.busy / span.inputs, span.outcome),
        )
        for span in found
    )


def critical_lane(spans: Iterable[Span]) -> tuple[int, float]:
    """Return the lane that ended last, 0 for none, and the seconds in which no other one ran."""
    ends: dict[int, float] = {}
    for span in spans:
        ends[span.lane] = max(ends.get(span.lane, 0.0), _end(span))
    if not ends:
        return 0, 0.0
    order = sorted(ends, key=lambda lane: ends[lane])
    tail = ends[order[-1]] - ends[order[-2]] if len(order) > 1 else 0.0
    return order[-1], tail


def percentiles(weighted: list[tuple[float, int]]) -> tuple[float, float]:
    """Return the median and the 95th percentile of values with counts; 0 if there are none."""
    weighted.sort()
    everything = sum(count for _, count in weighted)
    found = []
    for share in (0.5, 0.95):
        seen, value = 0, 0.0
        for value, count in weighted:  # noqa: B007 - the value at which the loop ends
            seen += count
            if seen >= share * everything:
                break
        found.append(value)
    return found[0], found[1]


# --- intervals ---


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the union of intervals, in order and disjoint."""
    found: list[Interval] = []
    for start, end in sorted(intervals):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def clipped(intervals: Iterable[Interval], window: Interval) -> list[Interval]:
    """Return the parts of intervals inside a window."""
    parts = ((max(start, window[0]), min(end, window[1])) for start, end in intervals)
    return [part for part in parts if part[1] > part[0]]


def complement(window: Interval, intervals: list[Interval]) -> list[Interval]:
    """Return the parts of a window outside of disjoint intervals, which are in order."""
    found = []
    at = window[0]
    for start, end in intervals:
        if start > at:
            found.append((at, min(start, window[1])))
        at = max(at, end)
    if at < window[1]:
        found.append((at, window[1]))
    return found


def common(first: list[Interval], second: list[Interval]) -> list[Interval]:
    """Return the intersection of two lists of disjoint intervals, which are in order."""
    found = []
    a = b = 0
    while a < len(first) and b < len(second):
        start, end = max(first[a][0], second[b][0]), min(first[a][1], second[b][1])
        if start < end:
            found.append((start, end))
        if first[a][1] < second[b][1]:
            a += 1
        else:
            b += 1
    return found


def total(intervals: Iterable[Interval]) -> float:
    """Return the length of intervals."""
    return sum(end - start for start, end in intervals)
