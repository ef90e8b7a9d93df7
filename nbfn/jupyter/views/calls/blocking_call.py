"""A call of `remote` that a cell waits for: its output, its state, and the line that displays it.

A call is displayed only if it takes long (`cell_calls`); until then its sink costs next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from nbfn.client.call_observer import CallSink
from nbfn.client.calls import interrupt
from nbfn.jupyter.cell_output import OutputArea
from nbfn.jupyter.views.calls.call_output import CallOutput
from nbfn.jupyter.views.maps.static_render import short_id
from nbfn.jupyter.views.status_style import mark_html, mark_of
from nbfn.protocol import messages
from nbfn.protocol.call_states import CallState
from nbfn.runtime.time_span import format_span

if TYPE_CHECKING:
    from nbfn.client.call_observer import CallView
    from nbfn.protocol.call_states import InputCounts
    from nbfn.protocol.messages import Emission, Output, Progress

#: Seconds between two requests for the state of a call that is not running.
ASK_INTERVAL = 1.0
#: The state of a call while the hub does not answer.
RECONNECTING = "reconnecting"

_END_STATES = {"success": CallState.SUCCEEDED, "terminated": CallState.CANCELLED}


class Board(Protocol):
    """What displays a call; `nbfn.jupyter.views.calls.cell_calls.CellCalls`."""

    def hide_line(self) -> None:
        """Clear the line of a terminal, before other output."""

    def show_end(self, sink: BlockingSink, /) -> None:
        """Display that a call has ended."""


class BlockingSink(CallSink):
    """The sink of a call that a cell waits for.

    Args:
        call: The call.
        area: The cell.
        now: The clock.
        forget: Called when the call has ended.
        script: Whether it runs the script of a cell, which prints where and how long it ran.
    """

    def __init__(
        self,
        call: CallView,
        area: OutputArea,
        now: Callable[[], float],
        forget: Callable[[BlockingSink], None],
        *,
        script: bool = False,
    ) -> None:
        self.call = call.id
        self.function, self.version, self.app = call.function, call.version, call.app
        self.area = area
        self.began = now()
        self._asked = -math.inf
        self.ended: float | None = None
        self.state: str = CallState.QUEUED
        self.worker = self.waiting_for = ""
        self.attempt = self.place = 0
        self.script = script
        self.cancelling = False
        self.wrote_part = False  # its output so far does not end with a line
        self.board: Board | None = None
        self.cancel = call.cancel
        self._call: Any = call.call
        self._output = CallOutput(area)
        self._now = now
        self._forget = forget

    # --- events, on the client's thread ---

    def emission(self, e: Emission) -> None:
        """Display output."""
        if (board := self.board) is not None:
            board.hide_line()
        self.worker, self.attempt = e.worker or self.worker, e.attempt
        self.state, self.waiting_for = CallState.RUNNING, ""
        if e.channel in ("stdout", "stderr"):
            self.wrote_part = not e.data.endswith(b"\n")
        self._output.emission(e)

    def progress(self, p: Progress) -> None:
        """Update the state."""
        if CallState(p.state).ended:
            return
        self.state, self.place, self.waiting_for = p.state, p.place, p.waiting_for
        if p.counts.running:
            self.waiting_for = ""
        if p.worker:
            self.worker, self.attempt = p.worker, p.attempt

    def outputs(self, counts: InputCounts, more: bool, new: Sequence[Output] = ()) -> None:
        """Store the worker that ran the input."""
        if new:
            self.worker, self.attempt = new[-1].worker or self.worker, new[-1].attempt

    def connected(self, up: bool) -> None:
        """Called when the hub connection drops or recovers."""
        self.state = CallState.QUEUED if up else RECONNECTING

    def finished(self, status: str, error: BaseException | None) -> None:
        """Write an unfinished line of output, and display the end; the caller raises the error."""
        self.ended = self._now()
        self._forget(self)
        board = self.board
        if board is not None:
            board.hide_line()
        self._output.end()
        self.state, self.waiting_for, self.place = (
            _END_STATES.get(status, CallState.FAILED),
            "",
            0,
        )
        if board is not None:
            board.show_end(self)

    # --- for the display ---

    def ask(self, now: float) -> None:
        """Ask the hub for the state unless the call is known to run; the hub then also reports later changes."""
        if self.state == CallState.RUNNING or now - self._asked < ASK_INTERVAL:
            return
        self._asked = now
        if self._call is not None:
            self._call.client.send(messages.Watch(0, self.call, 0, 0))

    @property
    def shown_state(self) -> str:
        """The state that is displayed: also whether the call was detached by its interrupted cell."""
        if self.ended is None and interrupt.detached_call(self.call) is not None:
            return CallState.DETACHED
        return self.state

    @property
    def title(self) -> str:
        """The name of its Function and its version."""
        if self.script:
            return "script" if self.function == "cell" else self.function
        version = f" v{self.version}" if self.version else ""
        return f"{self.function}.remote{version}"

    def parts(self, now: float) -> list[str]:
        """Return state, time, worker and id, and why it waits."""
        state = self.shown_state
        if self.script and self.ended is not None:
            return [state]
        found = [f"{state} {format_span((self.ended or now) - self.began)}"]
        if self.cancelling and self.ended is None:
            found.append("is being cancelled")
        if self.worker and state != CallState.QUEUED:
            found.append(self.worker[:9])
        found += [f"attempt {self.attempt}"] if self.attempt > 1 else []
        found += [f"place {self.place:,} in the queue"] if self.place and not self.worker else []
        found += [self.waiting_for] if self.waiting_for else []
        found.append(short_id(self.call))
        if state == CallState.DETACHED:
            found.append(f"%fn attach {self.call} returns its handle")
        return found

    def line(self, now: float) -> str:
        """Return the call in one line of plain text."""
        return " · ".join([f"{mark_of(self.shown_state)} {self.title}", *self.parts(now)])

    def html(self, now: float) -> str:
        """Return the call as static HTML."""
        said = escape(" · ".join(self.parts(now)))
        return f"<div>{mark_html(self.shown_state)} <b>{escape(self.title)}</b> · {said}</div>"

    def view(self, now: float) -> dict[str, Any]:
        """Return the call as data for the front end."""
        state = self.shown_state
        return {
            "call": self.call,
            "title": self.title,
            "state": state,
            "mark": mark_of(state),
            "said": self.parts(now),
            "cancelling": self.cancelling,
        }
