"""Displays the `remote` calls that a cell waits for and that take long: one line for each, with a Cancel button.

A cell has one such display, however many calls it makes, one after the other or from several threads and tasks. It
becomes static text when the cell ends, or when no call has been running for a while.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from nbfn.jupyter.cell_output import OutputArea
from nbfn.jupyter.views.calls.blocking_call import BlockingSink
from nbfn.jupyter.views.display_registry import ShownCall
from nbfn.jupyter.views.status_style import box_html, look_of, mark_html, mark_of
from nbfn.jupyter.views.widget_output import Actions, close_later, publish
from nbfn.protocol.call_states import CallState, InputCounts, counts_text
from nbfn.runtime.time_span import format_span

#: Calls that are displayed at the same time; further ones are only counted.
MOST_ROWS = 8
#: Seconds without a running call after which the display becomes static.
QUIET = 1.0


class CellCalls:
    """The display of the calls of one cell.

    Args:
        area: The cell.
        now: The clock.
    """

    def __init__(self, area: OutputArea, now: Callable[[], float]) -> None:
        self.area = area
        self._now = now
        self._display_id = uuid.uuid4().hex
        self._rows: dict[str, BlockingSink] = {}
        self._counts = dict.fromkeys(("succeeded", "failed", "cancelled"), 0)
        self._last: BlockingSink | None = None  # the call that ended last
        self._names: set[str] = set()
        self._began = self._changed = now()
        self._published = self._static = False
        self._widget: Any = None
        self._line = ""  # in a terminal
        self._turn = threading.RLock()  # the client's thread, the ticker and cells use this object

    # --- rows ---

    def add(self, sinks: list[BlockingSink]) -> None:
        """Display calls from now on, except those that have ended."""
        with self._turn:
            for sink in sinks:
                sink.board = self
            live = [sink for sink in sinks if sink.ended is None]
            if not live:
                return
            if not self._rows and self._last is None:
                self._began = live[0].began
            self._rows.update((sink.call, sink) for sink in live)
            self._names.update(sink.title for sink in live)
            self._static = False
            self._open()

    def show_end(self, sink: BlockingSink) -> None:
        """Count a call that has ended."""
        with self._turn:
            if self._rows.pop(sink.call, None) is None:
                return
            self._counts[str(sink.state)] += 1
            self._last, self._changed = sink, self._now()
            if not self.area.widgets and not self._rows:
                self._end()  # at once, since the cell may end now
            elif self._widget is not None:
                self._update(self._now())

    @property
    def ended(self) -> bool:
        """Whether the display is static."""
        return self._static

    def show(self, now: float) -> None:
        """Update the display.

        Args:
            now: The time.
        """
        with self._turn:
            if self._static:
                return
            for sink in self._rows.values():
                sink.ask(now)
            if self._rows or now - self._changed < QUIET:
                self._update(now)
            else:
                self._end()

    def finish_cell(self) -> None:
        """Make the display static, because its cell has ended, unless calls go on in threads."""
        with self._turn:
            if not self._rows and not self._static:
                self._end()
            elif self._rows and self._widget is None and self.area.notebook:
                self._publish()  # the last state before the notebook may be saved

    # --- the display ---

    def _open(self) -> None:
        if not self.area.notebook:
            self._update(self._now())
            return
        if self.area.widgets and self._widget is None:
            self.area.run(self._make)
        elif self._widget is not None:
            self._update(self._now())
            return
        self._publish()

    def _make(self) -> None:
        try:
            from nbfn.jupyter.views.calls.widget import CellCallsWidget
        except ImportError:  # without anywidget, use text
            return
        actions: Actions = {"cancel": self._cancel}
        self._widget = CellCallsWidget(self._view(self._now()), actions)

    def _cancel(self, said: Mapping[str, Any]) -> None:
        """Handle a button, on the thread that handles the front end's messages."""
        sink = self._rows.get(str(said.get("call")))
        if sink is not None:
            sink.cancelling = True
            sink.cancel()

    def _update(self, now: float) -> None:
        if self._widget is not None:
            self.area.run(self._widget.show, self._view(now))
        elif self.area.rewritable and self._rows and not self._in_a_line():
            self._line = next(iter(self._rows.values())).line(now)
            more = len(self._rows) - 1
            self._line += f" · {more:,} more" if more else ""
            self.area.write("stdout", f"\r\x1b[2K{self._line[:120]}")

    def _end(self) -> None:
        self._static = True
        if self._last is None:
            return
        if not self.area.notebook:
            self.hide_line()
            self.area.write("stdout", f"{self._text(self._now())}\n")
            self._reset()
            return
        widget, self._widget = self._widget, None
        self._publish()
        if widget is not None:
            close_later(widget, self.area)

    def _reset(self) -> None:
        """Count from zero: a terminal shows the calls of the next cell in a line of their own."""
        self._counts = dict.fromkeys(self._counts, 0)
        self._last, self._names = None, set()

    def _publish(self) -> None:
        now = self._now()
        text, html = self._text(now), self._html(now)
        shown = next(iter(self._rows.values()), self._last)
        call = ShownCall(shown.call, "remote", ended=self._static) if shown is not None else None
        publish(
            self.area, self._display_id, self._widget, text, html, update=self._published, call=call
        )
        self._published = True

    # --- a terminal ---

    def hide_line(self) -> None:
        """Clear the line of a terminal, before other output."""
        if self._line:
            self._line = ""
            self.area.write("stdout", "\r\x1b[2K")

    def _in_a_line(self) -> bool:
        """Whether a call has written the beginning of a line, which must not be overwritten."""
        return any(sink.wrote_part for sink in self._rows.values())

    # --- contents ---

    def _shown(self) -> list[BlockingSink]:
        return list(self._rows.values())[:MOST_ROWS]

    def _more(self) -> str:
        more = len(self._rows) - MOST_ROWS
        return f"and {more:,} more" if more > 0 else ""

    def _summary(self, now: float) -> tuple[str, str]:
        """Return the state and the text of the calls that have ended; empty texts if there are none."""
        last = self._last
        total = sum(self._counts.values())
        if last is None:
            return "", ""
        if total == 1:
            return last.shown_state, " · ".join([last.title, *last.parts(now)])
        name = last.title if len(self._names) == 1 else f"{total:,} calls"
        counts = InputCounts(total, **self._counts)
        state = next(
            (s for s in (CallState.FAILED, CallState.CANCELLED) if self._counts[s]),
            CallState.SUCCEEDED,
        )
        took = format_span((last.ended or now) - self._began)
        return look_of(state, counts), " · ".join([name, counts_text(counts), took])

    def _text(self, now: float) -> str:
        lines = [sink.line(now) for sink in self._shown()]
        lines += [f"  {more}"] if (more := self._more()) else []
        state, summary = self._summary(now)
        lines += [f"{mark_of(state)} {summary}"] if summary else []
        return "\n".join(lines)

    def _html(self, now: float) -> str:
        rows = [sink.html(now) for sink in self._shown()]
        rows += [f"<div>{escape(more)}</div>"] if (more := self._more()) else []
        state, summary = self._summary(now)
        if summary:
            title, _, rest = summary.partition(" · ")
            rows.append(f"<div>{mark_html(state)} <b>{escape(title)}</b> · {escape(rest)}</div>")
        return box_html(*rows)

    def _view(self, now: float) -> dict[str, Any]:
        state, summary = self._summary(now)
        return {
            "rows": [sink.view(now) for sink in self._shown()],
            "more": self._more(),
            "ended": {"state": state, "mark": mark_of(state), "text": summary} if summary else None,
        }
