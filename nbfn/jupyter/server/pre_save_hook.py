"""Prepares the displays of calls in notebooks that are saved.

A live widget needs its kernel: a saved one would display "model not found", so it is removed; its text and static HTML
stay. For a call that has not ended, they are those of the moment in which the display appeared, so they are replaced
by the state of the call at the save, as far as the server knows it. The hub is not asked: a save waits for nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from nbfn.jupyter.server.schema import CallRow, OverviewReply
from nbfn.jupyter.views.display_registry import CALL_MIME
from nbfn.jupyter.views.saved_text import SavedCall, saved_text
from nbfn.protocol.call_states import InputCounts

logger = logging.getLogger("nbfn.lab")

#: Environment variable that tells kernels of this server that saved notebooks have no live widgets.
SAVED_STATIC = "NBFN_SAVES_STATIC"
WIDGET = "application/vnd.jupyter.widget-view+json"


class PreSaveHook:
    """The hook of a server's contents manager.

    Args:
        overview: Returns what the server knows of the hub.
    """

    def __init__(self, overview: Callable[[], OverviewReply]) -> None:
        self._overview = overview

    def install(self, contents_manager: Any) -> None:
        """Register the hook, and tell the server's kernels of it by an environment variable."""
        register = getattr(contents_manager, "register_pre_save_hook", None)
        if register is not None:
            register(self)
            os.environ[SAVED_STATIC] = "1"

    def __call__(self, *, model: dict[str, Any], **_rest: Any) -> None:
        """Prepare a notebook that is about to be saved.

        Args:
            model: The contents model.
        """
        content = model.get("content")
        if model.get("type") != "notebook" or not isinstance(content, dict):
            return
        outputs = list(_outputs(content))
        remove_widgets(outputs)
        running = [data for data in map(_call_data, outputs) if data is not None]
        if running:
            try:
                self._refresh(running)
            except Exception:
                logger.exception("the states of calls in a notebook could not be updated")

    def _refresh(self, running: list[dict[str, Any]]) -> None:
        """Replace the text of displays by the state of their calls, if a hub is connected."""
        reply = self._overview()
        if reply.connection != "running" or reply.overview is None:
            return
        rows = {row.id: row for row in reply.overview.calls}
        for data in running:
            shown = data[CALL_MIME]
            if (row := rows.get(str(shown.get("call")))) is not None:
                shown["at"] = now = reply.overview.now
                data["text/plain"], data["text/html"] = saved_text(_saved(row, now))


def remove_widgets(outputs: list[dict[str, Any]]) -> None:
    """Remove nbfn's widgets from outputs; widgets of other packages stay."""
    for output in outputs:
        data, metadata = output.get("data"), output.get("metadata") or {}
        if isinstance(data, dict) and (metadata.get("nbfn") or {}).get("live"):
            data.pop(WIDGET, None)


def _outputs(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for cell in content.get("cells") or ():
        yield from cell.get("outputs") or ()


def _call_data(output: dict[str, Any]) -> dict[str, Any] | None:
    """Return the bundle of an output that shows a call which had not ended, else None."""
    data = output.get("data")
    shown = data.get(CALL_MIME) if isinstance(data, dict) else None
    return data if isinstance(shown, dict) and shown.get("ended") is False else None


def _saved(row: CallRow, now: float) -> SavedCall:
    end = now if row.ended is None else row.ended
    return SavedCall(
        id=row.id,
        title=f"{row.function} v{row.version}" if row.version else row.function,
        state=row.state,
        counts=InputCounts(*(getattr(row, name) for name in InputCounts.__struct_fields__)),
        seconds=max(0.0, end - row.started),
        durable=row.durable,
    )
