"""The sink of a map: updates its statistics and displays, and implements their buttons."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from nbfn.client.call_observer import CallSink
from nbfn.client.calls import map_result
from nbfn.client.calls.map_call import MapCall
from nbfn.jupyter.cell_output import OutputArea
from nbfn.jupyter.views.maps import static_render
from nbfn.jupyter.views.maps.map_display import MapDisplay, NullDisplay, display_for
from nbfn.jupyter.views.maps.map_stats import CANCELLED, DONE, FAILED, MAX_RETRYABLE, MapStats
from nbfn.jupyter.views.maps.result_patching import put_into_lists
from nbfn.protocol.call_states import CallState, InputCounts, counts_text
from nbfn.types import InputStatus

if TYPE_CHECKING:
    from nbfn.client.call_observer import CallView
    from nbfn.protocol.messages import Emission, Output, Progress

#: Displays of inputs that are shown below the cell; further ones are only counted.
SHOWN_DISPLAYS = 20
#: Approximate bytes of an error.
ERROR_BYTES = 2000
#: Characters of a traceback that are kept for each group of errors.
TRACE_LENGTH = 4000

#: The state of a call, by what its sink is told of the end.
_ENDS = {"success": CallState.SUCCEEDED, "terminated": CallState.CANCELLED}
_TERMINATED = int(InputStatus.TERMINATED)
_STATES = {int(InputStatus.SUCCESS): DONE, _TERMINATED: CANCELLED}


class MapObserver(Protocol):
    """The part of the observer that a sink uses."""

    progress: bool
    unplaced: list[MapSink]

    def now(self) -> float:
        """Return the time of the clock."""

    def shows_progress(self, sink: MapSink) -> bool:
        """Whether this map shows its progress."""

    def watch_again(self, sink: MapSink) -> None:
        """Update the displays of a map whose inputs run again."""

    def keep_detached(self, results: map_result.MapResult[Any]) -> None:
        """Keep the results of a map that was detached."""


class MapSink(CallSink):
    """Updates the statistics of one map. The client's thread calls the methods that report events.

    Args:
        call: The map.
        area: The cell that made it.
        observer: The observer of this notebook.
    """

    def __init__(self, call: CallView, area: OutputArea, observer: MapObserver) -> None:
        self.stats = MapStats(
            call.function, call.app, call.version, call.id, began=observer.now(), total=call.total
        )
        self.area = area
        self.call = call.call if isinstance(call.call, MapCall) else None
        self.detachable = observer.progress and area.widgets
        self._cancel = call.cancel
        self._observer = observer
        self.late = False  # errors were received after the end
        self.displays: list[MapDisplay] = []
        self.ended = threading.Event()
        self._displays = 0
        self._errors: dict[int, BaseException] = {}  # as the results contain them
        self._said = ""
        self._at_end: set[int] = set()  # inputs that run again when the map has ended
        self._kept: map_result.MapResult[Any] | None = None  # the results of a map that ended early
        self._old_errors: dict[int, BaseException] = {}  # those of inputs that ran again
        self._new_results: dict[int, Any] = {}  # new results that are not in a list yet
        # The client's thread changes the statistics while the ticker reads them.
        self.lock = threading.RLock()

    # --- events ---

    def emission(self, e: Emission) -> None:
        """Add output to the log, and show the first few displays below the cell."""
        if e.channel in ("stdout", "stderr"):
            with self.lock:
                self.stats.add_output(e.data.decode("utf-8", "replace"), e.index)
        elif e.channel == "display":
            self._displays += 1
            if self._displays <= SHOWN_DISPLAYS:
                self.area.emit(e.channel, e.data)
            else:
                with self.lock:
                    self.stats.add_output("(display not shown)\n", e.index)
        elif e.channel == "update":
            self.area.emit(e.channel, e.data)
        # A `clear` of one input must not clear the output of others.

    def progress(self, p: Progress) -> None:
        """Update the state of the inputs that have not ended."""
        with self.lock:
            self.stats.update_queue(
                state=p.state,
                running=p.counts.running,
                retrying=p.retrying,
                workers=p.workers,
                starting=p.starting,
                why=p.waiting_for,
                known=p.counts.total,
                newest=p.newest,
            )

    def outputs(self, counts: InputCounts, more: bool, new: Sequence[Output] = ()) -> None:
        """Update the counters and the states of inputs; the results are not kept."""
        with self.lock:
            self.stats.add_ended(*_ended(new))
            self.stats.update_counts(counts, self._observer.now(), more=more)

    def restarted(self, indices: Sequence[int]) -> None:
        """Show that inputs of the ended map run again."""
        with self.lock:
            self.ended.clear()
            self.stats.restart(indices, self._observer.now())
        self._observer.watch_again(self)

    def connected(self, up: bool) -> None:
        """Called when the hub connection drops or recovers."""
        with self.lock:
            self.stats.connected(up=up)

    def failed(self, index: int, error: BaseException) -> None:
        """Add the error of an input to its group. Called where results are unpickled."""
        with self.lock:
            self._grouped(index, error)
            if len(self._errors) < MAX_RETRYABLE:
                self._errors[index] = error
            self.late = self.ended.is_set()

    def _grouped(self, index: int, error: BaseException) -> None:
        self.stats.add_error(
            type(error).__name__, str(error), raised_at(error), index, lambda: format_trace(error)
        )

    def finished(self, status: str, error: BaseException | None) -> None:
        """Show the end, before the caller continues."""
        now = self._observer.now()
        with self.lock:
            if error is not None and not self.stats.groups and status == "failure":
                self._grouped(0, error)
            self.stats.finish(_ENDS.get(status, CallState.FAILED), "", now)
            self._read_call()
            self._kept = self.results if self.stats.retryable else None
        if not self.displays and self.stats.state != CallState.SUCCEEDED and self.shown:
            # On a thread of its own: the first display imports the widgets.
            threading.Thread(target=self._show_end, name="nbfn-end", daemon=True).start()
            return
        try:
            if self.displays:
                self._update_displays(lambda display: display.end(self.stats, now))
            elif self.stats.lines:
                self.area.write("stdout", static_render.log_text(self.stats))
        finally:
            self.ended.set()
        if self._at_end:
            wanted, self._at_end = self._at_end, set()
            self._start_retry(wanted)

    def _show_end(self) -> None:
        """Show the end of a map that failed or was cancelled before its display was due."""
        now = self._observer.now()
        try:
            with self.lock:
                self.displays.append(self._create_display(self.area, now))
                self._update_displays(lambda display: display.end(self.stats, now))
        finally:
            self.ended.set()

    @property
    def shown(self) -> bool:
        """Whether the notebook shows the progress of this map."""
        return self._observer.shows_progress(self)

    # --- displays ---

    @property
    def failures(self) -> int:
        """The number of inputs without a result that can be run again."""
        return self.call.latest.retryable if self.call is not None else 0

    @property
    def failure_bytes(self) -> int:
        """Approximate bytes that are kept for retries."""
        call = self.call
        inputs = call.failures.size if call is not None else 0
        results = call.received if call is not None and self._kept is not None else 0
        return inputs + min(results, map_result.FINISHED_BYTES) + ERROR_BYTES * len(self._errors)

    def forget(self) -> None:
        """Discard the inputs that could run again, and note that on the display."""
        with self.lock:
            self._errors.clear()
            self._kept = None
        if self.call is not None and self.failures:
            self.call.latest.forget_inputs()
            self._note("its inputs were discarded, to limit memory, so they cannot run again")

    def has_errors_in(self, results: Sequence[Any]) -> bool:
        """Whether results contain exceptions of this map."""
        with self.lock:
            mine = {id(error) for error in self._errors.values()}
        return any(id(result) in mine for result in results)

    @property
    def in_background(self) -> bool:
        """Whether no cell waits for the map."""
        results = self.results
        return self.stats.detached or (results is not None and results.collected)

    @property
    def results(self) -> map_result.MapResult[Any] | None:
        """The results; None if they are no longer referenced."""
        return self._kept or (self.call.results() if self.call is not None else None)

    def show(self, now: float) -> None:
        """Update the displays; the first call creates the one in the cell of the map.

        Args:
            now: The time.
        """
        with self.lock:  # held for milliseconds, since the client's thread may wait for it
            if self.stats.ended is not None:
                return
            self._read_call()
            if not self.displays:
                self.displays.append(self._create_display(self.area, now))
            else:
                self._update_displays(lambda display: display.show(self.stats, now))

    def show_at(self, area: OutputArea) -> None:
        """Display the map in a cell.

        Args:
            area: The cell.
        """
        with self.lock:
            now = self._observer.now()
            self._read_call()
            display = self._create_display(area, now)
            self.displays.append(display)
            if self.stats.ended is not None:
                area.run(display.end, self.stats, now)

    def show_late_errors(self) -> None:
        """Show errors that were received after the end."""
        with self.lock:
            late, self.late = self.late, False
        if late:
            self._show_errors()

    def _show_errors(self) -> None:
        now = self._observer.now()
        if self.stats.ended is None:
            self.show(now)
        else:
            self._read_call()
            self._update_displays(lambda display: display.show_late_errors(self.stats, now))

    def _read_call(self) -> None:
        """Copy what only the call knows into the statistics."""
        if self.call is not None:
            self.stats.held = self.call.latest.held
            self.stats.retryable = self._retryable()

    def _update_displays(self, act: Callable[[MapDisplay], None]) -> None:
        for display in self.displays:
            self.area.run(act, display)

    def _create_display(self, area: OutputArea, now: float) -> MapDisplay:
        actions: dict[str, Callable[[Mapping[str, Any]], Any]] = {"cancel": lambda _: self.cancel()}
        if self.call is not None:
            actions["retry"] = lambda said: self.retry(said.get("group"))
        if self.detachable and not self.in_background:
            actions["detach"] = lambda _: self.detach()
        background = self.in_background
        made: MapDisplay | None = area.run(
            display_for, self.stats, area, now, actions, background=background
        )
        return made or NullDisplay()  # tried once only

    # --- buttons, called on the thread that handles the front end's messages ---

    def cancel(self) -> None:
        """Cancel the call."""
        if self.call is not None:
            self.call.latest.cancel()
        else:
            self._cancel()

    def detach(self) -> bool:
        """Continue the map in the background, and end the cell that waits for it; see `CallSink.detach`."""
        results = self.results
        if results is None or self.stats.ended is not None:
            return True  # there is nothing to detach
        self._observer.keep_detached(results)
        with self.lock:
            self.stats.detached = True
            self.stats.note = f"%fn attach {self.stats.call} gives the results."
            self.stats.connected(up=not self.stats.disconnected)
        results.detach()
        return True

    def retry(self, group: int | None = None) -> None:
        """Run inputs without a result again, on a new thread.

        Args:
            group: Only those of this group of errors, given by the index of its first input.
        """
        if not self._retryable():
            return
        with self.lock:
            groups = self.stats.groups.values()
            wanted = (
                None
                if group is None
                else {i for g in groups if g.first == group for i in g.indices}
            )
            if self.stats.ended is None and self.call is not None:
                kept = set(self.call.latest.failures.indices)
                self._at_end |= kept if wanted is None else kept & wanted
                later = len(self._at_end)
            else:
                later = 0
        if later:
            self._note(f"{_inputs(later)} run again when the map has ended")
        else:
            self._start_retry(wanted)

    def _start_retry(self, wanted: Iterable[int] | None) -> None:
        threading.Thread(
            target=self.area.run, args=(self.run_failed, wanted), name="nbfn-retry", daemon=True
        ).start()

    def _retryable(self) -> int:
        """Return how many inputs can be run again, now or when the map has ended."""
        if self.call is None:
            return 0
        if self.stats.ended is not None:
            return self.failures
        return len(set(self.call.latest.failures.indices) - self._at_end)

    def run_again(self) -> bool:
        """See `CallSink.run_again`."""
        self.retry()
        return True

    def run_failed(self, wanted: Iterable[int] | None = None) -> dict[int, Any]:
        """Run inputs without a result again, wait for them, and replace their old results.

        Args:
            wanted: The indices of the inputs; all without a result by default.

        Returns:
            The new results, by the index of their inputs.
        """
        assert self.call is not None
        before = dict(self._errors)
        indices, results = map_result.retry_failed(
            self.call, None if wanted is None else sorted(wanted)
        )
        if not indices:
            return {}
        self._note(f"{_inputs(len(indices))} run again")
        try:
            found = dict(zip(indices, results, strict=True))
        except BaseException as error:
            self._note(f"not run again: {type(error).__name__}: {error}")
            raise
        with self.lock:
            self._old_errors = before
            self._new_results |= found
        counts = counts_text(results.own_counts)
        self._said = f"{_inputs(len(found))} ran again on v{results.version}: {counts}"
        where_to = self.place_results()
        if where_to is None:
            self._observer.unplaced.append(self)
        self._note(
            f"{self._said} · {where_to or 'the results are put in place when the cell ends'}"
        )
        return found

    def place_results(self) -> str | None:
        """Replace old results by new ones.

        Returns:
            A sentence that says where they are; None while a cell still creates the list of results.
        """
        from IPython.core.getipython import get_ipython

        with self.lock:
            found = dict(self._new_results)
        results = self.results
        if results is not None and results.collected:
            results.replace(found)
            self._new_results.clear()
            return "the results are in place"
        if self.stats.ended is None:
            return None
        shell: Any = get_ipython()
        names: dict[str, Any] = shell.user_ns
        lists = put_into_lists(names, self._old_errors, found, self.stats.done)
        if not lists:
            names.setdefault("retried", {})
            if not isinstance(names["retried"], dict):
                names["retried"] = {}
            finished = results.finished if results is not None else {}
            names["retried"] = dict(sorted((names["retried"] | finished | found).items()))
        elif results is not None:
            results.replace(found)
        self._new_results.clear()
        placed = ", ".join(f"`{name}`" for name in lists)
        return f"the results are in {placed or '`retried`, by index'}"

    def place_pending_results(self) -> bool:
        """Replace old results when a cell has ended.

        Returns:
            Whether that was possible.
        """
        where_to = self.place_results()
        if where_to is not None:
            self._note(f"{self._said} · {where_to}")
        return where_to is not None

    def _note(self, text: str) -> None:
        with self.lock:
            self.stats.note = text
        self._show_errors()


def _inputs(count: int) -> str:
    return f"{count:,} input{'s' if count != 1 else ''}"


def _ended(new: Sequence[Output]) -> tuple[list[int], list[int], list[float]]:
    """Return the indices, states and durations of outputs, for `MapStats.add_ended`."""
    states = [_STATES.get(output.status, FAILED) for output in new]
    ran = new if CANCELLED not in states else [o for o in new if o.status != _TERMINATED]
    return [output.index for output in new], states, [output.duration for output in ran]


def raised_at(error: BaseException) -> str:
    """Return the user's line that raised an error: the cell or file, and the line number."""
    frames = _frames(error)
    if not frames:
        return ""
    name, line = frames[-1].filename, frames[-1].lineno
    return f"{_cell(name) or name.rpartition('/')[2]}, line {line}"


