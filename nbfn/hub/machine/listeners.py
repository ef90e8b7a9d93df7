"""Who is sent what a call's code writes, and its outcomes: clients that made or watch it."""

from __future__ import annotations

from nbfn.hub.machine.rows import Call
from nbfn.hub.machine.tables import Tables


def listeners(t: Tables, call: Call) -> list[str]:
    """Return the connected clients that want to hear of a call."""
    names = set(call.watchers)
    if not call.released:
        names.add(call.client)
    return sorted(name for name in names if name in t.clients and t.clients[name].connected)


def reaches(t: Tables, call: Call, client: str) -> bool:
    """Return whether a client is sent what a call's code writes anyhow.

    Either it listens itself, or the code that made the call does, and hands it on as its own output.
    """
    for name in listeners(t, call):
        if name == client:
            return True
        if t.clients[name].worker and _runs(t, call.parent):
            return True
    return False


def _runs(t: Tables, named: str) -> bool:
    """Return whether an input that is named by its call and index is run by a worker now."""
    call_id, _, index = named.partition(":")
    call = t.calls.get(call_id)
    item = call.inputs.get(int(index or 0)) if call is not None else None
    return item is not None and item.worker is not None
