"""Displays a call that a cell waits for: its output, and why it has not started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from nbfn.client.call_observer import CallSink
from nbfn.jupyter.cell_output import OutputArea
from nbfn.jupyter.views.calls.call_output import CallOutput

if TYPE_CHECKING:
    from nbfn.client.call_observer import CallView
    from nbfn.protocol.messages import Emission, Progress

#: Seconds that a call waits until its cell displays the reason.
PATIENCE = 5.0


class Ticker(Protocol):
    """The part of the observer that a sink uses: the time, and regular updates."""

    def now(self) -> float:
        """Return the time of the clock."""

    def keep_updating(self, display: PrintSink, /) -> None:
        """Call ``show`` of a sink regularly until it has ended."""


class PrintSink(CallSink):
    """Writes the output of a call below its cell, and what the call waits for if that takes long.

    Args:
        call: The call.
        area: The cell.
        ticker: Updates it while the call waits.
    """

    def __init__(self, call: CallView, area: OutputArea, ticker: Ticker) -> None:
        self._name = call.function
        self._area = area
        self._ticker = ticker
        self._output = CallOutput(area)
        self._why = self._said = ""
        self._since: float | None = None  # when it began to wait
        # When it was made, until it runs: the hub reports only long waits.
        self._made: float | None = ticker.now()

    def emission(self, e: Emission) -> None:
        """Display output."""
        self._wait_for("")
        self._output.emission(e)

    def progress(self, p: Progress) -> None:
        """Update whether the call waits, and for what."""
        if p.counts.running:
            self._made = None
        self._wait_for("" if p.counts.running else p.waiting_for, self._made)

    def connected(self, up: bool) -> None:
        """Called when the hub connection drops or recovers."""
        self._wait_for("" if up else "waits for the hub, which does not answer now")

    def finished(self, status: str, error: BaseException | None) -> None:
        """Write an unfinished line; the caller raises the error."""
        self._wait_for("")
        self._output.end()

    def _wait_for(self, why: str, since: float | None = None) -> None:
        self._why = why
        if not why:
            self._since = None
        elif self._since is None:
            self._since = self._ticker.now() if since is None else since
            self._ticker.keep_updating(self)

    # --- for the ticker ---

    @property
    def ended(self) -> bool:
        """Whether the call does not wait, or has ended."""
        return self._since is None

    def show(self, now: float) -> None:
        """Write what the call waits for, once it has waited long enough; each reason once."""
        why, since = self._why, self._since
        if why and why != self._said and since is not None and now - since >= PATIENCE:
            self._said = why
            self._area.write("stderr", f"○ {self._name}: {why}\n")
