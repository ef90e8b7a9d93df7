"""Answers messages that cannot be decoded or handled, and splits or replaces messages that are too large for a frame.

For a part that is still too large, it makes the message to send instead and the event for the state machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from nbfn.hub.scheduler import events
from nbfn.hub.scheduler.events import Event
from nbfn.hub.scheduler.payloads import weights
from nbfn.protocol import codec
from nbfn.protocol import messages as m
from nbfn.protocol.codec import BadFrame, FrameTooLargeError
from nbfn.protocol.messages import Message
from nbfn.types import InputStatus

#: Inputs in one message to a worker.
MOST_INPUTS = 1024


def split_outputs(message: m.Outputs) -> Iterable[m.Outputs]:
    """Split a message so that each part fits into a frame."""
    outputs = message.outputs
    if len(outputs) == 1 or (
        len(outputs) <= codec.MOST_ENTRIES and m.outputs_weight(outputs) <= codec.MOST_BYTES
    ):
        return (message,)
    return (m.Outputs(message.call, part) for part in codec.split(outputs, m.outputs_weight))


def split_run(message: m.Run) -> Iterable[m.Run]:
    """Split a message so that each part fits into a frame."""
    inputs = message.inputs
    if len(inputs) == 1 or (len(inputs) <= MOST_INPUTS and _weigh(inputs) <= codec.MOST_BYTES):
        return (message,)
    return _runs(message)


def _runs(message: m.Run) -> Iterator[m.Run]:
    """Yield the parts of a message; the last part of a batch completes it."""
    inputs = message.inputs
    left = len(inputs)
    for part in codec.split(inputs, _weigh, most=MOST_INPUTS):
        left -= len(part)
        goes_on = left > 0 and part[-1].batch > 0 and part[-1].batch == inputs[-left].batch
        yield m.Run(part, message.confirm, goes_on, message.levels)


def _weigh(inputs: Sequence[m.LeasedInput]) -> int:
    return sum(weights([leased.payload for leased in inputs]))


def replacement(message: Message, error: FrameTooLargeError) -> Message | None:
    """Return the message to send instead; None for none."""
    if isinstance(message, m.Run):  # completes a batch that was sent in part, and confirms results
        return m.Run((), message.confirm)
    if isinstance(message, m.Outputs):
        fault = m.Fault("resource_exhausted", f"The result cannot be sent: {error}")
        status = int(InputStatus.INTERNAL_FAILURE)
        return m.Outputs(
            message.call, tuple(m.Output(o.index, status, None, fault) for o in message.outputs)
        )
    if request := getattr(message, "request", 0):
        return m.Failed(request, "resource_exhausted", f"The answer cannot be sent: {error}")
    return None


def consequence(worker: str, message: Message, error: FrameTooLargeError) -> Event | None:
    """Return the event that reports an unsent message of a worker to the state machine."""
    if isinstance(message, m.Run):
        fault = m.Fault("resource_exhausted", f"The input cannot be sent to a worker: {error}")
        return events.InputsNotSent(worker, [entry.lease for entry in message.inputs], fault)
    if isinstance(message, m.Bind):
        text = (
            f"{message.definition.name!r} cannot be sent to a worker with its environment variables and "
            f"secrets: {error}"
        )
        return events.BindNotSent(worker, m.Fault("resource_exhausted", text))
    return None


# --- messages that cannot be handled -------------------------------------------------------------


def of_frame(bad: BadFrame) -> Message | None:
    """Return the answer to a frame that cannot be decoded; None if its request is not known."""
    return _answer(bad.request, bad.call, "invalid", bad.reason)


def of_failure(message: Message | BadFrame) -> Message | None:
    """Return the answer to a message that the hub failed to handle."""
    request, call = getattr(message, "request", 0), getattr(message, "call", "")
    text = f"The hub failed to handle {type(message).__name__} (see logs/hub.log in NBFN_HOME)."
    return _answer(request, call, "internal", text)


def _answer(request: int, call: str, code: str, text: str) -> Message | None:
    if request:
        return m.Failed(request, code, text)
    return m.CallRefused(call, code, text) if call else None
