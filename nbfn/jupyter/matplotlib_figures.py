"""Displays matplotlib figures that remote code returned, also where the notebook has not imported pyplot."""

from __future__ import annotations

from typing import Any

_FIGURE = ("matplotlib.figure", "Figure")


def install(shell: Any) -> None:
    """Make IPython display figures as PNG images, until ``%matplotlib`` or pyplot registers a formatter."""
    formatter = shell.display_formatter.formatters["image/png"]
    formatter.for_type_by_name(*_FIGURE, _png)


def uninstall(shell: Any) -> None:
    """Undo `install`."""
    printers = shell.display_formatter.formatters["image/png"].deferred_printers
    if printers.get(_FIGURE) is _png:
        del printers[_FIGURE]


def _png(figure: Any) -> Any:
    from IPython.core.pylabtools import print_figure

    return print_figure(figure, fmt="png", base64=True)
