"""Defines the base classes of messages, payloads and segments, the generic answers to requests, and ids."""

from __future__ import annotations

import os
import string
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from msgspec import Struct

from nbfn.protocol.messages.fields import Count, FileName, Place

#: The most bytes of an encoded `Segment`.
SEGMENT_BYTES = 80
#: The most bytes that the segments of one payload count for in limits. It is far above every limit, and small enough
#: that the sum over all payloads is a valid `Count`.
MOST_BESIDE = 2**38


class Data(Struct, frozen=True, array_like=True, gc=False):
    """Base of the parts of a message. They are encoded as arrays; the garbage collector does not track them."""


class Message(Struct, frozen=True, array_like=True, gc=False, tag=True):
    """Base of all messages. The class name identifies the type of an encoded message."""


class Segment(Data):
    """A file with bytes that are not part of the message itself.

    ``place`` is "shm" or "spill" for a file that is deleted with its call, or "blob" for a file in the
    store. ``size`` is in bytes.
    """

    place: Place
    name: FileName
    size: Count


class Payload(Data):
    """One pickled value, opaque to the hub.

    ``data`` is the pickle stream. If ``spilled``, the first segment holds the stream instead. The other
    segments are its out-of-band buffers, in order.
    """

    data: bytes
    segments: tuple[Segment, ...] = ()
    spilled: bool = False

    @property
    def weight(self) -> int:
        """The number of bytes that the payload counts for in limits; at least its size in a message.

        Buffers in segments count for a quarter of their size, because they are mapped and shared by
        processes. A peer may send wrong sizes, so the segments count for at most `MOST_BESIDE` bytes.
        """
        if not self.segments:
            return len(self.data)
        beside = sum(max(SEGMENT_BYTES, segment.size >> 2) for segment in self.segments)
        stream = 3 * self.segments[0].size // 4 if self.spilled else 0
        return len(self.data) + min(beside + stream, MOST_BESIDE)


_data, _segments = attrgetter("data"), attrgetter("segments")


def weights(payloads: Sequence[Payload]) -> list[int]:
    """Return the weight of each payload in bytes.

    If no payload has segments, the weights are computed without Python code for each payload.
    """
    if len(payloads) == 1 or any(map(_segments, payloads)):
        return [payload.weight for payload in payloads]
    return list(map(len, map(_data, payloads)))


def total_weight(payloads: Sequence[Payload]) -> int:
    """Return the sum of the weights of payloads in bytes."""
    return sum(weights(payloads))


class Fault(Data):
    """A failure that the hub reports itself.

    ``code`` is that of a class in `nbfn.exception`; ``details`` are attributes of the error.
    """

    code: str
    message: str
    details: dict[str, Any] = {}


class Done(Message):
    """Answer to a request that succeeded and has no other answer."""

    request: int


class Failed(Message):
    """Answer to a request that failed; ``code`` is that of a class in `nbfn.exception`."""

    request: int
    code: str
    message: str


# --- ids -----------------------------------------------------------------------------------------

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
#: Characters after the prefix of an id: 22 base62 characters hold 131 bits.
ID_LENGTH = 22
#: Maps each byte to a character. The first eight characters are a little more likely than the others, which
#: leaves 124 bits of min-entropy in an id.
_CHARACTERS = bytes(ord(_ALPHABET[byte % 62]) for byte in range(256))


def new_id(prefix: str) -> str:
    """Return a fresh random id, for example ``fc-`` and 22 base62 characters."""
    return f"{prefix}-{os.urandom(ID_LENGTH).translate(_CHARACTERS).decode()}"


def base62(number: int) -> str:
    """Return a number as 22 base62 characters (modulo 62**22)."""
    digits = []
    for _ in range(ID_LENGTH):
        number, rest = divmod(number, 62)
        digits.append(_ALPHABET[rest])
    return "".join(reversed(digits))


def input_id(call: str, index: int) -> str:
    """Return the public id of input ``index`` of a call; the same every time, so none is stored."""
    number = 0
    for character in call[3:]:
        number = number * 62 + _ALPHABET.index(character)
    return f"in-{base62(number + index + 1)}"
