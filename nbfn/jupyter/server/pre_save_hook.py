"""What is saved of a notebook: of nbfn's live widgets only their text and static HTML.

A widget is gone with its kernel, and a saved one would show "model not found".
"""

from __future__ import annotations

import os
from typing import Any

#: The variable by which kernels of this server know that they may leave a widget on the page at the end.
SAVED_STATIC = "NBFN_SAVES_STATIC"
WIDGET = "application/vnd.jupyter.widget-view+json"


def install(contents_manager: Any) -> None:
    """Have a Jupyter server save no live widgets of nbfn, and its kernels know."""
    register = getattr(contents_manager, "register_pre_save_hook", None)
    if register is not None:
        register(without_widgets)
        os.environ[SAVED_STATIC] = "1"


def without_widgets(*, model: dict[str, Any], **_rest: Any) -> None:
    """Take nbfn's widgets out of a notebook that is about to be saved."""
    content = model.get("content")
    if model.get("type") != "notebook" or not isinstance(content, dict):
        return
    for cell in content.get("cells") or ():
        for output in cell.get("outputs") or ():
            data, metadata = output.get("data"), output.get("metadata") or {}
            if isinstance(data, dict) and (metadata.get("nbfn") or {}).get("live"):
                data.pop(WIDGET, None)
