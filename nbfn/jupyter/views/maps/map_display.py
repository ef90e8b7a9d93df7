"""Displays of a map: a widget, lines for papermill and nbconvert, or one overwritten line in a terminal."""

from __future__ import annotations

import contextlib
import os
import uuid
from typing import TYPE_CHECKING, Protocol

from nbfn.jupyter.cell_output import OutputArea
from nbfn.jupyter.views.display_registry import ShownCall
from nbfn.jupyter.views.maps import static_render
from nbfn.jupyter.views.maps.map_stats import MapStats
from nbfn.jupyter.views.widget_output import SAVED_STATIC, Actions, close_later, publish

if TYPE_CHECKING:
    from nbfn.jupyter.views.maps.widget import MapWidget


class MapDisplay(Protocol):
    """A display of a map in one cell."""

    def show(self, stats: MapStats, now: float) -> None:
        """Show the progress."""

    def end(self, stats: MapStats, now: float) -> None:
        """Show the end; called once."""

    def show_late_errors(self, stats: MapStats, now: float) -> None:
        """Show errors that were received after the end."""


class WidgetDisplay:
    """A live widget that becomes static HTML at the end, since a saved widget would not work.

    If the Jupyter server removes live widgets from saved notebooks (`nbfn.jupyter.server.pre_save_hook`), a
    map with failed inputs keeps its widget for the Retry buttons.
    """

    def __init__(self, stats: MapStats, area: OutputArea, now: float, actions: Actions) -> None:
        self._area = area
        self._shown = uuid.uuid4().hex
        self._retries = "retry" in actions
        self._actions = actions
        self._widget: MapWidget | None = None
        if stats.ended is None or self._keeps(stats):
            self._widget = self._new_widget(stats, now)
        self._publish(stats, now, update=False)

    def _new_widget(self, stats: MapStats, now: float) -> MapWidget:
        # Imported late: it takes a tenth of a second.
        from nbfn.jupyter.views.maps.widget import MapWidget

        return MapWidget(stats, now, self._actions)

    def _publish(self, stats: MapStats, now: float, *, update: bool) -> None:
        text = static_render.text(stats, now, logged=stats.ended is not None)
        html = static_render.html(stats, now)
        call = ShownCall(stats.call, "map", ended=stats.ended is not None)
        publish(self._area, self._shown, self._widget, text, html, update=update, call=call)

    def show(self, stats: MapStats, now: float) -> None:
        """Send the changed state to the front end; a map whose inputs run again gets a widget again."""
        if self._widget is not None:
            self._widget.show(stats, now)
        elif stats.ended is None:
            self._widget = self._new_widget(stats, now)
            self._publish(stats, now, update=True)

    def end(self, stats: MapStats, now: float) -> None:
        """Replace the widget by static HTML, unless it keeps its Retry buttons."""
        widget = self._widget
        if widget is not None and not self._keeps(stats):
            self._widget = None
        if self._widget is not None:
            self._widget.show(stats, now, at_once=True)
        self._publish(stats, now, update=True)
        if widget is not None and self._widget is None:
            close_later(widget, self._area)

    def _keeps(self, stats: MapStats) -> bool:
        return self._retries and bool(stats.retryable) and SAVED_STATIC in os.environ

    show_late_errors = end


class StaticDisplay:
    """One line that is not updated, for a map in the background without a widget."""

    def __init__(self, stats: MapStats, area: OutputArea, now: float) -> None:
        area.write("stdout", f"{static_render.line(stats, now)}\n")

    def show(self, stats: MapStats, now: float) -> None:
        """Do nothing: other cells have run."""

    def end(self, stats: MapStats, now: float) -> None:
        """Do nothing."""

    def show_late_errors(self, stats: MapStats, now: float) -> None:
        """Do nothing."""


class LinesDisplay:
    """Lines for papermill and nbconvert: at the start, after every ten percent, and at the end.

    While the total is not known, a line is written at 10, 100, 1,000 inputs and so on.
    """

    def __init__(self, stats: MapStats, area: OutputArea, now: float) -> None:
        self._area = area
        self._reached = _reached(stats)
        if stats.ended is None:
            area.write("stdout", f"{static_render.line(stats, now)}\n")

    def show(self, stats: MapStats, now: float) -> None:
        """Write a line when another tenth is done."""
        if (reached := _reached(stats)) != self._reached:
            self._reached = reached
            self._area.write("stdout", f"{static_render.line(stats, now)}\n")

    def end(self, stats: MapStats, now: float) -> None:
        """Write the output of the inputs, the last line and the errors."""
        self._area.write("stdout", static_render.log_text(stats))
        self._area.write("stdout", f"{static_render.text(stats, now)}\n")

    def show_late_errors(self, stats: MapStats, now: float) -> None:
        """Write the errors."""
        self._area.write("stdout", f"{static_render.errors(stats)}\n")


def _reached(stats: MapStats) -> tuple[bool, int]:
    """Return whether the total is known, and the finished tenths of it, or else the digits of the finished inputs."""
    if stats.total is None:
        return False, len(str(stats.done))
    return True, 10 * stats.done // stats.total if stats.total else 0


class TerminalDisplay:
    """One line that is overwritten."""

    def __init__(self, stats: MapStats, area: OutputArea, now: float) -> None:
        self._area = area
        self._lines = 0
        self.show(stats, now)

    def show(self, stats: MapStats, now: float) -> None:
        """Write new log lines, then the line again below them."""
        fresh = min(stats.lines - self._lines, len(stats.log))
        above = "".join(f"{row}\n" for row in list(stats.log)[len(stats.log) - fresh :])
        self._lines = stats.lines
        self._area.write("stdout", f"\r\x1b[2K{above}{static_render.line(stats, now)[:120]}")

    def end(self, stats: MapStats, now: float) -> None:
        """Write the last line and the errors."""
        self.show(stats, now)
        self._area.write("stdout", f"\r\x1b[2K{static_render.text(stats, now)}\n")

    def show_late_errors(self, stats: MapStats, now: float) -> None:
        """Write the errors."""
        self._area.write("stdout", f"{static_render.errors(stats)}\n")


class NullDisplay:
    """Displays nothing, in place of a display that could not be created."""

    def show(self, stats: MapStats, now: float) -> None:
        """Do nothing."""

    def end(self, stats: MapStats, now: float) -> None:
        """Do nothing."""

    def show_late_errors(self, stats: MapStats, now: float) -> None:
        """Do nothing."""


def display_for(
    stats: MapStats, area: OutputArea, now: float, actions: Actions, *, background: bool = False
) -> MapDisplay:
    """Return the best display that an output area supports.

    Args:
        stats: The map.
        area: The cell.
        now: The time.
        actions: What its buttons do, by their names.
        background: Whether no cell waits for the map.

    Returns:
        The display.
    """
    if area.widgets:
        with contextlib.suppress(ImportError):  # without anywidget, use text
            return WidgetDisplay(stats, area, now, actions)
    kind = StaticDisplay if background else TerminalDisplay if area.rewritable else LinesDisplay
    return kind(stats, area, now)
