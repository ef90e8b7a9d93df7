"""What a `FunctionCall` displays: its state, kept true while it runs, and its end.

Each spawned call of this notebook has a sink that keeps a `CallRecord` record; displays of the handle
(`handleboard`) show that record. A call that has ended may go on: its failed inputs can be retried.
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

if TYPE_CHECKING:
    from nbfn.client.call_observer import CallView
    from nbfn.protocol.messages import CallInfo, Emission, Output, Progress

#: Seconds that a display waits for the outcome of a call that has ended.
END_WAIT = 2.0


class SpawnSink(CallSink):
    """Hears of one spawned call: its prints go under the cell that made it, the rest into its record.

    Args:
        call: The call.
        area: The cell that made it.
        now: The clock.
        keep: Has a display look again and again.
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
        self._turn = threading.Lock()  # of whoever changes the displays

    def emission(self, e: Emission) -> None:
        """Show what it wrote, and keep its last line."""
        self._output.emission(e)
        if self.record.ended is None:
            self.record.update(state="running", worker=e.worker, attempt=e.attempt)
        if e.channel in ("stdout", "stderr"):
            self.record.add_output(e.data.decode("utf-8", "replace"))

    def progress(self, p: Progress) -> None:
        """Take where it stands; of a call that has ended, that it runs again."""
        if p.total is not None and p.done >= p.total:
            return  # its end, which is told by `finished`
        if self.record.ended is not None:
            if p.total is None:
                return
            self.resume()
        state = "running" if p.running else "starting workers" if p.starting else "queued"
        self.record.update(state=state, place=p.place, waiting_for=p.waiting_for)
        if p.worker:
            self.record.update(worker=p.worker, attempt=max(p.attempt, 1))

    def outputs(
        self, done: int, failed: int, total: int | None, new: Sequence[Output] = ()
    ) -> None:
        """Take the counters, and of a single input who ran it."""
        if total is not None:  # who follows it by its id alone does not know
            self.record.update(total=total)
        self.record.update(done=done, failed=failed)
        if new and self.record.total == 1:
            self.record.update(worker=new[-1].worker, attempt=new[-1].attempt)

    def connected(self, up: bool) -> None:
        """Take that the hub was lost, or is back."""
        if self.record.ended is None:
            self.record.update(state="queued" if up else "reconnecting")

    def finished(self, status: str, error: BaseException | None) -> None:
        """Take the end; displays of it become static. Who fetches the result later ends it again."""
        self._output.end()
        if self.record.ended is not None:
            return
        self.record.finish(status, self._now())
        self.over.set()
        if self.displays:
            self._end_soon()

    def _end_soon(self) -> None:
        # It may unpickle the result, which runs the user's code: not on the client's thread.
        threading.Thread(target=self._end, name="nbfn-preview", daemon=True).start()

    def _end(self) -> None:
        fetch_preview(self.record)
        with self._turn:
            for display in self.displays:
                if self.record.ended is not None:  # else it was retried meanwhile
                    display.end()

    def move_output(self, area: OutputArea) -> None:
        """Have what it prints from now on under another cell, if it has ended: that one had it run again."""
        if self.over.is_set():
            self._output = CallOutput(area, many=self.record.total != 1)

    def resume(self) -> None:
        """Take that it goes on, and have its displays live again."""
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
        """Display it in a cell."""
        with self._turn:
            over = self.record.ended is not None
            display = CallDisplay(self.record, area, names, self._now)
            self.displays.append(display)
        if self.record.ended is None:
            self._keep(display)
        elif not over:  # it ended while the display was made, and nobody told that
            self._end_soon()

    def apply_info(self, info: CallInfo, *, known: bool) -> None:
        """Take what the hub says of it, at its first sight here or after it failed."""
        record = self.record
        retried = known and record.kept_until not in (0.0, info.kept_until)
        record.update(function=info.name, version=info.version, total=info.num_inputs)
        record.update(kept_until=info.kept_until)
        if info.expired:
            gone = "its results were kept for their time and are gone"
            record.update(state="expired", ended=self._now(), took=None, result=gone)
        elif info.ended:  # its outcome is on its way
            self.over.wait(END_WAIT)
            if retried:  # and nobody here heard of it
                record.restart(self._now())
                record.update(done=info.done, failed=info.failed)
                record.finish("failure" if info.failed else "success", self._now())
            if retried or not known:
                record.update(took=None)
        else:
            if record.ended is not None:
                self.resume()
            record.update(began=self._now() - max(0.0, time.time() - info.created))


def show(handle: FunctionCall[Any], observer: Any, names: dict[str, Any]) -> None:
    """Display a handle in the cell that runs now.

    Args:
        handle: The handle.
        observer: The notebook's; it knows the sinks of this kernel's calls.
        names: The notebook's names.
    """
    sink: SpawnSink | None = observer.handles.get(handle.object_id)
    if sink is None or sink.record.state in ("failed", "cancelled"):  # somebody may retry these
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
    """Have IPython display handles in this way."""
    shell.display_formatter.ipython_display_formatter.for_type(
        FunctionCall, lambda handle: show(handle, observer, shell.user_ns)
    )


def uninstall(shell: Any) -> None:
    """Undo `install`."""
    shell.display_formatter.ipython_display_formatter.pop(FunctionCall, None)
