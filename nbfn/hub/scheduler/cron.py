"""Calls scheduled Functions at the times of their schedules.

Rule 1: calls that were due while no hub ran are not made up for. Rule 2: a crontab line is not due twice
when the clock is set back, and only once when the clock jumps ahead.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from nbfn.hub.scheduler import calls, cron_times
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import ScheduledFunction
from nbfn.hub.scheduler.registry import FunctionRecord
from nbfn.protocol import messages as m

#: Seconds that a call may be late, for example after a suspension; later ones are skipped.
LATE = 60.0
#: Seconds that a clock must go back to count as set back, and the most for which crontab lines are not due again.
SET_BACK, SET_BACK_ONCE = 1.0, 3600.0


def review(t: HubState) -> None:
    """Update the scheduled Functions after an App was added, changed or removed."""
    wanted = {}
    for record in t.registry.functions.values():
        if (anchor := _anchor(t, record)) is None:
            continue
        if (schedule := record.definition.schedule) is None:
            continue
        known = t.schedules.get(record.id)
        if known is None or known.schedule != schedule or known.anchor != anchor:
            known = ScheduledFunction(record, schedule, anchor)
            _plan(t, known)
        wanted[record.id] = known
    t.schedules = wanted
    _note_next(t)


def waits(t: HubState) -> bool:
    """Whether any Function is scheduled."""
    return any(_anchor(t, scheduled.record) is not None for scheduled in t.schedules.values())


def run(t: HubState) -> None:
    """Call the Functions that are due."""
    if not t.schedules:
        return
    if t.wall < t.last_wall - SET_BACK:
        for scheduled in t.schedules.values():
            _plan(t, scheduled)
        _note_next(t)
    t.last_wall = t.wall
    if t.wall < t.next_schedule_due:
        return
    for scheduled in [scheduled for scheduled in t.schedules.values() if scheduled.due <= t.wall]:
        if _anchor(t, scheduled.record) is None:
            del t.schedules[scheduled.record.id]  # its App ended with its owner
            continue
        if t.wall - scheduled.due <= LATE:
            _call(t, scheduled)
        _plan(t, scheduled)
    _note_next(t)


def _anchor(t: HubState, record: FunctionRecord) -> float | None:
    """Return when a scheduled Function was deployed, or its run started; None if it is not active."""
    app = t.registry.apps.get(record.app_id)
    if app is None or app.stopped is not None or record.base or not record.live:
        return None
    if app.deployed or app.scoped:
        return app.anchors.get(record.name, app.created)
    return None


def _plan(t: HubState, scheduled: ScheduledFunction) -> None:
    after = t.wall
    if scheduled.schedule.cron and 0 < scheduled.called - t.wall <= SET_BACK_ONCE:
        after = scheduled.called
    anchor = datetime.fromtimestamp(scheduled.anchor, UTC)
    due = cron_times.following(scheduled.schedule, anchor, datetime.fromtimestamp(after, UTC))
    scheduled.due = math.inf if due is None else due.timestamp()


def _note_next(t: HubState) -> None:
    t.next_schedule_due = min(
        (scheduled.due for scheduled in t.schedules.values()), default=math.inf
    )


def _call(t: HubState, scheduled: ScheduledFunction) -> None:
    record = scheduled.record
    scheduled.called = max(t.wall, scheduled.due)
    nothing = (m.NewInput(0, scheduled.schedule.payload),)
    named = (t.new_id("fc"), record.id, record.latest, "schedule")
    calls.call_put(t, "", m.PutCall(*named, nothing, durable=True))
