"""Adds the attempts of inputs to the record of `timeline`, and reads those that run now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter

from nbfn.hub.scheduler import call_state
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call, Input, Worker
from nbfn.hub.scheduler.timeline import CallLabel, Lane, Span
from nbfn.protocol import messages as m
from nbfn.types import InputStatus

#: Inputs of a call that a worker ran one after the other become one span if there are at least `RUN` of them in a
#: message and they took less than `QUICK` seconds each on average: at a thousand inputs a second, single marks cannot
#: be told apart, and would cost the hub time.
RUN, QUICK = 16, 0.001

_SUCCEEDED = {int(InputStatus.SUCCESS)}
_LOST, _RUNNING = int(InputStatus.INTERNAL_FAILURE), int(InputStatus.RUNNING)
_FAILED = frozenset({int(InputStatus.FAILURE), int(InputStatus.TIMEOUT)})
#: Seconds, inputs, and whether the inputs are of one call.
Took = tuple[float, float, bool]

_status, _started = attrgetter("status"), attrgetter("started")


def add_results(
    t: HubState, worker: Worker, message: m.Results, items: Sequence[Input | None], took: Took
) -> None:
    """Add the inputs that a worker has run.

    Args:
        t: The hub's state.
        worker: The worker.
        message: Its message.
        items: The input of each result, None for one that is ignored.
        took: How long how many of them ran, and whether all results of the message are of one call.
    """
    lane = t.timeline.lanes.get(worker.id)
    if lane is None:
        return
    seconds, count, one_call = took
    if (
        count >= RUN
        and one_call
        and seconds < QUICK * count
        and {*map(_status, message.results)} == _SUCCEEDED
    ):
        _add_run(t, lane, message, items[0], seconds)
    else:
        _add_each(t, lane, message, items)


def _add_run(
    t: HubState, lane: Lane, message: m.Results, first: Input | None, seconds: float
) -> None:
    assert first is not None
    results = message.results
    start, difference = results[0].started, _difference(t, lane, message)
    length = results[-1].started + results[-1].duration - start
    start = start + difference if start else t.wall - length
    t.timeline.add(
        *(min(t.wall - t.now + first.queued, start), start, length, seconds),
        *(first.index, len(results), lane.number, _call_number(t, first.call)),
        *(first.attempt, results[-1].status),
    )


def _add_each(t: HubState, lane: Lane, message: m.Results, items: Sequence[Input | None]) -> None:
    results, add, ago = message.results, t.timeline.add, t.wall - t.now
    difference = _difference(t, lane, message)
    # The inputs of a batch start together, and each of them has an equal share of the time.
    together = Counter(map(_started, results))
    for item, result in zip(items, results, strict=True):
        start, duration = result.started, result.duration
        if item is None or not (start or duration):  # the latter was cancelled before it ran
            continue
        number = t.timeline.number_of(item.call.id) or t.timeline.name_call(label(item.call))
        seconds = duration * together[start] if start else duration
        start = start + difference if start else t.wall - seconds
        queued = min(item.queued + ago, start)
        add(
            queued,
            start,
            seconds,
            duration,
            item.index,
            1,
            lane.number,
            number,
            item.attempt,
            result.status,
        )
        payload = result.payload
        if result.status in _FAILED and payload is not None and not payload.segments:
            t.timeline.keep_failure(item.call.id, item.index, item.attempt, payload.data)


def _difference(t: HubState, lane: Lane, message: m.Results) -> float:
    """Return what to add to times of the worker; one that gives no times has just ended its inputs."""
    return lane.clock.difference(message.sent, t.wall, t.now) if message.sent else 0.0


def _queued(t: HubState, item: Input, start: float) -> float:
    return min(t.wall - t.now + item.queued, start)


def _call_number(t: HubState, call: Call) -> int:
    return t.timeline.number_of(call.id) or t.timeline.name_call(label(call))


def label(call: Call) -> CallLabel:
    """Return what is shown of a call."""
    record = call.pool.record
    name = f"{record.name}.{call.method}" if call.method else record.name
    return CallLabel(call.id, record.id, name, record.app, call.pool.key[1], call.kind)


def add_lost(t: HubState, worker: Worker, items: Iterable[Input]) -> None:
    """Add inputs whose worker is gone while it ran them."""
    lane = t.timeline.lanes.get(worker.id)
    for item in items if lane is not None else ():
        assert lane is not None
        start = t.wall - t.now + _began(worker, item)
        took = max(t.wall - start, 0.0)
        t.timeline.add(
            *(_queued(t, item, start), start, took, took, item.index, 1, lane.number),
            *(_call_number(t, item.call), item.attempt, _ending(worker, item)),
        )


def _ending(worker: Worker, item: Input) -> int:
    if item.cancelled or item.call.cancelled:
        return int(InputStatus.TERMINATED)
    return int(InputStatus.TIMEOUT) if worker.overdue else _LOST


def _began(worker: Worker, item: Input) -> float:
    """Return when an input began: in a worker that runs them in order, at its last progress at the earliest."""
    pool = worker.pool
    waits = pool is not None and pool.prefetches
    return max(item.began, worker.last_progress) if waits else item.began


def running_now(t: HubState) -> list[tuple[Span, CallLabel]]:
    """Return the inputs that run now, as spans; their call has no number."""
    found = []
    for worker in t.workers.values():
        lane = t.timeline.lanes.get(worker.id)
        for item in call_state.running_at(worker) if lane is not None and worker.leases else ():
            assert lane is not None
            start = t.wall - t.now + _began(worker, item)
            took = max(t.wall - start, 0.0)
            span = Span(
                *(_queued(t, item, start), start, took, took, item.index, 1, lane.number),
                *(0, item.attempt, _RUNNING),
            )
            found.append((span, label(item.call)))
    return found


def waiting_now(t: HubState) -> list[tuple[float, int, CallLabel]]:
    """Return for each call with waiting inputs when the first of them was queued, and their number."""
    found = []
    running = call_state.running_by_call(t.workers.values())
    for call in t.calls.values():
        waits = len(call.inputs) - running[call]
        if waits > 0:
            first = next((i for i in call.inputs.values() if i.worker is None), None)
            queued = first.queued if first is not None else call.created
            found.append((t.wall - t.now + queued, waits, label(call)))
    return found
