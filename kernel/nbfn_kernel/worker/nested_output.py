"""Forwards the output of calls that an input makes as output of that input."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nbfn.client.call_observer import CallObserver, CallSink, CallView
from nbfn.protocol.call_states import InputCounts
from nbfn.protocol.messages import Emission, Emitted, Output
from nbfn.runtime.line_multiplexer import LineMultiplexer
from nbfn.runtime.output_channels import NESTED
from nbfn_kernel.worker.outbox import Outbox


class NestedOutputSink(CallSink):
    """Forwards the output of one call in whole lines, since several inputs may write at the same time.

    Args:
        lease: The lease of the input whose code made the call.
        outbox: Queues the output for the hub.
        many: Whether the call has several inputs; then `clear_output` of one is ignored, as it would clear all.
    """

    def __init__(self, lease: int, outbox: Outbox, *, many: bool) -> None:
        self._lease = lease
        self._outbox = outbox
        self._many = many
        self._lines = {name: LineMultiplexer(self._writer(name)) for name in ("stdout", "stderr")}

    def _writer(self, channel: str) -> Callable[[str], None]:
        return lambda text: self._outbox.write(self._lease, f"{NESTED}{channel}", text)

    def emission(self, e: Emission) -> None:
        """See `CallSink.emission`."""
        if e.channel in self._lines:
            text = e.data.decode("utf-8", "replace")
            self._lines[e.channel].say(e.index, text, alone=False)
        elif e.channel != "clear" or not self._many:
            self._end_lines()  # text that was written before the display
            self._outbox.put(Emitted(self._lease, e.channel, e.data))

    def _end_lines(self) -> None:
        for lines in self._lines.values():
            lines.end()

    def outputs(self, counts: InputCounts, more: bool, new: Sequence[Output] = ()) -> None:
        """See `CallSink.outputs`; called after the output of the finished inputs."""
        if not self._many:
            self._end_lines()

    def finished(self, status: str, error: BaseException | None) -> None:
        """See `CallSink.finished`."""
        self._end_lines()


class NestedCallObserver(CallObserver):
    """Creates a sink for the output of each call that an input makes.

    Args:
        lease: Returns the lease of the input whose code calls it, or 0.
        outbox: Queues the output for the hub.
    """

    def __init__(self, lease: Callable[[], int], outbox: Outbox) -> None:
        self._lease = lease
        self._outbox = outbox

    def call_started(self, call: CallView) -> CallSink | None:
        """See `nbfn.client.call_observer.CallObserver`; sends earlier output first."""
        lease = self._lease()
        if lease:
            self._outbox.sync(lease)
        if call.kind == "spawn":  # it may outlive this input, so the hub forwards its output
            return CallSink()  # discards the output here
        return NestedOutputSink(lease, self._outbox, many=call.total != 1) if lease else None