def _place(name: str) -> str:
    return _cell(name) or f'File "{name}"'


def _cell(name: str) -> str:
    """Return the cell of a code's file name, as ``Cell In[3]``; "" for a file."""
    from IPython.core.getipython import get_ipython

    shell: Any = get_ipython()
    named = shell.compile.format_code_name(name) if shell is not None else None
    return " ".join(named) if named else ""


def format_trace(error: BaseException) -> str:
    """Return the traceback of an error as text, without nbfn's own frames; only its end if it is long."""
    rows: list[str] = []
    for frame in _frames(error):
        (row,) = traceback.StackSummary.from_list([frame]).format()
        # Code of a cell has no file; name the cell as IPython does.
        rows.append(row.replace(f'File "{frame.filename}"', _place(frame.filename), 1))
    head = ["Traceback (most recent call last):\n"] if rows else []
    text = "".join([*head, *rows, *traceback.format_exception_only(error)]).rstrip()
    return text if len(text) <= TRACE_LENGTH else f"…{text[1 - TRACE_LENGTH :]}"


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    trace, found = error.__traceback__, []
    while trace is not None:
        frame = trace.tb_frame
        if not frame.f_locals.get("__tracebackhide__"):
            code = frame.f_code
            found.append(traceback.FrameSummary(code.co_filename, trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    return found
