"""Ways to show a map: a widget for a page, lines for papermill, one rewritten line for a terminal."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from typing import Protocol

from . import snapshot
from .display import Place
from .tally import Tally


class Board(Protocol):
    """One way to show a map: a widget, lines, or one line."""

    def show(self, tally: Tally, now: float) -> None:
        """Show how far it is."""

    def end(self, tally: Tally, now: float) -> None:
        """Show the end, once."""

    def amend(self, tally: Tally, now: float) -> None:
        """Show the errors, which came to be known after the end."""


class WidgetBoard:
    """A live widget that becomes static HTML at the end, so that a saved notebook has no dead one."""

    def __init__(self, tally: Tally, place: Place, now: float, cancel: Callable[[], None]) -> None:
        from .widget import MapProgress  # a tenth of a second, only for those who see it

        self._place = place
        self._shown = uuid.uuid4().hex
        self._widget = MapProgress(tally, now, cancel)
        bundle = self._widget._repr_mimebundle_()
        data = dict(bundle[0]) if bundle else {}
        data["text/plain"] = snapshot.line(tally, now)
        place.publish(data, transient={"display_id": self._shown})

    def show(self, tally: Tally, now: float) -> None:
        """Send what changed."""
        self._widget.show(tally, now)

    def end(self, tally: Tally, now: float) -> None:
        """Replace the widget by a snapshot."""
        self.amend(tally, now)
        self._widget.layout.close()
        self._widget.close()

    def amend(self, tally: Tally, now: float) -> None:
        """Replace what is shown by a new snapshot."""
        text = snapshot.text(tally, now, logged=True)
        data = {"text/plain": text, "text/html": snapshot.html(tally, now)}
        self._place.publish(data, transient={"display_id": self._shown}, update=True)


class LinesBoard:
    """Lines for papermill and nbconvert: one now, one every ten percent, one at the end."""

    def __init__(self, tally: Tally, place: Place, now: float) -> None:
        self._place = place
        self._tenth = self._reached(tally)
        place.write("stdout", f"{snapshot.line(tally, now)}\n")

    def _reached(self, tally: Tally) -> int:
        return 10 * tally.done // tally.total if tally.total else 0

    def show(self, tally: Tally, now: float) -> None:
        """Write a line when another tenth is done."""
        if (reached := self._reached(tally)) > self._tenth:
            self._tenth = reached
            self._place.write("stdout", f"{snapshot.line(tally, now)}\n")

    def end(self, tally: Tally, now: float) -> None:
        """Write what was printed, the last line and the errors."""
        self._place.write("stdout", snapshot.log_text(tally))
        self._place.write("stdout", f"{snapshot.text(tally, now)}\n")

    def amend(self, tally: Tally, now: float) -> None:
        """Write the errors."""
        self._place.write("stdout", f"{snapshot.errors(tally)}\n")


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
        self._place.write("stdout", f"\r\x1b[2K{above}{snapshot.line(tally, now)[:120]}")

    def end(self, tally: Tally, now: float) -> None:
        """Leave the last line and the errors."""
        self.show(tally, now)
        self._place.write("stdout", f"\r\x1b[2K{snapshot.text(tally, now)}\n")

    def amend(self, tally: Tally, now: float) -> None:
        """Write the errors."""
        self._place.write("stdout", f"{snapshot.errors(tally)}\n")


class Nothing:
    """Stands where a board could not be made."""

    def show(self, tally: Tally, now: float) -> None:
        """Show nothing."""

    def end(self, tally: Tally, now: float) -> None:
        """Show nothing."""

    def amend(self, tally: Tally, now: float) -> None:
        """Show nothing."""


def board_for(tally: Tally, place: Place, now: float, cancel: Callable[[], None]) -> Board:
    """Return the richest form that the place of the call can show."""
    if place.widgets:
        with contextlib.suppress(ImportError):  # no anywidget: text will do
            return WidgetBoard(tally, place, now, cancel)
    kind = TerminalBoard if place.rewritable else LinesBoard
    return kind(tally, place, now)
