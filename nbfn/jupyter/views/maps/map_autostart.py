"""What the results of a map display: as a cell's value they start the map, and go on in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbfn.client.calls.map_result import MapResult
from nbfn.jupyter.cell_output import OutputArea
from nbfn.jupyter.views.maps.map_sink import MapSink

if TYPE_CHECKING:
    from nbfn.jupyter.observer import NotebookObserver


def show(results: MapResult[Any], observer: NotebookObserver) -> None:
    """Display a map: begin it if nobody has, and show how far it is. Loops over it come later.

    Args:
        results: What `Function.map` returned.
        observer: The notebook's.
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
    """Have IPython display maps in this way."""
    shell.display_formatter.ipython_display_formatter.for_type(
        MapResult, lambda results: show(results, observer)
    )


def uninstall(shell: Any) -> None:
    """Undo `install`."""
    shell.display_formatter.ipython_display_formatter.pop(MapResult, None)
