"""Displays the results of a map: as the value of a cell, they start the map in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbfn.client.calls.map_result import MapResult
from nbfn.jupyter.cell_output import OutputArea
from nbfn.jupyter.views.maps.map_sink import MapSink

if TYPE_CHECKING:
    from nbfn.jupyter.observer import NotebookObserver


def show(results: MapResult[Any], observer: NotebookObserver) -> None:
    """Start a map if it has not started, and display its progress. It can be iterated later.

    Args:
        results: The result of `Function.map`.
        observer: The observer of this notebook.
    """
    __tracebackhide__ = True
    if results.untouched:
        results.collect()
    sink = results.sink
    if isinstance(sink, MapSink) and results.collected and observer.shows_progress(sink):
        observer.show_here(sink)
    else:
        OutputArea().publish({"text/plain": repr(results)})


def install(shell: Any, observer: NotebookObserver) -> None:
    """Register the display of maps in IPython."""
    shell.display_formatter.ipython_display_formatter.for_type(
        MapResult, lambda results: show(results, observer)
    )


def uninstall(shell: Any) -> None:
    """Undo `install`."""
    shell.display_formatter.ipython_display_formatter.pop(MapResult, None)
