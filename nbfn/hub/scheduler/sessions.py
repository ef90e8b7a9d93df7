"""Protects sessions: what would end one is refused unless the request says so, because its variables would be lost."""

from __future__ import annotations

from collections.abc import Iterable

from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call
from nbfn.protocol import messages as m


def refuses(t: HubState, sender: str, request: int, calls: Iterable[Call]) -> bool:
    """Refuse a request that would end a session.

    Args:
        t: The state of the hub.
        sender: The client that makes the request.
        request: The number of the request. A message without one is how a client ends a call that it made itself.
        calls: The calls that the request would end.

    Returns:
        Whether the request was refused.
    """
    problem = refusal(call for call in calls if request or call.client != sender)
    if problem and request:
        t.send(sender, m.Failed(request, "conflict", problem))
    return bool(problem)


def refusal(calls: Iterable[Call]) -> str:
    """Return why a request must not end these calls: one of them is a session; "" if none is."""
    found = [call for call in calls if call.pool.is_session]
    if not found:
        return ""
    notebooks = ", ".join(sorted({call.origin or call.pool.record.app for call in found}))
    if len(found) == 1:
        what = f"the session of {notebooks}; its variables would be lost"
    else:
        what = f"{len(found)} sessions, of {notebooks}; their variables would be lost"
    return f"This would end {what}. To do so, add --end-session, in Python end_session=True."
