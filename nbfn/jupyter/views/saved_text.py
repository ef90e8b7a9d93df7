"""The text and static HTML of a call in a notebook that is saved while the call runs, from the hub's row of it.

The kernel wrote them when the display appeared; the server replaces them at each save.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from html import escape

from nbfn.jupyter.views.status_style import box_html, look_of, mark_html, mark_of
from nbfn.protocol.call_states import CallState, InputCounts, counts_text
from nbfn.runtime.time_span import format_span


@dataclass(frozen=True, slots=True)
class SavedCall:
    """What is saved of a call.

    Attributes:
        title: Its Function, with the version.
        seconds: How long it has taken.
        durable: Whether it is stored, so that its result can be fetched later.
    """

    id: str
    title: str
    state: str
    counts: InputCounts
    seconds: float
    durable: bool


def snapshot_note(call: str) -> str:
    """Return the note that a notebook saved during a call has beside its state."""
    return f"as of {time.strftime('%H:%M')}; %fn attach {call} shows it"


def saved_text(call: SavedCall) -> tuple[str, str]:
    """Return a call as plain text and as static HTML."""
    parts, look = _parts(call), look_of(call.state, call.counts)
    text = " · ".join([f"{mark_of(look)} {call.title}", *parts])
    said = escape(" · ".join(parts))
    html = box_html(f"<div>{mark_html(look)} <b>{escape(call.title)}</b> · {said}</div>")
    return text, html


def _parts(call: SavedCall) -> list[str]:
    """Return the parts of the line after the title."""
    state, counts = CallState(call.state), call.counts
    parts = [f"{state} {format_span(call.seconds)}", call.id[:7]]
    if counts.total != 1:
        parts.append(f"{counts_text(counts)} of {counts.total:,}")
    if not state.ended:
        parts.append(snapshot_note(call.id))
    elif call.durable:
        got = "returns its result" if state == CallState.SUCCEEDED else "raises its error"
        parts.append(f'nbfn.FunctionCall.from_id("{call.id}").get() {got}')
    return parts
