"""What a notebook shows of a call: prints under its cell, and how far a map is.

The client's thread tells sinks what happened; one ticker thread shows it, four times a second at
most, as a widget, as lines of text or as one rewritten line. A call never waits for this.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from . import snapshot
from .display import Place
from .tally import Tally

if TYPE_CHECKING:
    from nbfn.observe import CallSink, CallView
    from nbfn.wire.messages import Emission, Progress

log = logging.getLogger("nbfn.client")

#: Seconds a map runs before its progress appears.
DELAY = 0.5
#: Seconds between two updates.
INTERVAL = 0.25
#: Displays of a map that are shown under the cell; further ones are only counted.
SHOWN_DISPLAYS = 20
#: Seconds the end of a cell waits for the last word of a map that it ran.
LAST_WORD = 1.0


class Board(Protocol):
    """One way to show a map: a widget, lines, or one line."""

    def show(self, tally: Tally, now: float) -> None:
        """Show how far it is."""

    def end(self, tally: Tally, now: float) -> None:
        """Show the end, once."""

    def amend(self, tally: Tally, now: float) -> None:
        """Show the errors, which came to be known after the end."""


class PrintSink:
    """Shows what one call prints under the cell that made it."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def emission(self, e: Emission) -> None:
        """Show it."""
        self._place.emit(e.channel, e.data)

    def progress(self, p: Progress) -> None:
        """Nothing: only maps show progress."""

    def outputs(self, done: int, failed: int, total: int | None) -> None:
        """Nothing."""

    def finished(self, status: str, error: BaseException | None) -> None:
        """Nothing: the caller gets the error."""


class MapSink:
    """Keeps the tally of one map. Every method is called by the client's thread."""

    def __init__(self, call: CallView, place: Place, now: Callable[[], float]) -> None:
        self.tally = Tally(
            call.function, call.app, call.version, call.id, began=now(), total=call.total
        )
        self.place = place
        self._cancel = call.cancel
        self._cancelled = False
        self.late = False  # errors came to be known after the end
        self.board: Board | None = None
        self.ended = threading.Event()
        self._now = now
        self._displays = 0
        # The ticker shows while the client's thread counts; the board must not see half a change.
        self.lock = threading.RLock()

    def emission(self, e: Emission) -> None:
        """Put it in the log; a few displays go under the cell."""
        if e.channel in ("stdout", "stderr"):
            with self.lock:
                self.tally.printed(e.data.decode("utf-8", "replace"), e.index)
        elif e.channel == "display":
            self._displays += 1
            if self._displays <= SHOWN_DISPLAYS:
                self.place.emit(e.channel, e.data)
            else:
                with self.lock:
                    self.tally.printed("(display not shown)\n", e.index)
        elif e.channel == "update":
            self.place.emit(e.channel, e.data)
        # A `clear` of one input must not wipe what the others show.

    def progress(self, p: Progress) -> None:
        """Take where the inputs without an outcome are."""
        with self.lock:
            self.tally.placed(
                queued=p.queued,
                running=p.running,
                retrying=p.retrying,
                workers=p.workers,
                starting=p.starting,
                why=p.waiting_for,
            )

    def outputs(self, done: int, failed: int, total: int | None) -> None:
        """Take the exact counters. Inputs colour the strip in the order in which they end."""
        with self.lock:
            fresh_failed = failed - self.tally.failed
            for index in range(self.tally.done, done):
                self.tally.outcome(index, failed=index >= done - fresh_failed)
            self.tally.counted(done, failed, total, self._now())

    def failed(self, index: int, error: BaseException) -> None:
        """Add one input's error to its group. Called by whoever unpacks the outcomes."""
        with self.lock:
            self.tally.fault(type(error).__name__, str(error), where(error), index)
            self.late = self.ended.is_set()

    def cancel(self) -> None:
        """Cancel the call; called by the page, on the thread of its messages."""
        self._cancelled = True
        self._cancel()

    def finished(self, status: str, error: BaseException | None) -> None:
        """Show the last word, before whoever waits for the map goes on."""
        with self.lock:
            if error is not None and not self.tally.groups and status == "failure":
                self.tally.fault(type(error).__name__, str(error), where(error), 0)
            self.tally.finish(self._last_state(status), "", self._now())
        try:
            if self.board is not None:
                self.place.run(self.board.end, self.tally, self._now())
            elif self.tally.lines:
                self.place.write("stdout", snapshot.log_text(self.tally))
        finally:
            self.ended.set()

    def _last_state(self, status: str) -> str:
        if self._cancelled or status == "terminated":
            return "cancelled"
        complete = self.tally.total is not None and self.tally.done >= self.tally.total
        # A map that returns its exceptions has done its work although some of it failed.
        return "done" if status == "success" or (complete and self.tally.done > 1) else "failed"

    def amend(self) -> None:
        """Show errors that came to be known after the end."""
        with self.lock:
            late, self.late = self.late, False
        if late and self.board is not None:
            self.place.run(self.board.amend, self.tally, self._now())


