"""What a `FunctionCall` displays: its state, kept true while it runs, and its end.

Each spawned call of this notebook has a sink that keeps a `Spawned` record; displays of the handle
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
from nbfn.jupyter.cell_output import Place
from nbfn.jupyter.views.calls.call_display import Board, preview
from nbfn.jupyter.views.calls.call_output import Voice
from nbfn.jupyter.views.calls.call_record import Spawned

if TYPE_CHECKING:
    from nbfn.client.call_observer import CallView
    from nbfn.protocol.messages import CallInfo, Emission, Output, Progress

#: Seconds that a display waits for the outcome of a call that has ended.
LAST_WORD = 2.0


class HandleSink(CallSink):
    """Hears of one spawned call: its prints go under the cell that made it, the rest into its record.

    Args:
        call: The call.
        place: The cell that made it.
        now: The clock.
        keep: Has a display look again and again.
    """

    def __init__(
        self,
        call: CallView,
        place: Place,
        now: Callable[[], float],
        keep: Callable[[Board], None] = lambda _: None,
    ) -> None:
        self.spawned = Spawned(
            call.id, call.function, call.version, call.app, began=now(), total=call.total
        )
        self._voice = Voice(place, many=call.total != 1)
        self._now = now
        self._keep = keep
        self.boards: list[Board] = []
        self.over = threading.Event()
        self._turn = threading.Lock()  # of whoever changes the boards

    def emission(self, e: Emission) -> None:
        """Show what it wrote, and keep its last line."""
        self._voice.emission(e)
        if self.spawned.ended is None:
            self.spawned.changed(state="running", worker=e.worker, attempt=e.attempt)
        if e.channel in ("stdout", "stderr"):
            self.spawned.wrote(e.data.decode("utf-8", "replace"))

    def progress(self, p: Progress) -> None:
        """Take where it stands; of a call that has ended, that it runs again."""
        if p.total is not None and p.done >= p.total:
            return  # its end, which is told by `finished`
        if self.spawned.ended is not None:
            if p.total is None:
                return
            self.again()
        state = "running" if p.running else "starting workers" if p.starting else "queued"
        self.spawned.changed(state=state, place=p.place, waiting_for=p.waiting_for)
        if p.worker:
            self.spawned.changed(worker=p.worker, attempt=max(p.attempt, 1))

    def outputs(
        self, done: int, failed: int, total: int | None, new: Sequence[Output] = ()
    ) -> None:
        """Take the counters, and of a single input who ran it."""
        if total is not None:  # who follows it by its id alone does not know
            self.spawned.changed(total=total)
        self.spawned.changed(done=done, failed=failed)
        if new and self.spawned.total == 1:
            self.spawned.changed(worker=new[-1].worker, attempt=new[-1].attempt)

    def connected(self, up: bool) -> None:
        """Take that the hub was lost, or is back."""
        if self.spawned.ended is None:
            self.spawned.changed(state="queued" if up else "reconnecting")

    def finished(self, status: str, error: BaseException | None) -> None:
        """Take the end; displays of it become static. Who fetches the result later ends it again."""
        self._voice.end()
        if self.spawned.ended is not None:
            return
        self.spawned.finish(status, self._now())
        self.over.set()
        if self.boards:
            self._end_soon()

    def _end_soon(self) -> None:
        # It may unpickle the result, which runs the user's code: not on the client's thread.
        threading.Thread(target=self._end, name="nbfn-preview", daemon=True).start()

    def _end(self) -> None:
        preview(self.spawned)
        with self._turn:
            for board in self.boards:
                if self.spawned.ended is not None:  # else it was retried meanwhile
                    board.end()

    def heard_at(self, place: Place) -> None:
        """Have what it prints from now on under another cell, if it has ended: that one had it run again."""
        if self.over.is_set():
            self._voice = Voice(place, many=self.spawned.total != 1)

    def again(self) -> None:
        """Take that it goes on, and have its displays live again."""
        self.spawned.restart(self._now())
        self.over.clear()
        if self.boards:
            threading.Thread(target=self._reopen, name="nbfn-preview", daemon=True).start()

    def _reopen(self) -> None:
        with self._turn:
            for board in self.boards:
                if self.spawned.ended is None:
                    board.reopen()
                    self._keep(board)

    def show_at(self, place: Place, names: dict[str, Any]) -> None:
        """Display it in a cell."""
        with self._turn:
            over = self.spawned.ended is not None
            board = Board(self.spawned, place, names, self._now)
            self.boards.append(board)
        if self.spawned.ended is None:
            self._keep(board)
        elif not over:  # it ended while the board was made, and nobody told that
            self._end_soon()

    def informed(self, info: CallInfo, *, known: bool) -> None:
        """Take what the hub says of it, at its first sight here or after it failed."""
        record = self.spawned
        retried = known and record.kept_until not in (0.0, info.kept_until)
        record.changed(function=info.name, version=info.version, total=info.num_inputs)
        record.changed(kept_until=info.kept_until)
        if info.expired:
            gone = "its results were kept for their time and are gone"
            record.changed(state="expired", ended=self._now(), took=None, result=gone)
        elif info.ended:  # its outcome is on its way
            self.over.wait(LAST_WORD)
            if retried:  # and nobody here heard of it
                record.restart(self._now())
                record.changed(done=info.done, failed=info.failed)
                record.finish("failure" if info.failed else "success", self._now())
            if retried or not known:
                record.changed(took=None)
        else:
            if record.ended is not None:
                self.again()
            record.changed(began=self._now() - max(0.0, time.time() - info.created))


def show(handle: FunctionCall[Any], observer: Any, names: dict[str, Any]) -> None:
    """Display a handle in the cell that runs now.

    Args:
        handle: The handle.
        observer: The notebook's; it knows the sinks of this kernel's calls.
        names: The notebook's names.
    """
    sink: HandleSink | None = observer.handles.get(handle.object_id)
    if sink is None or sink.spawned.state in ("failed", "cancelled"):  # somebody may retry these
        known = sink is not None
        try:
            info = handle._follow()
        except Error as error:
            if sink is None:
                Place().publish({"text/plain": f"{handle!r}: {error}"})
                return
        else:
            sink = observer.handles.get(handle.object_id)
            if sink is not None:
                sink.informed(info, known=known)
    if sink is None:
        Place().publish({"text/plain": repr(handle)})
        return
    if sink.spawned.ended is not None and not sink.spawned.result:
        preview(sink.spawned)
    sink.show_at(Place(), names)


def install(shell: Any, observer: Any) -> None:
    """Have IPython display handles in this way."""
    shell.display_formatter.ipython_display_formatter.for_type(
        FunctionCall, lambda handle: show(handle, observer, shell.user_ns)
    )


def uninstall(shell: Any) -> None:
    """Undo `install`."""
    shell.display_formatter.ipython_display_formatter.pop(FunctionCall, None)
