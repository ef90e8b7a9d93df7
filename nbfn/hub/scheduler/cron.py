"""What the hub does by itself: calls of scheduled Functions, when people's clocks say so.

Rule 1: what was due while nobody was there to do it is not made up for. Rule 2: a clock that is set
back does not have a crontab line come due twice, one that jumps ahead does not have it come due
often.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from nbfn.hub.scheduler import calls, cron_times
from nbfn.hub.scheduler.hub_state import Tables
from nbfn.hub.scheduler.models import Appointment
from nbfn.hub.scheduler.registry import FunctionRecord
from nbfn.protocol import messages as m

#: Seconds that a call may be late, a machine having slept; if it is later it is missed.
LATE = 60.0
#: Seconds by which a clock must go back to be known as set back, and up to which crontab lines that came due
#: meanwhile are not due again.
SET_BACK, SET_BACK_ONCE = 1.0, 3600.0


def review(t: Tables) -> None:
    """See which Functions are to be called by themselves; an App came, changed or went."""
    wanted = {}
    for record in t.registry.functions.values():
        if (anchor := _anchor(t, record)) is None:
            continue
        if (schedule := record.definition.schedule) is None:
            continue
        known = t.agenda.get(record.id)
        if known is None or known.schedule != schedule or known.anchor != anchor:
            known = Appointment(record, schedule, anchor)
            _plan(t, known)
        wanted[record.id] = known
    t.agenda = wanted
    _note_next(t)


def waits(t: Tables) -> bool:
    """Whether there is something to be called by itself, sooner or later."""
    return any(_anchor(t, one.record) is not None for one in t.agenda.values())


def run(t: Tables) -> None:
    """Call what is due."""
    if not t.agenda:
        return
    if t.wall < t.wall_before - SET_BACK:
        for appointment in t.agenda.values():
            _plan(t, appointment)
        _note_next(t)
    t.wall_before = t.wall
    if t.wall < t.next_appointment:
        return
    for appointment in [one for one in t.agenda.values() if one.due <= t.wall]:
        if _anchor(t, appointment.record) is None:
            del t.agenda[appointment.record.id]  # its App went with its owner
            continue
        if t.wall - appointment.due <= LATE:
            _call(t, appointment)
        _plan(t, appointment)
    _note_next(t)


def _anchor(t: Tables, record: FunctionRecord) -> float | None:
    """Return when a scheduled Function was deployed, or its run began; None when it is not to be called by itself."""
    app = t.registry.apps.get(record.app_id)
    if app is None or app.stopped is not None or record.base or not record.live:
        return None
    if app.deployed or app.scoped:
        return app.anchors.get(record.name, app.created)
    return None


def _plan(t: Tables, appointment: Appointment) -> None:
    after = t.wall
    if appointment.schedule.cron and 0 < appointment.called - t.wall <= SET_BACK_ONCE:
        after = appointment.called
    anchor = datetime.fromtimestamp(appointment.anchor, UTC)
    due = cron_times.following(appointment.schedule, anchor, datetime.fromtimestamp(after, UTC))
    appointment.due = math.inf if due is None else due.timestamp()


def _note_next(t: Tables) -> None:
    t.next_appointment = min((one.due for one in t.agenda.values()), default=math.inf)


def _call(t: Tables, appointment: Appointment) -> None:
    record = appointment.record
    appointment.called = max(t.wall, appointment.due)
    nothing = (m.NewInput(0, appointment.schedule.payload),)
    named = (t.new_id("fc"), record.id, record.latest, "schedule")
    calls.call_put(t, "", m.PutCall(*named, nothing, durable=True))
