"""The widget of a Function's card. Imported when one is displayed."""

from __future__ import annotations

from typing import Any

from nbfn.jupyter.views import widget_base
from nbfn.jupyter.views.widget_base import ActionWidget
from nbfn.jupyter.views.widget_output import Actions


class CardWidget(ActionWidget):
    """Displays a Function's card.

    Args:
        card: The card as data for the front end.
        actions: What its buttons do, by their names.
    """

    _esm = widget_base.script("function")
    _css = widget_base.style("function")

    def __init__(self, card: dict[str, Any], actions: Actions) -> None:
        super().__init__(actions, view=card)
        self._shown = 0
        self.display: object = None  # kept as long as the widget

    def show(self, card: dict[str, Any]) -> None:
        """Send the card, also if nothing changed, so that the front end enables its buttons again."""
        self._shown += 1
        self.view = card | {"shown": self._shown}
