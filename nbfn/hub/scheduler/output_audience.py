"""Determines which clients receive the output and outcomes of a call."""

from __future__ import annotations

from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call, Input


def listeners(t: HubState, call: Call) -> list[str]:
    """Return the connected clients that are subscribed to a call."""
    if not call.watchers and not call.released:
        client = t.clients.get(call.client)
        return [call.client] if client is not None and client.connected else []
    names = set(call.watchers)
    if not call.released:
        names.add(call.client)
    return sorted(name for name in names if name in t.clients and t.clients[name].connected)


def audience(t: HubState, item: Input) -> list[tuple[str, Input]]:
    """Return the clients that receive the output of an input, and the input to which each attributes it.

    Code that waits for a call forwards its output. Output of a spawned call is sent to the clients of the code
    that spawned it, as long as that code runs. Each client receives it once.
    """
    found: dict[str, Input] = {}
    source: Input | None = item
    while source is not None:
        call = source.call
        for name in listeners(t, call):
            if not (call.durable and t.clients[name].worker):
                found.setdefault(name, source)
        source = _maker(t, call) if call.durable else None
    return list(found.items())


def reaches(t: HubState, item: Input, client: str) -> bool:
    """Return whether a client receives the output of an input already: directly, or forwarded by calling code."""
    return any(
        name == client
        or (
            t.clients[name].worker
            and (above := _maker(t, whose.call))
            and reaches(t, above, client)
        )
        for name, whose in audience(t, item)
    )


def _maker(t: HubState, call: Call) -> Input | None:
    """Return the input whose code made a call, if it is running."""
    above, _, index = call.parent.partition(":")
    found = t.calls.get(above)
    item = found.inputs.get(int(index or 0)) if found is not None else None
    return item if item is not None and item.worker is not None else None
