"""What a notebook shows of a call: prints under its cell, and how far a map is.

The client's thread tells sinks what happened; one ticker thread shows it, four times a second at
most, as a widget, as lines of text or as one rewritten line. A call never waits for this.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import snapshot
from .boards import Board, Nothing, board_for
from .display import Place
from .handle import Board as HandleBoard
from .handle import HandleSink
from .tally import Tally
from .voice import Voice

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
#: Spawned calls of this kernel whose state is kept for displays of their handles.
HANDLES_KEPT = 1000
#: Seconds the end of a cell waits for the last word of a map that it ran.
LAST_WORD = 1.0


class PrintSink:
    """Shows what one call prints under the cell that made it."""

    def __init__(self, place: Place) -> None:
        self._voice = Voice(place)

    def emission(self, e: Emission) -> None:
        """Show it."""
        self._voice.emission(e)

    def progress(self, p: Progress) -> None:
        """Nothing: only maps show progress."""

    def outputs(self, done: int, failed: int, total: int | None) -> None:
        """Nothing."""

    def failed(self, index: int, error: BaseException) -> None:
        """See `CallSink.failed`; the error itself reaches the caller."""

    def finished(self, status: str, error: BaseException | None) -> None:
        """Show the rest of a line; the caller gets the error."""
        self._voice.end()


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
        """Take the exact counters."""
        with self.lock:
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


class NotebookObserver:
    """Gives every call its sink. Progress can be turned off for all, or for some Functions."""

    def __init__(self, *, progress: bool = True, now: Callable[[], float] = time.monotonic) -> None:
        self.progress = progress
        self.quiet: set[tuple[str, str]] = set()
        #: The sinks of spawned calls, by the call's id; the latest ones.
        self.handles: dict[str, HandleSink] = {}
        self._boards: list[HandleBoard] = []
        self._now = now
        self._running: list[MapSink] = []
        self._wake = threading.Condition()
        self._ticker: threading.Thread | None = None

    def call_started(self, call: CallView) -> CallSink | None:
        """Return the sink of a call, bound to the cell that runs now. Never raises."""
        try:
            place = Place()
            if call.kind == "spawn":
                known = self.handles.get(call.id)  # followed again: it goes on where it began
                return known or self._hold(HandleSink(call, place, self._now))
            if call.kind != "map":
                return PrintSink(place)
            sink = MapSink(call, place, self._now)
            if self.progress and (call.app, call.function) not in self.quiet:
                self._watch(sink)
        except Exception:
            log.exception("a call will not be shown in the notebook")
            return None
        return sink

    def interrupted(self, call: str, name: str) -> bool:
        """Say in the cell what another interrupt does; see `nbfn.observe.interrupted`."""
        place = Place()
        if place.notebook:
            said = f"cancelling {name} ({call[:9]}…); interrupt again at once to let it go on"
            place.write("stderr", f"■ {said}\n")
        return place.notebook

    def now(self) -> float:
        """Return the time by which calls are shown."""
        return self._now()

    def _hold(self, sink: HandleSink) -> HandleSink:
        self.handles[sink.spawned.call] = sink
        while len(self.handles) > HANDLES_KEPT:
            del self.handles[next(iter(self.handles))]
        return sink

    def keep_showing(self, board: HandleBoard) -> None:
        """Have a display of a spawned call look again and again until the call ends."""
        with self._wake:
            self._boards.append(board)
            self._start_ticking()

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
            self._start_ticking()

    def _start_ticking(self) -> None:
        if self._ticker is None:
            self._ticker = threading.Thread(target=self._tick, name="nbfn-progress", daemon=True)
            self._ticker.start()
        self._wake.notify()

    def _tick(self) -> None:
        while True:
            with self._wake:
                self._boards = [board for board in self._boards if not board.ended]
                while not (self._unfinished() or self._boards):
                    self._wake.wait()
                sinks, boards = self._unfinished(), list(self._boards)
            for sink in sinks:
                self._show(sink)
            for board in boards:
                board.show(self._now())
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
                sink.board = self._board_for(sink, now)
            else:
                sink.place.run(sink.board.show, sink.tally, now)

    @staticmethod
    def _board_for(sink: MapSink, now: float) -> Board:
        made: Board | None = sink.place.run(board_for, sink.tally, sink.place, now, sink.cancel)
        return made or Nothing()  # tried once, not four times a second
