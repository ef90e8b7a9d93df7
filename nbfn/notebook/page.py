"""The scripts and styles of the widgets: what is common to all stands before what is a widget's own."""

from __future__ import annotations

import pathlib

_HERE = pathlib.Path(__file__).parent


def script(name: str) -> str:
    """Return the module that shows a widget."""
    return _joined("base.js", f"{name}.js")


def style(name: str) -> str:
    """Return the style sheet of a widget."""
    return _joined("base.css", f"{name}.css")


def _joined(*names: str) -> str:
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)
