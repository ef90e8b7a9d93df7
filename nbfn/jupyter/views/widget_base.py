"""The base class of the widgets: loads their scripts and styles, and handles the messages of their buttons.

anywidget sends script and style to the front end. The model, its comm, its layout and its synchronised
traits are those of ipywidgets.
"""

from __future__ import annotations

import pathlib
from typing import Any

import anywidget
import traitlets
from ipywidgets import DOMWidget

from nbfn.jupyter.views.display_registry import answer_on_subshell
from nbfn.jupyter.views.widget_output import Actions

_STATIC = pathlib.Path(__file__).parent / "static"


def script(name: str) -> str:
    """Return the JavaScript module of a widget, below the functions that all widgets share."""
    return _joined("base.js", f"{name}.js")


def style(name: str) -> str:
    """Return the style sheet of a widget, below the rules that all widgets share."""
    return _joined("base.css", f"{name}.css")


def _joined(*names: str) -> str:
    return "\n".join((_STATIC / name).read_text(encoding="utf-8") for name in names)


class ActionWidget(anywidget.AnyWidget):
    """Displays ``view``, and calls an action when one of its buttons is pressed.

    Args:
        actions: What the buttons do; called on the thread that handles the front end's messages.
        **traits: Initial values of its synchronised traits.
    """

    view = traitlets.Dict().tag(sync=True)

    def __init__(self, actions: Actions, **traits: Any) -> None:
        super().__init__(**traits)
        self.actions = actions
        self.on_msg(self.handle_message)
        answer_on_subshell(self.comm)

    def handle_message(self, _widget: DOMWidget, content: dict[str, Any], _buffers: object) -> None:
        """Call the action that a message of the front end names.

        Args:
            content: The message; ``type`` is the name of the button.
        """
        action = self.actions.get(str(content.get("type")))
        if action is not None:
            action(content)
