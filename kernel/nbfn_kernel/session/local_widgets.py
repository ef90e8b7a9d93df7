"""Adds the widgets of the notebook's kernel to what a session answers to a page that was reloaded.

Such a page asks once for the states of all widgets. The request is forwarded to the session, which does not know the
widgets of ``%%local`` cells.
"""

from __future__ import annotations

import base64
import sys
from typing import Any

#: The target name of the comms over which pages of ipywidgets ask for the states of all widgets.
TARGET = "jupyter.widget.control"


class LocalWidgets:
    """The widgets of this process, and the comms over which pages ask for all widgets."""

    def __init__(self) -> None:
        self._comms: set[str] = set()

    def comm_opened(self, content: dict[str, Any]) -> None:
        """Remember a comm that a page opens, if it asks for all widgets."""
        if content.get("target_name") == TARGET:
            self._comms.add(content["comm_id"])

    def add_states(self, message: dict[str, Any]) -> None:
        """Add the states of this process's widgets to a message of the session, if it is an answer with all states."""
        content = message["content"]
        if content.get("comm_id") not in self._comms:
            return
        if message["header"]["msg_type"] == "comm_close":
            self._comms.discard(content["comm_id"])
            return
        data = content.get("data", {})
        if data.get("method") != "update_states":
            return
        for model, state in _states().items():
            for buffer in state.pop("buffers", ()):
                data.setdefault("buffer_paths", []).append([model, "state", *buffer["path"]])
                message["buffers"].append(base64.b64decode(buffer["data"]))
            data["states"][model] = state


def _states() -> dict[str, Any]:
    """Return the states of the widgets of this process by their model ids."""
    module = sys.modules.get("ipywidgets")
    if module is None:
        return {}
    states: dict[str, Any] = module.Widget.get_manager_state(drop_defaults=False)["state"]
    return states
