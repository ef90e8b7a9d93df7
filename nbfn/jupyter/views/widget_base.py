"""What the widgets have in common: their scripts and styles, their buttons, how they live on a page and leave it."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from nbfn.jupyter.cell_output import Place

#: What buttons do, by their names; each gets what the page said.
Actions = Mapping[str, Callable[[Mapping[str, Any]], Any]]
#: Seconds for which a widget that is no longer shown is kept.
CLOSE_AFTER = 2.0
#: The metadata of outputs with a widget, for `nbfn.jupyter.server.pre_save_hook`, and the variable that this hook sets.
LIVE, SAVED_STATIC = {"nbfn": {"live": True}}, "NBFN_SAVES_STATIC"

_STATIC = pathlib.Path(__file__).parent / "static"


def script(name: str) -> str:
    """Return the module that shows a widget: what is common to all stands before what is its own."""
    return _joined("base.js", f"{name}.js")


def style(name: str) -> str:
    """Return the style sheet of a widget."""
    return _joined("base.css", f"{name}.css")


def _joined(*names: str) -> str:
    return "\n".join((_STATIC / name).read_text(encoding="utf-8") for name in names)


def keep_on_its_subshell(comm: Any) -> None:
    """Let messages of this comm be handled while a cell blocks.

    ipykernel 7.4 hands them to the loop that last published on the comm; for a widget that a cell
    made this is the main one, which the cell holds. The front end's own choice, a subshell, is free.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default


def close_later(widget: Any, place: Place) -> None:
    """Close a widget that is no longer shown.

    Not at once: a page that has only just heard of it would fail to make it.
    """

    def close() -> None:
        widget.layout.close()
        widget.close()

    later = threading.Timer(CLOSE_AFTER, place.run, (close,))
    later.daemon = True
    later.start()
