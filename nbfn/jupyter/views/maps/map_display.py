"""Ways to show a map: a widget for a page, lines for papermill, one rewritten line for a terminal."""

from __future__ import annotations

import contextlib
import os
import uuid
from typing import Protocol

from nbfn.jupyter.cell_output import Place
from nbfn.jupyter.views.maps import static_render
from nbfn.jupyter.views.maps.map_stats import Tally
from nbfn.jupyter.views.widget_output import SAVED_STATIC, Actions, close_later, publish


class Board(Protocol):
    """One way to show a map: a widget, lines, or one line."""

    def show(self, tally: Tally, now: float) -> None:
        """Show how far it is."""

    def end(self, tally: Tally, now: float) -> None:
        """Show the end, once."""

    def amend(self, tally: Tally, now: float) -> None:
        """Show the errors, which came to be known after the end."""


class WidgetBoard:
    """A live widget that becomes static HTML at the end, so that a saved notebook has no dead one.

    Where a Jupyter server takes live widgets out of what it saves (`nbfn.jupyter.server.pre_save_hook`), a map that has
    inputs to run again keeps its widget, for the buttons.
    """

    def __init__(self, tally: Tally, place: Place, now: float, actions: Actions) -> None:
        # A tenth of a second, only for those who see it.
        from nbfn.jupyter.views.maps.widget import MapProgress

        self._place = place
        self._shown = uuid.uuid4().hex
        self._retries = "retry" in actions
        self._widget: MapProgress | None = MapProgress(tally, now, actions)
        self._publish(tally, now, update=False)

    def _publish(self, tally: Tally, now: float, *, update: bool) -> None:
        text = static_render.text(tally, now, logged=tally.ended is not None)
        html = static_render.html(tally, now)
        publish(self._place, self._shown, self._widget, text, html, update=update)

    def show(self, tally: Tally, now: float) -> None:
        """Send what changed."""
        if self._widget is not None:
            self._widget.show(tally, now)

    def end(self, tally: Tally, now: float) -> None:
        """Replace the widget by a snapshot, unless its buttons are of use still."""
        widget = self._widget
        if widget is not None and not self._keeps(tally):
            self._widget = None
        if self._widget is not None:
            self._widget.show(tally, now, at_once=True)
        self._publish(tally, now, update=True)
        if widget is not None and self._widget is None:
            close_later(widget, self._place)

    def _keeps(self, tally: Tally) -> bool:
        return self._retries and bool(tally.repeatable) and SAVED_STATIC in os.environ

    amend = end


class StaticBoard:
    """A line that stays as it is: of a map in the background, where nothing can be rewritten."""

    def __init__(self, tally: Tally, place: Place, now: float) -> None:
        place.write("stdout", f"{static_render.line(tally, now)}\n")

    def show(self, tally: Tally, now: float) -> None:
        """Show nothing: other cells have run."""

    def end(self, tally: Tally, now: float) -> None:
        """Show nothing."""

    def amend(self, tally: Tally, now: float) -> None:
        """Show nothing."""


class LinesBoard:
    """Lines for papermill and nbconvert: one now, one every ten percent, one at the end.

    While the total is not known there is one at 10, 100, 1,000 and so on.
    """

    def __init__(self, tally: Tally, place: Place, now: float) -> None:
        self._place = place
        self._reached = _reached(tally)
        place.write("stdout", f"{static_render.line(tally, now)}\n")

    def show(self, tally: Tally, now: float) -> None:
        """Write a line when another tenth is done."""
        if (reached := _reached(tally)) != self._reached:
            self._reached = reached
            self._place.write("stdout", f"{static_render.line(tally, now)}\n")

    def end(self, tally: Tally, now: float) -> None:
        """Write what was printed, the last line and the errors."""
        self._place.write("stdout", static_render.log_text(tally))
        self._place.write("stdout", f"{static_render.text(tally, now)}\n")

    def amend(self, tally: Tally, now: float) -> None:
        """Write the errors."""
        self._place.write("stdout", f"{static_render.errors(tally)}\n")


def _reached(tally: Tally) -> tuple[bool, int]:
    """Return whether the total is known, and how many tenths of it, or else how many digits, are done."""
    if tally.whole is None:
        return False, len(str(tally.done))
    return True, 10 * tally.done // tally.whole if tally.whole else 0


class TerminalBoard:
    """One line, rewritten in place."""

    def __init__(self, tally: Tally, place: Place, now: float) -> None:
        self._place = place
        self._lines = 0
        self.show(tally, now)

    def show(self, tally: Tally, now: float) -> None:
        """Write new log lines, then the line again below them."""
        fresh = min(tally.lines - self._lines, len(tally.log))
        above = "".join(f"{row}\n" for row in list(tally.log)[len(tally.log) - fresh :])
        self._lines = tally.lines
        self._place.write("stdout", f"\r\x1b[2K{above}{static_render.line(tally, now)[:120]}")

    def end(self, tally: Tally, now: float) -> None:
        """Leave the last line and the errors."""
        self.show(tally, now)
        self._place.write("stdout", f"\r\x1b[2K{static_render.text(tally, now)}\n")

    def amend(self, tally: Tally, now: float) -> None:
        """Write the errors."""
        self._place.write("stdout", f"{static_render.errors(tally)}\n")


class Nothing:
    """Stands where a board could not be made."""

    def show(self, tally: Tally, now: float) -> None:
        """Show nothing."""

    def end(self, tally: Tally, now: float) -> None:
        """Show nothing."""

    def amend(self, tally: Tally, now: float) -> None:
        """Show nothing."""


def board_for(
    tally: Tally, place: Place, now: float, actions: Actions, *, background: bool = False
) -> Board:
    """Return the richest form that the place of the call can show.

    Args:
        tally: The map.
        place: Where it is shown.
        now: The time.
        actions: What its buttons do, by their names.
        background: Whether no cell waits for it.
    """
    if place.widgets:
        with contextlib.suppress(ImportError):  # no anywidget: text will do
            return WidgetBoard(tally, place, now, actions)
    kind = StaticBoard if background else TerminalBoard if place.rewritable else LinesBoard
    return kind(tally, place, now)
