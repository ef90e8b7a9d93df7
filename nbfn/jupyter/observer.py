"""Displays calls in a notebook: output below the cell, and the progress of maps.

The client's thread passes events to sinks. One ticker thread updates the displays, at most four times a
second: a widget, lines of text, or one line that is overwritten. Calls never wait for displays.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nbfn.client.call_observer import CallObserver
from nbfn.config import Settings
from nbfn.jupyter.cell_output import OutputArea
from nbfn.jupyter.views.calls.blocking_call import BlockingSink
from nbfn.jupyter.views.calls.call_display import CallDisplay
from nbfn.jupyter.views.calls.call_record import error_text, value_text
from nbfn.jupyter.views.calls.call_sink import SpawnSink
from nbfn.jupyter.views.calls.cell_calls import CellCalls
from nbfn.jupyter.views.calls.print_sink import PrintSink
from nbfn.jupyter.views.display_registry import registry
from nbfn.jupyter.views.maps.map_sink import MapSink

if TYPE_CHECKING:
    from nbfn.client.call_observer import CallSink, CallView, OnInterrupt
    from nbfn.client.calls.map_result import MapResult

log = logging.getLogger("nbfn.client")

#: Seconds that a map or a call of `remote` runs before it is displayed.
DELAY = 0.5
#: Seconds between two updates.
INTERVAL = 0.25
#: Maps of this kernel whose failed inputs can be retried.
MAPS_KEPT = 50
#: Bytes that inputs and errors of failures may take, for all those maps.
FAILURES_KEPT = 256 * 1024 * 1024
#: Detached maps whose results are kept.
DETACHED_KEPT = 20
#: Spawned calls of this kernel whose records are kept for displays of their handles.
HANDLES_KEPT = 1000
#: Cells with displays of blocking calls that are kept, for later calls of their threads.
CELLS_KEPT = 50
#: Seconds that the end of a cell waits for the end of a map that it ran.
END_WAIT = 1.0


class NotebookObserver(CallObserver):
    """Creates a sink for each call.

    Args:
        progress: Whether maps and blocking calls are displayed; ``quiet`` turns it off for single Functions.
        notify: Whether pages show a notification when a long call ends.
        now: The clock.
    """

    def __init__(
        self,
        *,
        progress: bool = True,
        notify: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.progress = progress
        self.quiet: set[tuple[str, str]] = set()
        #: Whether pages show a notification when a long call ends, and the Functions for which they do so anyway.
        self.notify, self.notified = notify, set[tuple[str, str]]()
        #: The script that the running cell is, as App and name.
        self.script: tuple[str, str] | None = None
        #: The sinks of spawned calls, by the call's id; the latest ones.
        self.handles: dict[str, SpawnSink] = {}
        self._displays: list[CallDisplay | PrintSink | CellCalls] = []
        #: Blocking calls that are not displayed yet, oldest first. Calls add and remove themselves without the lock.
        self._recent: dict[str, BlockingSink] = {}
        self._cells: dict[Any, CellCalls] = {}  # by the stream key of the cell
        self._idle = False  # the ticker waits, or is about to
        self._text_displays: list[CallDisplay] = []  # whose end no cell has published yet
        self._now = now
        self._running: list[MapSink] = []
        #: The latest maps of this kernel, by the call's id.
        self.maps: dict[str, MapSink] = {}
        #: Results of detached maps, by the call's id: this is the only reference to them.
        self.detached: dict[str, MapResult[Any]] = {}
        #: Maps with retried inputs whose new results could not be put into a list yet.
        self.unplaced: list[MapSink] = []
        self._wake = threading.Condition()
        self._ticker: threading.Thread | None = None

    def call_started(self, call: CallView) -> CallSink | None:
        """Return the sink of a call, bound to the running cell. Never raises.

        Args:
            call: The call.

        Returns:
            The sink; None if it could not be created.
        """
        sink = self._created_sink(call)
        if sink is not None:
            sink.notify = self.notify or (call.app, call.function) in self.notified
        return sink

    def _created_sink(self, call: CallView) -> CallSink | None:
        try:
            area = OutputArea()
            if call.kind == "spawn":
                known = self.handles.get(call.id)  # followed again: keeps its output area
                if known is None:
                    return self._keep_sink(
                        SpawnSink(call, area, self._now, self.keep_call_updating)
                    )
                known.move_output(area)
                return known
            if call.kind == "remote" and self._displays_calls_of(call.app, call.function):
                script = self.script == (call.app, call.function)
                return self._watch_blocking(
                    BlockingSink(call, area, self._now, self._forget, script=script)
                )
            if call.kind != "map":
                return PrintSink(call, area, self)
            sink = self.maps[call.id] = MapSink(call, area, self)
            while len(self.maps) > MAPS_KEPT:
                del self.maps[next(iter(self.maps))]
            self._limit_failures()
            if self.shows_progress(sink):
                self._watch(sink)
        except Exception:
            log.exception("a call cannot be displayed in the notebook")
            return None
        return sink

    def _limit_failures(self) -> None:
        """Discard the failures of the oldest maps while all together are too large."""
        room = FAILURES_KEPT
        for sink in reversed(list(self.maps.values())):
            room -= sink.failure_bytes
            if room < 0:
                sink.forget()

    def interrupted(self, call: str, name: str) -> OnInterrupt:
        """Print in the cell what another interrupt does; see `nbfn.client.call_observer.interrupted`."""
        area = OutputArea()
        if not area.notebook:
            return "cancel"
        if Settings.load().interrupt == "detach":
            return "detach"
        said = f"cancelling {name} ({call[:9]}…); interrupt again at once to let it go on"
        area.write("stderr", f"■ {said}\n")
        return "wait"

    def now(self) -> float:
        """Return the time of the clock."""
        return self._now()

    def _keep_sink(self, sink: SpawnSink) -> SpawnSink:
        self.handles[sink.record.call] = sink
        while len(self.handles) > HANDLES_KEPT:
            del self.handles[next(iter(self.handles))]
        return sink

    def keep_call_updating(self, display: CallDisplay) -> None:
        """Update a display of a spawned call until the call ends."""
        with self._wake:
            if display.text_only and display not in self._text_displays:
                self._text_displays.append(display)
        self.keep_updating(display)

    def keep_updating(self, display: CallDisplay | PrintSink | CellCalls) -> None:
        """Update a display until it has ended."""
        with self._wake:
            if display not in self._displays:
                self._displays.append(display)
            self._start_ticking()

    def shows_progress(self, sink: MapSink) -> bool:
        """Whether this map shows its progress."""
        return self._displays_calls_of(sink.stats.app, sink.stats.name)

    def _displays_calls_of(self, app: str, name: str) -> bool:
        return self.progress and (app, name) not in self.quiet

    def keep_detached(self, results: MapResult[Any]) -> None:
        """Keep the results of a map that was detached."""
        self.detached[results.call_id] = results
        while len(self.detached) > DETACHED_KEPT:
            del self.detached[next(iter(self.detached))]

    def show_here(self, sink: MapSink) -> None:
        """Display a map in the running cell, also when another cell displays it."""
        sink.show_at(OutputArea())

    def finish_cell(self, result: Any = None) -> None:
        """Wait shortly until the maps of the cell that ends have displayed their end.

        Output after the end of a cell is lost in a notebook that runs without a front end.

        Args:
            result: IPython's result of the cell.
        """
        failed = getattr(result, "error_in_exec", None) is not None
        deadline = self._now() + END_WAIT
        cell = OutputArea().cell
        for sink in self._running_in(cell):
            total = sink.stats.total
            if sink.in_background:
                continue
            if failed or (total is not None and sink.stats.done >= total):
                sink.ended.wait(max(0.0, deadline - self._now()))
            sink.show_late_errors()
        for calls in [one for one in list(self._cells.values()) if one.area.cell == cell]:
            calls.finish_cell()
        self.unplaced = [sink for sink in self.unplaced if not sink.place_pending_results()]
        self._republish()
        registry.cell_ended(cell, lambda: _result_text(result))
        with self._wake:
            self._running = [sink for sink in self._running if not sink.ended.is_set()]

    def _republish(self) -> None:
        """Publish the state of spawned calls, which earlier cells display, in the cell that ends."""
        area = OutputArea()
        with self._wake:
            displays = list(self._text_displays)
        said = [display for display in displays if display.republish(area)]
        with self._wake:
            self._text_displays = [
                display for display in self._text_displays if display not in said
            ]

    def _running_in(self, cell: str) -> list[MapSink]:
        with self._wake:
            return [sink for sink in self._running if sink.area.cell == cell]

    def watch_again(self, sink: MapSink) -> None:
        """Update the displays of a map whose inputs run again."""
        if self.shows_progress(sink):
            self._watch(sink)

    def _watch_blocking(self, sink: BlockingSink) -> BlockingSink:
        self._recent[sink.call] = sink
        if self._idle or self._ticker is None:
            with self._wake:
                self._start_ticking()
        return sink

    def _forget(self, sink: BlockingSink) -> None:
        self._recent.pop(sink.call, None)

    def _show_long_calls(self, now: float) -> None:
        """Display the blocking calls that have taken long; ask for the state of those that soon will have."""
        long: dict[Any, list[BlockingSink]] = {}
        for sink in list(self._recent.values()):
            age = now - sink.began
            if age < DELAY - INTERVAL:
                break
            sink.ask(now)
            if age >= DELAY:
                self._forget(sink)
                long.setdefault(sink.area.stream_key, []).append(sink)
        for key, sinks in long.items():
            calls = self._cells.get(key)
            if calls is None:
                calls = self._cells[key] = CellCalls(sinks[0].area, self._now)
                while len(self._cells) > CELLS_KEPT:
                    del self._cells[next(iter(self._cells))]
            calls.area.run(calls.add, sinks)
            self.keep_updating(calls)

    def _watch(self, sink: MapSink) -> None:
        with self._wake:
            if sink not in self._running:
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
                self._displays = [display for display in self._displays if not display.ended]
                self._idle = (
                    True  # before `_recent` is read: a call that is added after that notifies
                )
                while not (self._unfinished() or self._displays or self._recent):
                    self._wake.wait()
                self._idle = False
                sinks, displays = self._unfinished(), list(self._displays)
            self._show_long_calls(self._now())
            for sink in sinks:
                self._show(sink)
            for display in displays:
                display.show(self._now())
            time.sleep(INTERVAL)

    def _unfinished(self) -> list[MapSink]:
        return [sink for sink in self._running if not sink.ended.is_set()]

    def _show(self, sink: MapSink) -> None:
        now = self._now()
        if not sink.displays:
            if sink.stats.elapsed(now) < DELAY:
                return
            if sink.area.widgets:
                sink.area.run(importlib.import_module, "nbfn.jupyter.views.maps.widget")
        sink.show(now)


def _result_text(result: Any) -> str:
    """Return the value or the error of a cell as text, from IPython's result of the cell."""
    error = getattr(result, "error_in_exec", None)
    if error is not None:
        return error_text(error)
    value = getattr(result, "result", None)
    return "" if value is None else value_text(value)
