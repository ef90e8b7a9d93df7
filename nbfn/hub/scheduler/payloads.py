"""Payloads as the state machine sees them: opaque, but for what they count for in limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbfn.protocol import messages

#: User bytes; never looked into.
Payload = Any


class Stored:
    """Stands for the payload of a durable input that is on the disk, not in memory."""

    __slots__ = ("weight",)

    def __init__(self, weight: int) -> None:
        self.weight = weight


def weight(payload: Payload) -> int:
    """Return what a payload counts for in limits, in bytes."""
    found: int = getattr(payload, "weight", 0)
    return found


def weights(payloads: Sequence[Payload]) -> list[int]:
    """Return the weight of each payload, as `nbfn.protocol.messages.weights`; some may be None, or `Stored`."""
    try:
        return messages.weights(payloads)
    except AttributeError:
        return list(map(weight, payloads))
