"""Outputs that hold a widget: publishes them with their text and static HTML, and closes the widget later.

Imports no widget library, so that text output does not wait for one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nbfn.jupyter.cell_output import OutputArea
from nbfn.jupyter.views.display_registry import CALL_MIME, ShownCall, registry

if TYPE_CHECKING:
    from ipywidgets import DOMWidget

#: What the buttons of a widget do, by their names; each gets the message of the front end.
Actions = Mapping[str, Callable[[Mapping[str, Any]], Any]]
#: Seconds for which a widget that is no longer displayed is kept.
CLOSE_AFTER = 2.0
#: Metadata of outputs with a widget, for `nbfn.jupyter.server.pre_save_hook`, and the variable that this hook sets.
LIVE, SAVED_STATIC = {"nbfn": {"live": True}}, "NBFN_SAVES_STATIC"


def publish(
    area: OutputArea,
    display_id: str,
    widget: DOMWidget | None,
    text: str,
    html: str,
    *,
    update: bool = False,
    call: ShownCall | None = None,
) -> None:
    """Publish a widget with its text and HTML, for front ends and saved notebooks without widgets.

    Args:
        area: The cell.
        display_id: Identifies the output, so that it can be updated.
        widget: The widget; None publishes text and HTML only.
        text: The same as plain text.
        html: The same as static HTML.
        update: Whether to replace the output that has this ``display_id``.
        call: The call that it displays: a page that is opened later finds the call by this.
    """
    bundle = widget._repr_mimebundle_() if widget is not None else None
    data = (dict(bundle[0]) if bundle else {}) | {"text/plain": text, "text/html": html}
    metadata = LIVE if widget is not None else {}
    if call is not None:
        data[CALL_MIME] = {
            "call": call.id,
            "kind": call.kind,
            "ended": call.ended,
            "at": time.time(),
            "display": display_id,
        }
        registry.record(display_id, call, area.parent, data, metadata)
    area.publish(data, metadata=metadata, transient={"display_id": display_id}, update=update)


def close_later(widget: DOMWidget, area: OutputArea) -> None:
    """Close a widget that is no longer displayed.

    Not at once: a front end that has just received its model would fail to create it.

    Args:
        widget: The widget.
        area: The cell that displayed it.
    """

    def close() -> None:
        widget.layout.close()
        widget.close()

    later = threading.Timer(CLOSE_AFTER, area.run, (close,))
    later.daemon = True
    later.start()
