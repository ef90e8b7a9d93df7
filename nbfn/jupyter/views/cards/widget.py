"""The widget of a Function's card: what the page is told, and its buttons. Imported when one is displayed."""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets

from nbfn.jupyter.views import widget_base
from nbfn.jupyter.views.widget_base import Actions, keep_on_its_subshell


class FunctionView(anywidget.AnyWidget):
    """Shows a Function's card; its buttons call ``actions`` by name, on the thread of the page's messages.

    Args:
        card: The card as the page wants it.
        actions: What its buttons do.
    """

    _esm = widget_base.script("function")
    _css = widget_base.style("function")
    view = traitlets.Dict().tag(sync=True)

    def __init__(self, card: dict[str, Any], actions: Actions) -> None:
        super().__init__(view=card)
        self._actions = actions
        self._shown = 0
        self.on_msg(self._said)
        keep_on_its_subshell(self.comm)

    def _said(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        action = self._actions.get(str(content.get("type")))
        if action is not None:
            action(content)

    def show(self, card: dict[str, Any]) -> None:
        """Send what it is now; also where nothing changed, so that the page ends its waiting."""
        self._shown += 1
        self.view = card | {"shown": self._shown}
