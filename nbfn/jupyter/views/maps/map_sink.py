"""What this notebook knows of one map: its tally, its displays, and what their buttons do."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from nbfn.client.call_observer import CallSink
from nbfn.client.calls import map_result
from nbfn.client.calls.map_call import MapCall
from nbfn.jupyter.cell_output import Place
from nbfn.jupyter.views.maps import static_render
from nbfn.jupyter.views.maps.map_display import Board, Nothing, board_for
from nbfn.jupyter.views.maps.map_stats import CANCELLED, DONE, FAILED, REMEMBERED, Tally
from nbfn.jupyter.views.maps.result_patching import put_into_lists
from nbfn.types import InputStatus

if TYPE_CHECKING:
    from nbfn.client.call_observer import CallView
    from nbfn.protocol.messages import Emission, Output, Progress

#: Displays of a map that are shown under the cell; further ones are only counted.
SHOWN_DISPLAYS = 20
#: About what an error weighs.
ERROR_BYTES = 2000
#: Characters of a traceback that are kept for each group of errors.
TRACE_LENGTH = 4000

_TERMINATED = int(InputStatus.TERMINATED)
_STATES = {int(InputStatus.SUCCESS): DONE, _TERMINATED: CANCELLED}


class Notebook(Protocol):
    """What a map needs of the observer that made its sink."""

    progress: bool
    loose: list[MapSink]

    def now(self) -> float:
        """Return the time by which calls are shown."""

    def hold(self, results: map_result.MapResult[Any]) -> None:
        """Keep the results of a map whose loop has been left."""


class MapSink(CallSink):
    """Keeps the tally of one map. What hears of the call is called by the client's thread.

    Args:
        call: The map.
        place: The cell that made it.
        notebook: The observer.
    """

    def __init__(self, call: CallView, place: Place, notebook: Notebook) -> None:
        self.tally = Tally(
            call.function, call.app, call.version, call.id, began=notebook.now(), total=call.total
        )
        self.place = place
        self.call = call.call if isinstance(call.call, MapCall) else None
        self.detachable = notebook.progress and place.widgets
        self._cancel = call.cancel
        self._cancelled = False
        self._notebook = notebook
        self.late = False  # errors came to be known after the end
        self.boards: list[Board] = []
        self.ended = threading.Event()
        self._displays = 0
        self._terminated = 0
        self._errors: dict[int, BaseException] = {}  # as they were handed out
        self._said = ""
        self._again = 0  # inputs that run again now
        self._retried: dict[int, Any] = {}  # new results that have no place yet
        # The ticker shows while the client's thread counts; the board must not see half a change.
        self.lock = threading.RLock()

    # --- what happens ---

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
                newest=p.newest,
            )

    def outputs(
        self, done: int, failed: int, total: int | None, new: Sequence[Output] = ()
    ) -> None:
        """Take the exact counters, and which inputs they are of; the results themselves are not kept."""
        if failed > self.tally.failed + self.tally.mended + self._terminated:
            self._terminated += sum(output.status == _TERMINATED for output in new)
        with self.lock:
            self.tally.took(*_ended(new))
            self.tally.counted(
                done, failed, total, self._notebook.now(), cancelled=self._terminated
            )

    def connected(self, up: bool) -> None:
        """Take that the hub was lost, or is back."""
        with self.lock:
            self.tally.connected(up=up)

    def failed(self, index: int, error: BaseException) -> None:
        """Add one input's error to its group. Called by whoever unpacks the outcomes."""
        with self.lock:
            self._grouped(index, error)
            if len(self._errors) < REMEMBERED:
                self._errors[index] = error
            self.late = self.ended.is_set()

    def _grouped(self, index: int, error: BaseException) -> None:
        self.tally.fault(
            type(error).__name__, str(error), where(error), index, lambda: trace_of(error)
        )

    def finished(self, status: str, error: BaseException | None) -> None:
        """Show the last word, before whoever waits for the map goes on."""
        now = self._notebook.now()
        with self.lock:
            if error is not None and not self.tally.groups and status == "failure":
                self._grouped(0, error)
            self.tally.finish(self._last_state(status), "", now)
            self._ask_call()
        try:
            if self.boards:
                self._on_boards(lambda board: board.end(self.tally, now))
            elif self.tally.lines:
                self.place.write("stdout", static_render.log_text(self.tally))
        finally:
            self.ended.set()

    def _last_state(self, status: str) -> str:
        if self._cancelled or status == "terminated":
            return "cancelled"
        complete = self.tally.whole is not None and self.tally.done >= self.tally.whole
        # A map that returns its exceptions has done its work although some of it failed.
        return "done" if status == "success" or (complete and self.tally.done > 1) else "failed"

    # --- how it is shown ---

    @property
    def failures(self) -> int:
        """How many inputs can be run again."""
        return len(self.call.failures) if self.call is not None else 0

    @property
    def weight(self) -> int:
        """About the bytes that are kept so that inputs can be run again."""
        call = self.call
        inputs = call.failures.size if call is not None and not call.repeats else 0
        return inputs + ERROR_BYTES * len(self._errors)

    def forget(self) -> None:
        """Keep them no longer, and say so."""
        with self.lock:
            self._errors.clear()
        if self.call is not None and self.failures:
            self.call.failures.clear()
            self._note("its failed inputs are no longer kept: later maps had more of them")

    def gave(self, results: Sequence[Any]) -> bool:
        """Whether exceptions among these results came from this map."""
        with self.lock:
            mine = {id(error) for error in self._errors.values()}
        return any(id(result) in mine for result in results)

    @property
    def in_background(self) -> bool:
        """Whether no cell waits for it."""
        results = self.results
        return self.tally.detached or (results is not None and results.collected)

    @property
    def results(self) -> map_result.MapResult[Any] | None:
        """What the results are taken from, while somebody has it."""
        return self.call.results() if self.call is not None else None

    def show(self, now: float) -> None:
        """Show how far it is, where it is shown; in its own cell from the first time on."""
        with self.lock:  # held for milliseconds: the client's thread may wait for it
            if self.tally.ended is not None:
                return
            self._ask_call()
            if not self.boards:
                self.boards.append(self._board_at(self.place, now))
            else:
                self._on_boards(lambda board: board.show(self.tally, now))

    def show_at(self, place: Place) -> None:
        """Show it in another cell as well, or at once in its own."""
        with self.lock:
            now = self._notebook.now()
            self._ask_call()
            board = self._board_at(place, now)
            self.boards.append(board)
            if self.tally.ended is not None:
                place.run(board.end, self.tally, now)

    def amend(self) -> None:
        """Show errors that came to be known after the end."""
        with self.lock:
            late, self.late = self.late, False
        if late:
            self._amend()

    def _amend(self) -> None:
        now = self._notebook.now()
        if self.tally.ended is None:
            self.show(now)
        else:
            self._ask_call()
            self._on_boards(lambda board: board.amend(self.tally, now))

    def _ask_call(self) -> None:
        """Have the tally know what the call alone knows."""
        if self.call is not None:
            self.tally.held = self.call.held
            self.tally.repeatable = min(self.tally.failed, self.failures + self._again)

    def _on_boards(self, act: Callable[[Board], None]) -> None:
        for board in self.boards:
            self.place.run(act, board)

    def _board_at(self, place: Place, now: float) -> Board:
        actions: dict[str, Callable[[Mapping[str, Any]], Any]] = {"cancel": lambda _: self.cancel()}
        if self.call is not None and not self.call.repeats:
            actions["retry"] = lambda said: self.retry(said.get("group"))
        if self.detachable and not self.in_background:
            actions["detach"] = lambda _: self.detach()
        background = self.in_background
        made: Board | None = place.run(
            board_for, self.tally, place, now, actions, background=background
        )
        return made or Nothing()  # tried once, not four times a second

    # --- buttons, on the thread of the page's messages ---

    def cancel(self) -> None:
        """Cancel the call."""
        self._cancelled = True
        self._cancel()

    def detach(self) -> bool:
        """End the cell that waits while the map goes on, and keep its results; see `CallSink.detach`."""
        results = self.results
        if results is None or self.tally.ended is not None:
            return True  # there is nothing to detach
        self._notebook.hold(results)
        with self.lock:
            self.tally.detached = True
            self.tally.note = f"%fn attach {self.tally.call} gives the results."
            self.tally.connected(up=not self.tally.lost)
        results.detach()
        return True

    def retry(self, group: int | None = None) -> None:
        """Run failed inputs again.

        Args:
            group: Which group of errors, by the index of its first; all when not given.
        """
        if self.call is None or not len(self.call.failures):
            return
        with self.lock:
            groups = self.tally.groups.values()
            wanted = (
                None
                if group is None
                else {i for g in groups if g.first == group for i in g.indices}
            )
        threading.Thread(
            target=self.place.run, args=(self.run_again, wanted), name="nbfn-retry", daemon=True
        ).start()

    def run_again(self, wanted: Iterable[int] | None = None) -> dict[int, Any]:
        """Run failed inputs again, wait for them, and put the results where the old ones are.

        Returns:
            The new results by the index of their inputs.
        """
        assert self.call is not None
        indices, results = map_result.retry_failed(
            self.call, None if wanted is None else sorted(wanted)
        )
        if not indices:
            return {}
        self._again = len(indices)
        self._note(f"{_inputs(len(indices))} run again")
        try:
            found = dict(zip(indices, results, strict=True))
            self._again = 0
        except BaseException as error:
            self._again = 0
            self._note(f"not run again: {type(error).__name__}: {error}")
            raise
        version = results.version
        still = set(self.call.failures.indices)
        with self.lock:
            for index, value in found.items():
                self.tally.again(index, good=index not in still)
                if index in still:
                    self._grouped(index, value)
            self._retried |= found
        good = sum(index not in still for index in found)
        bad = f", {len(found) - good} failed" if good < len(found) else ""
        self._said = said = f"{_inputs(len(found))} ran again on v{version}: {good} ok{bad}"
        where_to = self.put_away()
        if where_to is None:
            self._notebook.loose.append(self)
        self._note(f"{said} · {where_to or 'the results are put in place when the cell ends'}")
        return found

    def put_away(self) -> str | None:
        """Put new results in the place of the old ones; say where that is, or None while a cell makes the list."""
        from IPython.core.getipython import get_ipython

        with self.lock:
            found = dict(self._retried)
        results = self.results
        if results is not None and results.collected:
            results.replace(found)
            self._retried.clear()
            return "the results are in place"
        if self.tally.ended is None:
            return None
        shell: Any = get_ipython()
        names: dict[str, Any] = shell.user_ns
        lists = put_into_lists(names, self._errors, found, self.tally.done + self.tally.cancelled)
        self._errors |= {index: value for index, value in found.items() if index in self._errors}
        if not lists:
            names.setdefault("retried", {})
            if not isinstance(names["retried"], dict):
                names["retried"] = {}
            names["retried"].update(found)
        self._retried.clear()
        placed = ", ".join(f"`{name}`" for name in lists)
        return f"the results are in {placed or '`retried`, by index'}"

    def put_away_late(self) -> bool:
        """Do so when a cell has ended, and say where; False when it is too early still."""
        where_to = self.put_away()
        if where_to is not None:
            self._note(f"{self._said} · {where_to}")
        return where_to is not None

    def _note(self, text: str) -> None:
        with self.lock:
            self.tally.note = text
        self._amend()


