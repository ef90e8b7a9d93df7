"""The widget of a spawned call. Imported when one is displayed."""

from __future__ import annotations

from typing import Any

from nbfn.jupyter.views import widget_base
from nbfn.jupyter.views.calls.call_record import CallRecord, summary_parts
from nbfn.jupyter.views.status_style import mark_of
from nbfn.jupyter.views.widget_base import ActionWidget
from nbfn.jupyter.views.widget_output import Actions
from nbfn.protocol.call_states import retry_text


class CallWidget(ActionWidget):
    """Displays a `CallRecord`.

    Args:
        record: The record.
        now: The time.
        actions: What its buttons do, by their names.
    """

    _esm = widget_base.script("handle")
    _css = widget_base.style("handle")

    def __init__(self, record: CallRecord, now: float, actions: Actions) -> None:
        super().__init__(actions, view=view_of(record, now))

    def show(self, record: CallRecord, now: float, note: str, logs: str) -> None:
        """Send the changed state to the front end."""
        self.view = view_of(record, now) | {"note": note, "logs": logs}


class CellCallsWidget(ActionWidget):
    """Displays the calls that a cell waits for; see `nbfn.jupyter.views.calls.cell_calls`.

    Args:
        view: The data of `CellCalls`.
        actions: What its buttons do, by their names.
    """

    _esm = widget_base.script("blocking")
    _css = widget_base.style("blocking")

    def __init__(self, view: dict[str, Any], actions: Actions) -> None:
        super().__init__(actions, view=view)

    def show(self, view: dict[str, Any]) -> None:
        """Send the changed state to the front end."""
        self.view = view


def view_of(record: CallRecord, now: float) -> dict[str, Any]:
    """Return a spawned call as data for the front end."""
    return {
        "title": record.title,
        "state": record.state,
        "look": record.look,
        "mark": mark_of(record.look),
        "retry": "Retry" if record.total == 1 else retry_text(record.counts),
        "said": summary_parts(record, now),
        "call": record.call,
        "code": f'nbfn.FunctionCall.from_id("{record.call}").get()',
        "result": record.result,
        "ended": record.ended is not None,
        # Of several inputs, the timeline shows which one failed.
        "replayable": record.state == "failed" and record.total == 1,
        "note": "",
        "logs": "",
    }
