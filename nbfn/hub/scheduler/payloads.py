"""Payloads in the state machine: opaque, except for their weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbfn.protocol import messages

#: Serialized user data; the hub never decodes it.
Payload = Any


class Stored:
    """A placeholder for the payload of a durable input that is on disk, not in memory."""

    __slots__ = ("weight",)

    def __init__(self, weight: int) -> None:
        self.weight = weight


def weight(payload: Payload) -> int:
    """Return the bytes that a payload counts for in limits."""
    found: int = getattr(payload, "weight", 0)
    return found


def weights(payloads: Sequence[Payload]) -> list[int]:
    """Return the weight of each payload, as `nbfn.protocol.messages.weights`; some may be None, or `Stored`."""
    try:
        return messages.weights(payloads)
    except AttributeError:
        return list(map(weight, payloads))
