"""What the hub does by itself: calls of scheduled Functions, when people's clocks say so.

Rule 1: what was due while nobody was there to do it is not made up for. Rule 2: a clock that is set
back does not have a crontab line come due twice, one that jumps ahead does not have it come due
often.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from nbfn.hub.scheduler import calls, cron_times
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import ScheduledFunction
from nbfn.hub.scheduler.registry import FunctionRecord
from nbfn.protocol import messages as m

#: Seconds that a call may be late, a machine having slept; if it is later it is missed.
LATE = 60.0
#: Seconds by which a clock must go back to be known as set back, and up to which crontab lines that came due
#: meanwhile are not due again.
SET_BACK, SET_BACK_ONCE = 1.0, 3600.0


def review(t: HubState) -> None:
    """See which Functions are to be called by themselves; an App came, changed or went."""
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
    """Whether there is something to be called by itself, sooner or later."""
    return any(_anchor(t, scheduled.record) is not None for scheduled in t.schedules.values())


def run(t: HubState) -> None:
    """Call what is due."""
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
            del t.schedules[scheduled.record.id]  # its App went with its owner
            continue
        if t.wall - scheduled.due <= LATE:
            _call(t, scheduled)
        _plan(t, scheduled)
    _note_next(t)


def _anchor(t: HubState, record: FunctionRecord) -> float | None:
    """Return when a scheduled Function was deployed, or its run began; None when it is not to be called by itself."""
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
