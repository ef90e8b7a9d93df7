"""Displays a `FunctionCall`: its state, updated while it runs, and its result.

Each spawned call of this notebook has a sink that updates a `CallRecord`. Displays of the handle
(`call_display`) show that record. A call that has ended may be retried.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nbfn.api.call import FunctionCall
from nbfn.client.call_observer import CallSink
from nbfn.exception import Error
from nbfn.jupyter.cell_output import OutputArea
from nbfn.jupyter.views.calls.call_display import CallDisplay, fetch_preview
from nbfn.jupyter.views.calls.call_output import CallOutput
from nbfn.jupyter.views.calls.call_record import CallRecord
from nbfn.protocol.call_states import CallState, InputCounts

if TYPE_CHECKING:
    from nbfn.client.call_observer import CallView
    from nbfn.protocol.messages import CallInfo, Emission, Output, Progress

#: What a sink is told of the end of a call, by its state.
_ENDS: dict[str, str] = {CallState.SUCCEEDED: "success", CallState.CANCELLED: "terminated"}
#: Seconds that a display waits for the result of a call that has ended.
END_WAIT = 2.0


class SpawnSink(CallSink):
    """The sink of a spawned call: writes output below the cell that made it, and updates its record.

    Args:
        call: The call.
        area: The cell that made it.
        now: The clock.
        keep: Called with a display that must be updated until the call ends.
    """

    def __init__(
        self,
        call: CallView,
        area: OutputArea,
        now: Callable[[], float],
        keep: Callable[[CallDisplay], None] = lambda _: None,
    ) -> None:
        self.record = CallRecord(
            call.id, call.function, call.version, call.app, began=now(), total=call.total
        )
        self._output = CallOutput(area, many=call.total != 1)
        self._now = now
        self._keep = keep
        self.displays: list[CallDisplay] = []
        self.over = threading.Event()
        self._turn = threading.Lock()  # guards the displays

    def emission(self, e: Emission) -> None:
        """Display output, and store its last line."""
        self._output.emission(e)
        if self.record.ended is None:
            self.record.update(state="running", worker=e.worker, attempt=e.attempt)
        if e.channel in ("stdout", "stderr"):
            self.record.add_output(e.data.decode("utf-8", "replace"))

    def progress(self, p: Progress) -> None:
        """Update the state; progress of a call that has ended means that it was retried."""
        if CallState(p.state).ended:
            return  # `finished` handles that
        if self.record.ended is not None:
            if p.more:
                return
            self.resume()
        self.record.update(state=p.state, counts=p.counts, place=p.place, waiting_for=p.waiting_for)
        if p.worker:
            self.record.update(worker=p.worker, attempt=max(p.attempt, 1))

    def outputs(self, counts: InputCounts, more: bool, new: Sequence[Output] = ()) -> None:
        """Update the counters, and the worker of a single input."""
        if not more:  # unknown if the call was found by its id
            self.record.update(total=counts.total)
        self.record.count(counts)
        if new and self.record.total == 1:
            self.record.update(worker=new[-1].worker, attempt=new[-1].attempt)

    def connected(self, up: bool) -> None:
        """Called when the hub connection drops or recovers."""
        if self.record.ended is None:
            self.record.update(state="queued" if up else "reconnecting")

    def finished(self, status: str, error: BaseException | None) -> None:
        """Set the end, and make the displays static. Called again when the result is fetched later."""
        self._output.end()
        if self.record.ended is not None:
            return
        self.record.finish(status, self._now())
        self.over.set()
        if self.displays:
            self._end_soon()

    def _end_soon(self) -> None:
        # Not on the client's thread: it may unpickle the result, which runs the user's code.
        threading.Thread(target=self._end, name="nbfn-preview", daemon=True).start()

    def _end(self) -> None:
        fetch_preview(self.record)
        with self._turn:
            for display in self.displays:
                if self.record.ended is not None:  # it may have been retried meanwhile
                    display.end()

    def move_output(self, area: OutputArea) -> None:
        """Write output below another cell from now on, if the call has ended and that cell retried it.

        Args:
            area: The cell.
        """
        if self.over.is_set():
            self._output = CallOutput(area, many=self.record.total != 1)

    def resume(self) -> None:
        """Reset the record of a call that was retried, and update its displays again."""
        self.record.restart(self._now())
        self.over.clear()
        if self.displays:
            threading.Thread(target=self._reopen, name="nbfn-preview", daemon=True).start()

    def _reopen(self) -> None:
        with self._turn:
            for display in self.displays:
                if self.record.ended is None:
                    display.reopen()
                    self._keep(display)

    def show_at(self, area: OutputArea, names: dict[str, Any]) -> None:
        """Display the call in a cell.

        Args:
            area: The cell.
            names: The notebook's namespace.
        """
        with self._turn:
            over = self.record.ended is not None
            display = CallDisplay(self.record, area, names, self._now)
            self.displays.append(display)
        if self.record.ended is None:
            self._keep(display)
        elif not over:  # it ended while the display was created
            self._end_soon()

    def apply_info(self, info: CallInfo, *, known: bool) -> None:
        """Update the record from the hub's information, for a call that is new here or has failed.

        Args:
            info: The information.
            known: Whether this kernel knew the call.
        """
        record = self.record
        retried = known and record.kept_until not in (0.0, info.kept_until)
        record.update(function=info.name, version=info.version, total=info.num_inputs)
        record.update(kept_until=info.kept_until)
        if info.expired:
            gone = "its results have expired"
            record.update(state="expired", ended=self._now(), took=None, result=gone)
        elif info.ended:  # its result is on its way
            self.over.wait(END_WAIT)
            if retried:  # by another client
                record.restart(self._now())
                record.update(counts=info.counts)
                record.finish(_ENDS.get(info.state, "failure"), self._now())
            if retried or not known:
                record.update(took=None)
        else:
            if record.ended is not None:
                self.resume()
            record.update(began=self._now() - max(0.0, time.time() - info.created))


def show(handle: FunctionCall[Any], observer: Any, names: dict[str, Any]) -> None:
    """Display a handle in the running cell.

    Args:
        handle: The handle.
        observer: The observer, with the sinks of this kernel's calls.
        names: The notebook's namespace.
    """
    sink: SpawnSink | None = observer.handles.get(handle.object_id)
    if sink is None or sink.record.state in ("failed", "cancelled"):  # these may be retried
        known = sink is not None
        try:
            info = handle._follow()
        except Error as error:
            if sink is None:
                OutputArea().publish({"text/plain": f"{handle!r}: {error}"})
                return
        else:
            sink = observer.handles.get(handle.object_id)
            if sink is not None:
                sink.apply_info(info, known=known)
    if sink is None:
        OutputArea().publish({"text/plain": repr(handle)})
        return
    if sink.record.ended is not None and not sink.record.result:
        fetch_preview(sink.record)
    sink.show_at(OutputArea(), names)


def install(shell: Any, observer: Any) -> None:
    """Register the display of handles in IPython."""
    shell.display_formatter.ipython_display_formatter.for_type(
        FunctionCall, lambda handle: show(handle, observer, shell.user_ns)
    )


def uninstall(shell: Any) -> None:
    """Undo `install`."""
    shell.display_formatter.ipython_display_formatter.pop(FunctionCall, None)
