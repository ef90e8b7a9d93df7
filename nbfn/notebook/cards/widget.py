"""The widget of a Function's card: what the page is told, and its buttons. Imported when one is displayed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from nbfn.notebook import page
from nbfn.notebook.page import Actions, keep_on_its_subshell

if TYPE_CHECKING:
    from nbfn.notebook.cards.card import FunctionCard


class FunctionView(anywidget.AnyWidget):
    """Shows a `FunctionCard`; its buttons call ``actions`` by name, on the thread of the page's messages."""

    _esm = page.script("function")
    _css = page.style("function")
    view = traitlets.Dict().tag(sync=True)

    def __init__(self, card: FunctionCard, actions: Actions) -> None:
        super().__init__(view=view_of(card))
        self._actions = actions
        self._shown = 0
        self.on_msg(self._said)
        keep_on_its_subshell(self.comm)

    def _said(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        action = self._actions.get(str(content.get("type")))
        if action is not None:
            action(content)

    def show(self, card: FunctionCard) -> None:
        """Send what it is now; also where nothing changed, so that the page ends its waiting."""
        self._shown += 1
        self.view = view_of(card) | {"shown": self._shown}


def view_of(card: FunctionCard) -> dict[str, Any]:
    """Return a card as the page wants it."""
    return {
        "title": card.title,
        "app": card.where,
        "url": card.url,
        "call": card.call,
        "doc": card.doc,
        "methods": card.methods,
        "pool": card.pool,
        "warm": card.warm,
        "imports": card.imports,
        "fields": [field.told() for field in card.fields],
        "callable": card.callable,
        "note": card.note,
        "result": card.result,
        "busy": card.busy,
        "shown": 0,
    }
