"""Answers to messages that cannot be decoded or handled: the request or call has failed."""

from __future__ import annotations

from nbfn.protocol import messages as m
from nbfn.protocol.codec import BadFrame
from nbfn.protocol.messages import Message


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
