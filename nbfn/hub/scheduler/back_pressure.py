"""Back-pressure: a call whose results are not taken has no more inputs run until they are.

The client tells of results that its consumer has taken. They are also those, or come after those, that
arrived there first, so the hub need not keep these for a client that lost its connection.
"""

from __future__ import annotations

from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call
from nbfn.protocol import messages as m

#: Bytes of one call's results that may wait to be taken, the more such calls there are the fewer of
#: each, and the least.
MOST, LEAST = 48 * 2**20, 4 * 2**20


def add(t: HubState, call: Call, weight: int) -> None:
    """Count results that go to the call's client; a call that has ended has nothing to hold."""
    call.unconsumed += weight
    if call.unconsumed >= _limit(t) and call not in t.held and not call.ended:
        t.held[call] = None
        call.pending.hold(call)


def _limit(t: HubState) -> int:
    return max(LEAST, MOST // (len(t.held) + 1))


def results_taken(t: HubState, sender: str, message: m.ResultsTaken) -> None:
    """Count results that the consumer has taken, and go on with the call if there is room."""
    call = t.calls.get(message.call) or _ended(t, sender, message)
    if call is None:
        return
    call.unconsumed = max(0, call.unconsumed - message.weight)
    call.consumed += message.weight
    recent = call.recent
    while recent and (weight := recent[0].weight) <= call.consumed:
        call.consumed -= weight
        recent.popleft()
    if call in t.held and call.unconsumed < _limit(t):
        _go_on(t, call)


def _ended(t: HubState, sender: str, message: m.ResultsTaken) -> Call | None:
    client = t.clients.get(sender)
    ended = client.ended if client is not None else ()
    return next((call for call in ended if call.id == message.call), None)


def forget(t: HubState, call: Call) -> None:
    """Begin to count anew: the client is on another connection."""
    call.unconsumed = 0
    _go_on(t, call)


def end(t: HubState, call: Call) -> None:
    """Note that a call has ended."""
    if call in t.held:
        del t.held[call]
        call.pending.free(call)


def _go_on(t: HubState, call: Call) -> None:
    end(t, call)
    t.touch(call.pool)
