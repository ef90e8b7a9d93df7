"""The widget of a spawned call: what the page is told, and its buttons. Imported when one is displayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anywidget
import traitlets

from nbfn.jupyter.views import widget_base
from nbfn.jupyter.views.calls.call_record import Spawned, parts
from nbfn.jupyter.views.status_style import mark_of
from nbfn.jupyter.views.widget_base import keep_on_its_subshell


class HandleView(anywidget.AnyWidget):
    """Shows a `Spawned`; its buttons call ``actions`` by name, on the thread of the page's messages."""

    _esm = widget_base.script("handle")
    _css = widget_base.style("handle")
    view = traitlets.Dict().tag(sync=True)

    def __init__(
        self, spawned: Spawned, now: float, actions: Mapping[str, Callable[[], None]]
    ) -> None:
        super().__init__(view=view_of(spawned, now))
        self._actions = actions
        self.on_msg(self._said)
        keep_on_its_subshell(self.comm)

    def _said(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        action = self._actions.get(str(content.get("type")))
        if action is not None:
            action()

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
