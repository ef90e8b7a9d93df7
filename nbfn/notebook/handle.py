"""What a `FunctionCall` displays: its state, kept true while it runs, and its end.

Each spawned call of this notebook has a sink that keeps a `Spawned` record; displays of the handle
show that record, as a widget on a page and as a line elsewhere. The ticker of `progress` has them
look again; the client's thread never waits for them.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nbfn.call import FunctionCall
from nbfn.exception import Error

from .boards import LIVE
from .display import Place
from .spawned import Spawned, html, line, shown, told
from .voice import Voice

if TYPE_CHECKING:
    from nbfn.observe import CallView
    from nbfn.wire.messages import Emission, Output, Progress

#: Seconds that a display waits for the outcome of a call that has ended.
LAST_WORD = 2.0


class HandleSink:
    """Hears of one spawned call: its prints go under the cell that made it, the rest into its record."""

    def __init__(self, call: CallView, place: Place, now: Callable[[], float]) -> None:
        self.spawned = Spawned(
            call.id, call.function, call.version, call.app, began=now(), total=call.total
        )
        self._voice = Voice(place, many=call.total != 1)
        self._now = now
        self.boards: list[Board] = []
        self.over = threading.Event()

    def emission(self, e: Emission) -> None:
        """Show what it wrote, and keep its last line."""
        self._voice.emission(e)
        if self.spawned.ended is None:
            self.spawned.changed(state="running", worker=e.worker, attempt=e.attempt)
        if e.channel in ("stdout", "stderr"):
            self.spawned.wrote(e.data.decode("utf-8", "replace"))

    def progress(self, p: Progress) -> None:
        """Take where it stands."""
        if self.spawned.ended is not None:
            return  # who fetches the result follows the call again
        state = "running" if p.running else "starting workers" if p.starting else "queued"
        self.spawned.changed(state=state, place=p.queued, waiting_for=p.waiting_for)

    def outputs(
        self, done: int, failed: int, total: int | None, new: Sequence[Output] = ()
    ) -> None:
        """Take the counters."""
        if total is not None:  # who follows it by its id alone does not know
            self.spawned.changed(total=total)
        self.spawned.changed(done=done, failed=failed)

    def connected(self, up: bool) -> None:
        """Take that the hub was lost, or is back."""
        if self.spawned.ended is None:
            self.spawned.changed(state="queued" if up else "reconnecting")

    def failed(self, index: int, error: BaseException) -> None:
        """See `CallSink.failed`; whoever gets the result gets the error."""

    def finished(self, status: str, error: BaseException | None) -> None:
        """Take the end; displays of it become static. Who fetches the result later ends it again."""
        self._voice.end()
        if self.spawned.ended is not None:
            return
        self.spawned.finish(status, self._now())
        self.over.set()
        if self.boards:
            # It may unpickle the result, which runs the user's code: not on the client's thread.
            threading.Thread(target=self._end, name="nbfn-preview", daemon=True).start()

    def _end(self) -> None:
        preview(self.spawned)
        for board in self.boards:
            board.end(self._now())


def preview(spawned: Spawned) -> None:
    """Put the result, or the error, of a call that has ended into its record."""
    if spawned.state == "cancelled" or (spawned.total or 1) != 1:
        return
    try:
        value: Any = FunctionCall.from_id(spawned.call).get(timeout=5)
    except Exception as error:  # noqa: BLE001 - the user's, to be shown
        spawned.changed(result=told(error))
    else:
        spawned.changed(result=shown(value))


class Board:
    """One display of a spawned call.

    Args:
        spawned: The record.
        place: Where it is.
        names: The notebook's names: *Get* binds ``result`` there.
        now: The clock.
    """

    def __init__(
        self, spawned: Spawned, place: Place, names: dict[str, Any], now: Callable[[], float]
    ) -> None:
        self._spawned = spawned
        self._place = place
        self._names = names
        self._now = now
        self._shown = uuid.uuid4().hex
        self._closed = threading.Event()
        self._widget: Any = None
        if place.widgets and spawned.ended is None:
            place.run(self._open)
        if self._widget is None:
            self._publish(update=False)

    def _open(self) -> None:
        from .handlewidget import HandleView

        actions = {"cancel": self._cancel, "get": self._get}
        self._widget = HandleView(self._spawned, self._now(), actions)
        bundle = self._widget._repr_mimebundle_()
        data = dict(bundle[0]) if bundle else {}
        now = self._now()
        data |= {"text/plain": line(self._spawned, now), "text/html": html(self._spawned, now)}
        self._place.publish(data, metadata=LIVE, transient={"display_id": self._shown})

    @property
    def ended(self) -> bool:
        """Whether it is static."""
        return self._spawned.ended is not None

    def show(self, now: float) -> None:
        """Show what changed since the last time; the clock of what runs, too."""
        if self._widget is not None and self._spawned.ended is None:
            self._place.run(self._widget.show, self._spawned, now)

    def end(self, now: float) -> None:
        """Become static."""
        self._publish(update=True)
        if self._widget is not None:
            self._place.run(self._widget.layout.close)
            self._place.run(self._widget.close)
            self._widget = None
        self._closed.set()

    def end_from(self, place: Place, patience: float) -> None:
        """Have the last word said by another cell, too: who runs a notebook without a page hears only the
        cell that runs.
        """
        if self._closed.wait(patience):
            self._publish(update=True, place=place)

    def _publish(self, *, update: bool, place: Place | None = None) -> None:
        now = self._now()
        data = {"text/plain": line(self._spawned, now), "text/html": html(self._spawned, now)}
        place = place or self._place
        place.publish(data, transient={"display_id": self._shown}, update=update)

    # --- buttons, on the thread of the page's messages ---

    def _cancel(self) -> None:
        self._aside(lambda: FunctionCall.from_id(self._spawned.call).cancel())

    def _get(self) -> None:
        def fetch() -> None:
            self._names["result"] = FunctionCall.from_id(self._spawned.call).get()
            if self._widget is not None:
                self._place.run(
                    self._widget.show, self._spawned, self._now(), "result is bound to `result`"
                )

        self._aside(fetch)

    def _aside(self, action: Callable[[], Any]) -> None:
        """Do something that waits, without holding up the page's messages."""

        def run() -> None:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - told on the page, where it was asked for
                if self._widget is not None:
                    self._place.run(self._widget.show, self._spawned, self._now(), told(error))

        threading.Thread(target=run, name="nbfn-handle", daemon=True).start()


