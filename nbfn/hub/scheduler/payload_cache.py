"""Keeps payloads of durable inputs in memory up to a limit; the others are read from disk before they run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call, Input
from nbfn.hub.scheduler.payloads import Stored
from nbfn.protocol import messages as m

#: Bytes of durable inputs that are kept in memory.
MOST = 48 * 2**20


def admit(t: HubState, items: Iterable[Input]) -> None:
    """Keep the payloads of saved inputs in memory, as far as they fit."""
    for item in items:
        if item.stored:
            continue
        if t.loaded_bytes + item.weight > MOST:
            item.payload = Stored(item.weight)
        else:
            t.loaded_bytes += item.weight


def release(t: HubState, call: Call, outcomes: Sequence[m.Output]) -> None:
    """Subtract the payloads of inputs that end."""
    for outcome in outcomes:
        item = call.inputs.get(outcome.index)
        if item is not None and not item.stored:
            t.loaded_bytes -= item.weight
