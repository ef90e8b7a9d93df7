"""Messages that turned out larger than a frame: what is sent, and what the state machine is told, instead."""

from __future__ import annotations

from nbfn.hub.scheduler import events
from nbfn.hub.scheduler.effects import Fault
from nbfn.hub.scheduler.events import Event
from nbfn.protocol import messages as m
from nbfn.protocol.codec import FrameTooLargeError
from nbfn.protocol.messages import Message
from nbfn.types import InputStatus


def replacement(message: Message, error: FrameTooLargeError) -> Message | None:
    """Return what its receiver is sent instead; None where that is nothing."""
    if isinstance(message, m.Run):  # ends a batch that is not whole, and confirms results
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
    """Return what the state machine has to know of a message that a worker did not get."""
    if isinstance(message, m.Run):
        fault: Fault = ("resource_exhausted", f"The input cannot be sent to a worker: {error}", {})
        return events.InputsNotSent(worker, [entry.lease for entry in message.inputs], fault)
    if isinstance(message, m.Bind):
        text = (
            f"{message.definition.name!r} cannot be sent to a worker with its environment variables and "
            f"secrets: {error}"
        )
        return events.BindNotSent(worker, ("resource_exhausted", text, {}))
    return None
