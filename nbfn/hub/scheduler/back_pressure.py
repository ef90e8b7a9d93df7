"""Back-pressure: no more inputs of a call are dispatched while its results are not consumed.

The client acknowledges results that its consumer has taken. Results arrive in order, so the hub no longer
needs to keep acknowledged ones for a redelivery after a lost connection.
"""

from __future__ import annotations

from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call
from nbfn.protocol import messages as m

#: Bytes of unconsumed results per call: the most, divided among the held calls, and the least.
MOST, LEAST = 48 * 2**20, 4 * 2**20


def add(t: HubState, call: Call, weight: int) -> None:
    """Count results that are sent to the client; hold the call above the limit, unless it has ended."""
    call.unconsumed += weight
    if call.unconsumed >= _limit(t) and call not in t.held and not call.ended:
        t.held[call] = None
        call.pending.hold(call)


def _limit(t: HubState) -> int:
    return max(LEAST, MOST // (len(t.held) + 1))


def results_taken(t: HubState, sender: str, message: m.ResultsTaken) -> None:
    """Subtract results that the consumer has taken, and resume the call below the limit."""
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
    """Reset the count: the client has a new connection."""
    call.unconsumed = 0
    _go_on(t, call)


def end(t: HubState, call: Call) -> None:
    """Release the hold of a call that ends."""
    if call in t.held:
        del t.held[call]
        call.pending.free(call)


def _go_on(t: HubState, call: Call) -> None:
    end(t, call)
    t.touch(call.pool)
