"""What all messages are made of: their two bases, bytes that nobody here opens, and how a request
ends that has no answer of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from msgspec import Struct

from nbfn.protocol.messages.fields import Count, FileName, Place

#: Most bytes of a `Segment` in a message.
SEGMENT_BYTES = 80
#: Most bytes that the segments of one payload count for: far above every limit, and small enough that the sum for
#: as many payloads as there can be is still a `Count`.
MOST_BESIDE = 2**38


class Data(Struct, frozen=True, array_like=True, gc=False):
    """Base of the parts of a message: sent as arrays, never tracked by the cycle collector."""


class Message(Struct, frozen=True, array_like=True, gc=False, tag=True):
    """Base of everything that is sent; the class name is its kind on the wire."""


class Segment(Data):
    """A file of bytes beside the wire: ``place`` is "shm" or "spill" (gone with its call) or "blob"
    (kept by the store).
    """

    place: Place
    name: FileName
    size: Count


class Payload(Data):
    """One pickled value, opaque to the hub.

    ``data`` is the pickle stream, unless ``spilled``: then the first segment holds the stream.
    Further segments are its out-of-band buffers, in order.
    """

    data: bytes
    segments: tuple[Segment, ...] = ()
    spilled: bool = False

    @property
    def weight(self) -> int:
        """What it counts for in limits, in bytes: at least what it takes up in a message.

        Its buffers in segments count for a quarter: they are mapped, and in no process's own memory. What a
        peer says of their sizes may be wrong, so they count for no more than `MOST_BESIDE`.
        """
        if not self.segments:
            return len(self.data)
        beside = sum(max(SEGMENT_BYTES, segment.size >> 2) for segment in self.segments)
        stream = 3 * self.segments[0].size // 4 if self.spilled else 0
        return len(self.data) + min(beside + stream, MOST_BESIDE)


_data, _segments = attrgetter("data"), attrgetter("segments")


def weights(payloads: Sequence[Payload]) -> list[int]:
    """Return the weight of each payload. Where none has segments, no Python code runs for each."""
    if len(payloads) == 1 or any(map(_segments, payloads)):
        return [payload.weight for payload in payloads]
    return list(map(len, map(_data, payloads)))


def total_weight(payloads: Sequence[Payload]) -> int:
    """Return the sum of the weights of payloads."""
    return sum(weights(payloads))


class Fault(Data):
    """A failure that the hub itself has to tell: a code of `nbfn.exception`, a sentence,
    attributes.
    """

    code: str
    message: str
    details: dict[str, Any] = {}


class Done(Message):
    """A request was carried out and has no other answer."""

    request: int


class Failed(Message):
    """A request was refused: a code of `nbfn.exception` and a sentence."""

    request: int
    code: str
    message: str