def _inputs(count: int) -> str:
    return f"{count:,} input{'s' if count != 1 else ''}"


def _ended(new: Sequence[Output]) -> tuple[list[int], list[int], list[float]]:
    """Return of some outcomes the indices, the states and the durations, as `Tally.took` wants them."""
    states = [_STATES.get(output.status, FAILED) for output in new]
    ran = new if CANCELLED not in states else [o for o in new if o.status != _TERMINATED]
    return [output.index for output in new], states, [output.duration for output in ran]


def where(error: BaseException) -> str:
    """Return the user's line that raised: cell, or file, and number of the innermost frame."""
    frames = _frames(error)
    if not frames:
        return ""
    name, line = frames[-1].filename, frames[-1].lineno
    return f"{_cell(name) or name.rpartition('/')[2]}, line {line}"


def _place(name: str) -> str:
    return _cell(name) or f'File "{name}"'


def _cell(name: str) -> str:
    """Return which cell code is from, as ``Cell In[3]``; "" when it is from a file."""
    from IPython.core.getipython import get_ipython

    shell: Any = get_ipython()
    named = shell.compile.format_code_name(name) if shell is not None else None
    return " ".join(named) if named else ""


def trace_of(error: BaseException) -> str:
    """Return the traceback of an error as text, without nbfn's own frames; its end where it is long."""
    rows: list[str] = []
    for frame in _frames(error):
        (row,) = traceback.StackSummary.from_list([frame]).format()
        # Code of a cell is in no file: the place is named as everywhere else in a notebook.
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
