"""Removes nbfn's live widgets from notebooks that are saved; their text and static HTML stay.

A widget needs its kernel: a saved one would display "model not found".
"""

from __future__ import annotations

import os
from typing import Any

#: Environment variable that tells kernels of this server that saved notebooks have no live widgets.
SAVED_STATIC = "NBFN_SAVES_STATIC"
WIDGET = "application/vnd.jupyter.widget-view+json"


def install(contents_manager: Any) -> None:
    """Register the hook with a server's contents manager, and tell its kernels by an environment variable."""
    register = getattr(contents_manager, "register_pre_save_hook", None)
    if register is not None:
        register(without_widgets)
        os.environ[SAVED_STATIC] = "1"


def without_widgets(*, model: dict[str, Any], **_rest: Any) -> None:
    """Remove nbfn's widgets from a notebook that is about to be saved.

    Args:
        model: The contents model.
    """
    content = model.get("content")
    if model.get("type") != "notebook" or not isinstance(content, dict):
        return
    for cell in content.get("cells") or ():
        for output in cell.get("outputs") or ():
            data, metadata = output.get("data"), output.get("metadata") or {}
            if isinstance(data, dict) and (metadata.get("nbfn") or {}).get("live"):
                data.pop(WIDGET, None)
