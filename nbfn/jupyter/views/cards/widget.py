"""The widget of a Function's card: what the page is told, and its buttons. Imported when one is displayed."""

from __future__ import annotations

from typing import Any

from nbfn.jupyter.views import widget_base
from nbfn.jupyter.views.widget_base import ActionWidget
from nbfn.jupyter.views.widget_output import Actions


class CardWidget(ActionWidget):
    """Shows a Function's card; its buttons call ``actions`` by name, on the thread of the page's messages.

    Args:
        card: The card as the page wants it.
        actions: What its buttons do.
    """

    _esm = widget_base.script("function")
    _css = widget_base.style("function")

    def __init__(self, card: dict[str, Any], actions: Actions) -> None:
        super().__init__(actions, view=card)
        self._shown = 0

    def show(self, card: dict[str, Any]) -> None:
        """Send what it is now; also where nothing changed, so that the page ends its waiting."""
        self._shown += 1
        self.view = card | {"shown": self._shown}
