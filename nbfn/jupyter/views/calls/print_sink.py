"""What a notebook shows of one call that a cell waits for: what it prints, and why it has not begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from nbfn.client.call_observer import CallSink
from nbfn.jupyter.cell_output import OutputArea
from nbfn.jupyter.views.calls.call_output import CallOutput

if TYPE_CHECKING:
    from nbfn.client.call_observer import CallView
    from nbfn.protocol.messages import Emission, Progress

#: Seconds that a call waits until its cell says for what.
PATIENCE = 5.0


class Ticker(Protocol):
    """What a call needs of the observer that made its sink: the time, and to be shown again and again."""

    def now(self) -> float:
        """Return the time by which calls are shown."""

    def keep_updating(self, display: PrintSink, /) -> None:
        """Show something again and again until it has ended."""


class PrintSink(CallSink):
    """Shows what one call prints under the cell that made it, and what it waits for when that is long.

    Args:
        call: The call.
        area: Where it is shown.
        ticker: Looks after it while it waits.
    """

    def __init__(self, call: CallView, area: OutputArea, ticker: Ticker) -> None:
        self._name = call.function
        self._area = area
        self._ticker = ticker
        self._output = CallOutput(area)
        self._why = self._said = ""
        self._since: float | None = None  # when it began to wait
        # When it was made, until it runs: the hub tells of a long wait only.
        self._made: float | None = ticker.now()

    def emission(self, e: Emission) -> None:
        """Show it."""
        self._wait_for("")
        self._output.emission(e)

    def progress(self, p: Progress) -> None:
        """Take whether it waits, and for what."""
        if p.running:
            self._made = None
        self._wait_for("" if p.running else p.waiting_for, self._made)

    def connected(self, up: bool) -> None:
        """Take that the hub was lost, or is back."""
        self._wait_for("" if up else "waits for the hub, which does not answer now")

    def finished(self, status: str, error: BaseException | None) -> None:
        """Show the rest of a line; the caller gets the error."""
        self._wait_for("")
        self._output.end()

    def _wait_for(self, why: str, since: float | None = None) -> None:
        self._why = why
        if not why:
            self._since = None
        elif self._since is None:
            self._since = self._ticker.now() if since is None else since
            self._ticker.keep_updating(self)

    # --- as the ticker sees it ---

    @property
    def ended(self) -> bool:
        """Whether it waits for nothing, or is over."""
        return self._since is None

    def show(self, now: float) -> None:
        """Say for what it waits, once it has waited long enough; each reason once."""
        why, since = self._why, self._since
        if why and why != self._said and since is not None and now - since >= PATIENCE:
            self._said = why
            self._area.write("stderr", f"○ {self._name}: {why}\n")
