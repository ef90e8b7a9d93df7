"""Encodes and decodes messages: one frame, msgpack, with a limit on its size. Bad bytes are a
value, not an exception.

Whoever puts a list into a message builds it with `split` (or `fitting`), which counts bytes, so that
no frame over the limit is built.
"""

from __future__ import annotations

from bisect import bisect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Any, TypeVar, Union

import msgspec

from nbfn.protocol import messages
from nbfn.protocol.decode_errors import BadFrame as BadFrame
from nbfn.protocol.decode_errors import explain
from nbfn.protocol.messages import Message
from nbfn.runtime.byte_size import format_bytes

T = TypeVar("T")

#: Bytes of the largest message; larger values are sent as segments (`nbfn.serialization.payload`).
MAX_FRAME = 16 * 1024 * 1024
#: Most entries of a list in one message, and most bytes of them. An entry is far smaller than a frame:
#: a payload's data is at most `nbfn.serialization.payload.SEGMENT_MIN` bytes.
MOST_ENTRIES, MOST_BYTES = 512, 2 * 1024 * 1024
#: Bytes of the rows in an answer that is one message.
MOST_OF_ANSWER = 12 * 1024 * 1024

_encoder = msgspec.msgpack.Encoder()


class FrameTooLargeError(ValueError):
    """A message that is larger than `MAX_FRAME` and was not sent."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{format_bytes(size)} is over the limit of {format_bytes(MAX_FRAME)}.")


def _decoder(kinds: tuple[type[Message], ...]) -> msgspec.msgpack.Decoder[Message]:
    return msgspec.msgpack.Decoder(Union[kinds])  # noqa: UP007 - built at run time


#: One decoder for each direction: other messages do not decode.
TO_HUB = _decoder(messages.FROM_CLIENT + messages.FROM_WORKER)
TO_CLIENT = _decoder(messages.TO_CLIENT)
TO_WORKER = _decoder(messages.TO_WORKER)
_KINDS = {
    decoder: {kind.__name__: kind for kind in kinds}
    for decoder, kinds in (
        (TO_HUB, messages.FROM_CLIENT + messages.FROM_WORKER),
        (TO_CLIENT, messages.TO_CLIENT),
        (TO_WORKER, messages.TO_WORKER),
    )
}


def encode(message: Message) -> bytes:
    """Return the frame of a message.

    Raises:
        FrameTooLargeError: If it is larger than `MAX_FRAME`.
    """
    frame = _encoder.encode(message)
    if len(frame) > MAX_FRAME:
        raise FrameTooLargeError(len(frame))
    return frame


def take(
    queue: deque[T],
    weigh: Callable[[Sequence[T]], int],
    *,
    most: int = MOST_ENTRIES,
    most_bytes: int = MOST_BYTES,
) -> tuple[T, ...]:
    """Take from a queue what is sent in one message; at least one entry, where there is one.

    Args:
        queue: What is to be sent; other threads may append to it, or clear it, meanwhile.
        weigh: Returns the bytes of some entries together.
        most: Entries in one message.
        most_bytes: Bytes in one message; an entry that is larger goes alone.
    """
    part: list[T] = []
    with suppress(IndexError):  # another thread has cleared it
        part.extend(queue.popleft() for _ in range(min(len(queue), most)))
    if weigh(part) > most_bytes:
        sums = list(accumulate(weigh((entry,)) for entry in part))
        fitting = max(1, bisect(sums, most_bytes))
        queue.extendleft(reversed(part[fitting:]))
        del part[fitting:]
    return tuple(part)


def split(
    entries: Iterable[T],
    weigh: Callable[[Sequence[T]], int],
    *,
    most: int = MOST_ENTRIES,
    most_bytes: int = MOST_BYTES,
) -> Iterator[tuple[T, ...]]:
    """Yield the parts of a list that are sent as one message each; arguments as of `take`."""
    entries = tuple(entries)
    if 0 < len(entries) <= most and weigh(entries) <= most_bytes:
        yield entries
        return
    queue = deque(entries)
    while queue:
        yield take(queue, weigh, most=most, most_bytes=most_bytes)


def fitting(rows: Iterable[T], most_bytes: int = MOST_OF_ANSWER) -> tuple[T, ...]:
    """Return the first rows of a list, as many as fit into one answer."""
    found: list[Any] = []
    for row in rows:
        most_bytes -= len(_encoder.encode(row))
        if most_bytes < 0:
            break
        found.append(row)
    return tuple(found)


def decode(frame: bytes, decoder: msgspec.msgpack.Decoder[Message]) -> Message | BadFrame:
    """Return the message in a frame, or why there is none; never raises for what a peer can
    send.
    """
    if len(frame) > MAX_FRAME:
        return BadFrame(f"A frame of {len(frame)} bytes is over the limit of {MAX_FRAME}.")
    try:
        return decoder.decode(frame)
    except (ValueError, RecursionError) as error:
        # msgspec's errors are ValueErrors; bad UTF-8 is a plain UnicodeDecodeError.
        return explain(frame, _KINDS[decoder], error)
