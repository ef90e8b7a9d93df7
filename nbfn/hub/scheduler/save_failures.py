"""Reverts state in memory whose save failed, so that it does not count as stored."""

from __future__ import annotations

from nbfn.hub.scheduler import cancellation, clients, nested_calls
from nbfn.hub.scheduler.effects import SaveCall, SaveFunction, SaveRetry, SaveSecret
from nbfn.hub.scheduler.events import SaveFailed
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call


def save_failed(t: HubState, event: SaveFailed) -> None:
    """Revert a change that was not stored; the store answers the client."""
    save = event.save
    match save:
        case SaveCall() | SaveRetry():
            t.ended_spawns.pop(save.call, None)
            if (call := t.calls.get(save.call)) is not None:
                _call_not_stored(t, call, save)
        case SaveFunction():
            t.unsaved.add((save.record.id, save.version))
        case SaveSecret() if save.values is not None:
            t.secrets.pop((save.environment_name, save.name), None)


def _call_not_stored(t: HubState, call: Call, save: SaveCall | SaveRetry) -> None:
    if isinstance(save, SaveCall) and save.inputs and save.inputs[0].index > 0:
        clients.give_up(t, call)  # its first inputs are stored
        return
    # Nothing of it is stored: it ends as a call that is not durable, and its outcomes are not sent.
    t.durable_inputs -= len(call.inputs)
    call.durable, call.closed, call.released = False, True, True
    if (client := t.clients.get(call.client)) is not None:
        nested_calls.lend(t, client, 1)
    cancellation.cancel(t, call)
    if isinstance(save, SaveRetry):
        t.note_ended(call.id)
