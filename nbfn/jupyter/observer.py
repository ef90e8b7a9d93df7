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

from nbfn.client.call_observer import CallObserver
from nbfn.jupyter.cell_output import Place
from nbfn.jupyter.views.calls.call_display import Board as HandleBoard
from nbfn.jupyter.views.calls.call_sink import HandleSink
from nbfn.jupyter.views.calls.print_sink import PrintSink
from nbfn.jupyter.views.maps.map_sink import MapSink

if TYPE_CHECKING:
    from nbfn.client.call_observer import CallSink, CallView
    from nbfn.client.calls.map_result import MapResult

log = logging.getLogger("nbfn.client")

#: Seconds a map runs before its progress appears.
DELAY = 0.5
#: Seconds between two updates.
INTERVAL = 0.25
#: Maps of this kernel whose failures can be run again.
MAPS_KEPT = 50
#: Bytes of failures, inputs and errors, of all those maps.
FAILURES_KEPT = 256 * 1024 * 1024
#: Detached maps whose results are kept.
DETACHED_KEPT = 20
#: Spawned calls of this kernel whose state is kept for displays of their handles.
HANDLES_KEPT = 1000
#: Seconds the end of a cell waits for the last word of a map that it ran.
LAST_WORD = 1.0


class NotebookObserver(CallObserver):
    """Gives every call its sink. Progress can be turned off for all, or for some Functions."""

    def __init__(self, *, progress: bool = True, now: Callable[[], float] = time.monotonic) -> None:
        self.progress = progress
        self.quiet: set[tuple[str, str]] = set()
        #: The sinks of spawned calls, by the call's id; the latest ones.
        self.handles: dict[str, HandleSink] = {}
        self._boards: list[HandleBoard | PrintSink] = []
        self._pageless: list[HandleBoard] = []  # whose end no cell has said yet
        self._now = now
        self._running: list[MapSink] = []
        #: The latest maps of this kernel, by the call's id.
        self.maps: dict[str, MapSink] = {}
        #: Maps whose loop was left to itself, by the call's id: nobody else has their results.
        self.detached: dict[str, MapResult[Any]] = {}
        #: Failures that ran again while the list of results was not bound yet.
        self.loose: list[MapSink] = []
        self._wake = threading.Condition()
        self._ticker: threading.Thread | None = None

    def call_started(self, call: CallView) -> CallSink | None:
        """Return the sink of a call, bound to the cell that runs now. Never raises."""
        try:
            place = Place()
            if call.kind == "spawn":
                known = self.handles.get(call.id)  # followed again: it goes on where it began
                if known is None:
                    return self._hold(HandleSink(call, place, self._now, self.keep_showing))
                known.heard_at(place)
                return known
            if call.kind != "map":
                return PrintSink(call, place, self)
            sink = self.maps[call.id] = MapSink(call, place, self)
            while len(self.maps) > MAPS_KEPT:
                del self.maps[next(iter(self.maps))]
            self._forget_failures()
            if self.shows(sink):
                self._watch(sink)
        except Exception:
            log.exception("a call will not be shown in the notebook")
            return None
        return sink

    def _forget_failures(self) -> None:
        """Keep what failed of the latest maps, as long as it is not too much."""
        room = FAILURES_KEPT
        for sink in reversed(list(self.maps.values())):
            room -= sink.weight
            if room < 0:
                sink.forget()

    def interrupted(self, call: str, name: str) -> bool:
        """Say in the cell what another interrupt does; see `nbfn.client.call_observer.interrupted`."""
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
            if board.pageless and board not in self._pageless:
                self._pageless.append(board)
        self.look_after(board)

    def look_after(self, board: HandleBoard | PrintSink) -> None:
        """Have something look again and again until it has ended."""
        with self._wake:
            if board not in self._boards:
                self._boards.append(board)
            self._start_ticking()

    def shows(self, sink: MapSink) -> bool:
        """Whether progress of this map is wanted."""
        return self.progress and (sink.tally.app, sink.tally.name) not in self.quiet

    def hold(self, results: MapResult[Any]) -> None:
        """Keep the results of a map whose loop has been left."""
        self.detached[results.call_id] = results
        while len(self.detached) > DETACHED_KEPT:
            del self.detached[next(iter(self.detached))]

    def show_at_once(self, sink: MapSink) -> None:
        """Show a map in the cell that runs now, also when it is shown elsewhere."""
        sink.show_at(Place())

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
            if sink.in_background:
                continue
            if failed or (total is not None and sink.tally.done >= total):
                sink.ended.wait(max(0.0, deadline - self._now()))
            sink.amend()
        self.loose = [sink for sink in self.loose if not sink.put_away_late()]
        self._repeat()
        with self._wake:
            self._running = [sink for sink in self._running if not sink.ended.is_set()]

    def _repeat(self) -> None:
        """Have the cell that ends say how the spawned calls stand that earlier cells display."""
        place = Place()
        with self._wake:
            boards = list(self._pageless)
        said = [board for board in boards if board.repeat(place)]
        with self._wake:
            self._pageless = [board for board in self._pageless if board not in said]

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
        if not sink.boards:
            if sink.tally.elapsed(now) < DELAY:
                return
            if sink.place.widgets:
                sink.place.run(importlib.import_module, "nbfn.jupyter.views.maps.widget")
        sink.show(now)
