"""Shows what calls of an input write as output of that input."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nbfn.client.call_observer import CallSink, CallView, TextSink
from nbfn.protocol.messages import Emission, Emitted, Output, Progress
from nbfn.runtime.line_multiplexer import Voices
from nbfn.runtime.output_channels import NESTED
from nbfn_kernel.worker.outbox import Outbox


class NestedOutputSink:
    """Hands on what one call wrote, in whole lines: several may write at once.

    Args:
        lease: Of the input whose code made the call.
        many: Whether it has many inputs; none of them may clear what the others show.
        outbox: Where it goes.
    """

    def __init__(self, lease: int, outbox: Outbox, *, many: bool) -> None:
        self._lease = lease
        self._outbox = outbox
        self._many = many
        self._voices = {name: Voices(self._writing(name)) for name in ("stdout", "stderr")}

    def _writing(self, channel: str) -> Callable[[str], None]:
        return lambda text: self._outbox.write(self._lease, f"{NESTED}{channel}", text)

    def emission(self, e: Emission) -> None:
        """See `CallSink.emission`."""
        if e.channel in self._voices:
            text = e.data.decode("utf-8", "replace")
            self._voices[e.channel].say(e.index, text, alone=False)
        elif e.channel != "clear" or not self._many:
            self._end_lines()  # in the order in which it was made
            self._outbox.put(Emitted(self._lease, e.channel, e.data))

    def _end_lines(self) -> None:
        for voices in self._voices.values():
            voices.end()

    def progress(self, p: Progress) -> None:
        """See `CallSink.progress`."""

    def outputs(
        self, done: int, failed: int, total: int | None, new: Sequence[Output] = ()
    ) -> None:
        """See `CallSink.outputs`; comes after what the inputs wrote that ended."""
        if not self._many:
            self._end_lines()

    def connected(self, up: bool) -> None:
        """See `CallSink.connected`; the input goes on when the hub is back."""

    def failed(self, index: int, error: BaseException) -> None:
        """See `CallSink.failed`."""

    def finished(self, status: str, error: BaseException | None) -> None:
        """See `CallSink.finished`."""
        self._end_lines()


class DiscardedOutput(TextSink):
    """Discards output."""

    def emission(self, e: Emission) -> None:
        """See `CallSink.emission`."""


class NestedCallObserver:
    """Gives each call of an input a sink for its output.

    Args:
        lease: Returns the lease of the input whose code asks, or 0.
        outbox: Where it goes.
    """

    def __init__(self, lease: Callable[[], int], outbox: Outbox) -> None:
        self._lease = lease
        self._outbox = outbox

    def call_started(self, call: CallView) -> CallSink | None:
        """See `nbfn.client.call_observer.Observer`; what was written before the call reaches the hub before it."""
        lease = self._lease()
        if lease:
            self._outbox.sync(lease)
        if call.kind == "spawn":  # it may outlive this input, so the hub sends on what it writes
            return DiscardedOutput()
        return NestedOutputSink(lease, self._outbox, many=call.total != 1) if lease else None