def show(handle: FunctionCall[Any], observer: Any, names: dict[str, Any]) -> None:
    """Display a handle in the cell that runs now.

    Args:
        handle: The handle.
        observer: The notebook's; it knows the sinks of this kernel's calls.
        names: The notebook's names.
    """
    sink: HandleSink | None = observer.handles.get(handle.object_id)
    if sink is None:
        try:
            info = handle._follow()
        except Error as error:
            Place().publish({"text/plain": f"{handle!r}: {error}"})
            return
        sink = observer.handles.get(handle.object_id)
        if sink is not None:
            sink.spawned.changed(function=info.name, total=info.num_inputs)
            if info.ended:  # its outcome is on its way
                sink.over.wait(LAST_WORD)
    if sink is None:
        Place().publish({"text/plain": repr(handle)})
        return
    if sink.spawned.ended is not None and not sink.spawned.result:
        preview(sink.spawned)
    board = Board(sink.spawned, Place(), names, observer.now)
    if sink.spawned.ended is None:
        sink.boards.append(board)
        observer.keep_showing(board)


def install(shell: Any, observer: Any) -> None:
    """Have IPython display handles in this way."""
    shell.display_formatter.ipython_display_formatter.for_type(
        FunctionCall, lambda handle: show(handle, observer, shell.user_ns)
    )


def uninstall(shell: Any) -> None:
    """Undo `install`."""
    shell.display_formatter.ipython_display_formatter.pop(FunctionCall, None)
