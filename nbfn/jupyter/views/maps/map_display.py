"""Ways to show a map: a widget for a page, lines for papermill, one rewritten line for a terminal."""

from __future__ import annotations

import contextlib
import os
import uuid
from typing import Protocol

from nbfn.jupyter.cell_output import OutputArea
from nbfn.jupyter.views.maps import static_render
from nbfn.jupyter.views.maps.map_stats import MapStats
from nbfn.jupyter.views.widget_output import SAVED_STATIC, Actions, close_later, publish


class MapDisplay(Protocol):
    """One way to show a map: a widget, lines, or one line."""

    def show(self, stats: MapStats, now: float) -> None:
        """Show how far it is."""

    def end(self, stats: MapStats, now: float) -> None:
        """Show the end, once."""

    def show_late_errors(self, stats: MapStats, now: float) -> None:
        """Show the errors, which came to be known after the end."""


class WidgetDisplay:
    """A live widget that becomes static HTML at the end, so that a saved notebook has no dead one.

    Where a Jupyter server takes live widgets out of what it saves (`nbfn.jupyter.server.pre_save_hook`), a map that has
    inputs to run again keeps its widget, for the buttons.
    """

    def __init__(self, stats: MapStats, area: OutputArea, now: float, actions: Actions) -> None:
        # A tenth of a second, only for those who see it.
        from nbfn.jupyter.views.maps.widget import MapWidget

        self._area = area
        self._shown = uuid.uuid4().hex
        self._retries = "retry" in actions
        self._widget: MapWidget | None = MapWidget(stats, now, actions)
        self._publish(stats, now, update=False)

    def _publish(self, stats: MapStats, now: float, *, update: bool) -> None:
        text = static_render.text(stats, now, logged=stats.ended is not None)
        html = static_render.html(stats, now)
        publish(self._area, self._shown, self._widget, text, html, update=update)

    def show(self, stats: MapStats, now: float) -> None:
        """Send what changed."""
        if self._widget is not None:
            self._widget.show(stats, now)

    def end(self, stats: MapStats, now: float) -> None:
        """Replace the widget by a snapshot, unless its buttons are of use still."""
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
    """A line that stays as it is: of a map in the background, where nothing can be rewritten."""

    def __init__(self, stats: MapStats, area: OutputArea, now: float) -> None:
        area.write("stdout", f"{static_render.line(stats, now)}\n")

    def show(self, stats: MapStats, now: float) -> None:
        """Show nothing: other cells have run."""

    def end(self, stats: MapStats, now: float) -> None:
        """Show nothing."""

    def show_late_errors(self, stats: MapStats, now: float) -> None:
        """Show nothing."""


class LinesDisplay:
    """Lines for papermill and nbconvert: one now, one every ten percent, one at the end.

    While the total is not known there is one at 10, 100, 1,000 and so on.
    """

    def __init__(self, stats: MapStats, area: OutputArea, now: float) -> None:
        self._area = area
        self._reached = _reached(stats)
        area.write("stdout", f"{static_render.line(stats, now)}\n")

    def show(self, stats: MapStats, now: float) -> None:
        """Write a line when another tenth is done."""
        if (reached := _reached(stats)) != self._reached:
            self._reached = reached
            self._area.write("stdout", f"{static_render.line(stats, now)}\n")

    def end(self, stats: MapStats, now: float) -> None:
        """Write what was printed, the last line and the errors."""
        self._area.write("stdout", static_render.log_text(stats))
        self._area.write("stdout", f"{static_render.text(stats, now)}\n")

    def show_late_errors(self, stats: MapStats, now: float) -> None:
        """Write the errors."""
        self._area.write("stdout", f"{static_render.errors(stats)}\n")


def _reached(stats: MapStats) -> tuple[bool, int]:
    """Return whether the total is known, and how many tenths of it, or else how many digits, are done."""
    if stats.expected is None:
        return False, len(str(stats.done))
    return True, 10 * stats.done // stats.expected if stats.expected else 0


class TerminalDisplay:
    """One line, rewritten in place."""

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
        """Leave the last line and the errors."""
        self.show(stats, now)
        self._area.write("stdout", f"\r\x1b[2K{static_render.text(stats, now)}\n")

    def show_late_errors(self, stats: MapStats, now: float) -> None:
        """Write the errors."""
        self._area.write("stdout", f"{static_render.errors(stats)}\n")


class NullDisplay:
    """Stands where a display could not be made."""

    def show(self, stats: MapStats, now: float) -> None:
        """Show nothing."""

    def end(self, stats: MapStats, now: float) -> None:
        """Show nothing."""

    def show_late_errors(self, stats: MapStats, now: float) -> None:
        """Show nothing."""


def display_for(
    stats: MapStats, area: OutputArea, now: float, actions: Actions, *, background: bool = False
) -> MapDisplay:
    """Return the richest form that the place of the call can show.

    Args:
        stats: The map.
        area: Where it is shown.
        now: The time.
        actions: What its buttons do, by their names.
        background: Whether no cell waits for it.
    """
    if area.widgets:
        with contextlib.suppress(ImportError):  # no anywidget: text will do
            return WidgetDisplay(stats, area, now, actions)
    kind = StaticDisplay if background else TerminalDisplay if area.rewritable else LinesDisplay
    return kind(stats, area, now)
