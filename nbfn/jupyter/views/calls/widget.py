"""The widget of a spawned call: what the page is told, and its buttons. Imported when one is displayed."""

from __future__ import annotations

from typing import Any

from nbfn.jupyter.views import widget_base
from nbfn.jupyter.views.calls.call_record import Spawned, parts
from nbfn.jupyter.views.status_style import mark_of
from nbfn.jupyter.views.widget_base import ActionWidget
from nbfn.jupyter.views.widget_output import Actions


class HandleView(ActionWidget):
    """Shows a `Spawned`; its buttons call ``actions`` by name, on the thread of the page's messages."""

    _esm = widget_base.script("handle")
    _css = widget_base.style("handle")

    def __init__(self, spawned: Spawned, now: float, actions: Actions) -> None:
        super().__init__(actions, view=view_of(spawned, now))

    def show(self, spawned: Spawned, now: float, note: str, logs: str) -> None:
        """Send what changed."""
        self.view = view_of(spawned, now) | {"note": note, "logs": logs}


def view_of(spawned: Spawned, now: float) -> dict[str, Any]:
    """Return a spawned call as the page wants it."""
    return {
        "title": spawned.title,
        "state": spawned.state,
        "mark": mark_of(spawned.state),
        "said": parts(spawned, now),
        "call": spawned.call,
        "code": f'nbfn.FunctionCall.from_id("{spawned.call}").get()',
        "result": spawned.result,
        "ended": spawned.ended is not None,
        "note": "",
        "logs": "",
    }