def where(error: BaseException) -> str:
    """Return the user's line that raised: file and number of the innermost frame."""
    from IPython.core.getipython import get_ipython

    trace = error.__traceback__
    found = None
    while trace is not None:
        if not trace.tb_frame.f_locals.get("__tracebackhide__"):
            found = (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    if found is None:
        return ""
    shell: Any = get_ipython()
    named = shell.compile.format_code_name(found[0]) if shell is not None else None
    place = " ".join(named) if named else found[0].rpartition("/")[2]
    return f"{place}, line {found[1]}"


# --- three ways to show a map -------------------------------------------------------------------


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


def board_for(sink: MapSink, now: float) -> Board:
    """Return the richest form that the place of the call can show."""
    tally, place = sink.tally, sink.place
    if place.widgets:
        with contextlib.suppress(ImportError):  # no anywidget: text will do
            return WidgetBoard(tally, place, now, sink.cancel)
    kind = TerminalBoard if place.rewritable else LinesBoard
    return kind(tally, place, now)


# --- who is told of calls -----------------------------------------------------------------------


class NotebookObserver:
    """Gives every call its sink. Progress can be turned off for all, or for some Functions."""

    def __init__(self, *, progress: bool = True, now: Callable[[], float] = time.monotonic) -> None:
        self.progress = progress
        self.quiet: set[tuple[str, str]] = set()
        self._now = now
        self._running: list[MapSink] = []
        self._wake = threading.Condition()
        self._ticker: threading.Thread | None = None

    def call_started(self, call: CallView) -> CallSink | None:
        """Return the sink of a call, bound to the cell that runs now. Never raises."""
        try:
            place = Place()
            if call.kind != "map":
                return PrintSink(place)
            sink = MapSink(call, place, self._now)
            if self.progress and (call.app, call.function) not in self.quiet:
                self._watch(sink)
        except Exception:
            log.exception("a call will not be shown in the notebook")
            return None
        return sink

    def settle(self, result: Any = None) -> None:
        """Wait, shortly, until the maps of the cell that ends have said their last word.

        What comes after the end of a cell does not reach a notebook that is run without a page.

        Args:
            result: IPython's result of the cell.
        """
        failed = getattr(result, "error_in_exec", None) is not None
        deadline = self._now() + LAST_WORD
        cell = Place().cell
        for sink in self._running_in(cell):
            total = sink.tally.total
            if failed or (total is not None and sink.tally.done >= total):
                sink.ended.wait(max(0.0, deadline - self._now()))
            sink.amend()
        with self._wake:
            self._running = [sink for sink in self._running if not sink.ended.is_set()]

    def _running_in(self, cell: str) -> list[MapSink]:
        with self._wake:
            return [sink for sink in self._running if sink.place.cell == cell]

    def _watch(self, sink: MapSink) -> None:
        with self._wake:
            self._running.append(sink)
            if self._ticker is None:
                self._ticker = threading.Thread(
                    target=self._tick, name="nbfn-progress", daemon=True
                )
                self._ticker.start()
            self._wake.notify()

    def _tick(self) -> None:
        while True:
            with self._wake:
                while not self._unfinished():
                    self._wake.wait()
                sinks = self._unfinished()
            for sink in sinks:
                self._show(sink)
            time.sleep(INTERVAL)

    def _unfinished(self) -> list[MapSink]:
        return [sink for sink in self._running if not sink.ended.is_set()]

    def _show(self, sink: MapSink) -> None:
        now = self._now()
        if sink.board is None:
            if sink.tally.elapsed(now) < DELAY:
                return
            if sink.place.widgets:
                sink.place.run(importlib.import_module, f"{__package__}.widget")
        with sink.lock:  # held for milliseconds: the client's thread may wait for it
            if sink.tally.ended is not None:
                return
            if sink.board is None:
                sink.board = sink.place.run(board_for, sink, now) or _Nothing()
            else:
                sink.place.run(sink.board.show, sink.tally, now)


class _Nothing:
    """Stands where a board could not be made; tried once, not four times a second."""

    def show(self, tally: Tally, now: float) -> None: ...

    def end(self, tally: Tally, now: float) -> None: ...

    def amend(self, tally: Tally, now: float) -> None: ...
