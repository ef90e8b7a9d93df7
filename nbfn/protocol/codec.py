"""Encodes messages to frames of MessagePack with a limited size, and decodes them.

Decoding a frame that is not valid returns a `BadFrame` and raises nothing. Code that puts a list into
a message builds the list with `split` or `fitting`, which count bytes, so that no frame exceeds the
limit.
"""

from __future__ import annotations

import contextlib
import re
import typing
from bisect import bisect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Any, TypeVar, Union

import msgspec

from nbfn.protocol import messages
from nbfn.protocol.messages import Message
from nbfn.protocol.messages.fields import LARGEST
from nbfn.runtime.byte_size import format_bytes

T = TypeVar("T")

#: The most bytes of a message; larger values are sent as segments (`nbfn.serialization.payload`).
MAX_FRAME = 16 * 1024 * 1024
#: The most entries of a list in one message, and the most bytes of them. An entry is far smaller than a
#: frame: the data of a payload has at most `nbfn.serialization.payload.SEGMENT_MIN` bytes.
MOST_ENTRIES, MOST_BYTES = 512, 2 * 1024 * 1024
#: The most bytes of the rows in an answer that consists of one message.
MOST_OF_ANSWER = 12 * 1024 * 1024

_encoder = msgspec.msgpack.Encoder()


class FrameTooLargeError(ValueError):
    """Raised when a message is larger than `MAX_FRAME`; it is not sent.

    Args:
        size: The size of the message in bytes.
    """

    def __init__(self, size: int) -> None:
        super().__init__(f"{format_bytes(size)} is over the limit of {format_bytes(MAX_FRAME)}.")


def _decoder(kinds: tuple[type[Message], ...]) -> msgspec.msgpack.Decoder[Message]:
    return msgspec.msgpack.Decoder(Union[kinds])  # noqa: UP007 - built at run time


#: The decoder for each direction. It refuses messages of other directions.
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
    """Remove the entries for one message from a queue.

    Args:
        queue: The entries to send. Other threads may append to the queue or clear it at the same time.
        weigh: Function that returns the total bytes of some entries.
        most: The most entries in one message.
        most_bytes: The most bytes in one message; a larger entry is sent alone.

    Returns:
        The entries; at least one unless the queue is empty.
    """
    part: list[T] = []
    with suppress(IndexError):  # another thread has cleared the queue
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
    """Split a list into parts that are sent as one message each.

    Args:
        entries: The list.
        weigh: Function that returns the total bytes of some entries.
        most: The most entries in one part.
        most_bytes: The most bytes in one part; a larger entry is a part of its own.

    Yields:
        The parts, in order.
    """
    entries = tuple(entries)
    if 0 < len(entries) <= most and weigh(entries) <= most_bytes:
        yield entries
        return
    queue = deque(entries)
    while queue:
        yield take(queue, weigh, most=most, most_bytes=most_bytes)


def fitting(rows: Iterable[T], most_bytes: int = MOST_OF_ANSWER) -> tuple[T, ...]:
    """Return the first rows of a list that fit into one answer.

    Args:
        rows: The rows.
        most_bytes: The most bytes of encoded rows.
    """
    found: list[Any] = []
    for row in rows:
        most_bytes -= len(_encoder.encode(row))
        if most_bytes < 0:
            break
        found.append(row)
    return tuple(found)


def decode(frame: bytes, decoder: msgspec.msgpack.Decoder[Message]) -> Message | BadFrame:
    """Return the message in a frame, or a `BadFrame` with the reason why it is not valid.

    Args:
        frame: The bytes. No content makes this function raise.
        decoder: `TO_HUB`, `TO_CLIENT` or `TO_WORKER`.
    """
    if len(frame) > MAX_FRAME:
        return BadFrame(f"A frame of {len(frame)} bytes is over the limit of {MAX_FRAME}.")
    try:
        return decoder.decode(frame)
    except (ValueError, RecursionError) as error:
        # msgspec's errors are ValueErrors; bad UTF-8 is a plain UnicodeDecodeError.
        return explain(frame, _KINDS[decoder], error)


# --- frames that are not valid -------------------------------------------------------------------

#: An error message of `msgspec`, and the position of the value in the frame.
_ERROR = re.compile(r"(?P<what>.*) - at `(?P<key>key` in `)?\$(?P<steps>[^`]*)`$", re.DOTALL)
_RANGE = re.compile(r"Expected `(?:int|float)` (?P<sign>[<>])=? (?P<limit>.+)")
_TYPE = re.compile(r"Expected `(?P<type>\w+)")
_STEP = re.compile(r"\[(\d+|\.\.\.)\]")
_TYPES = {
    "str": "a string", "int": "a whole number", "float": "a number", "bool": "True or False",
    "array": "a list", "object": "a dict",
}  # fmt: skip


class BadFrame(msgspec.Struct, frozen=True):
    """A received frame that is not a valid message.

    Attributes:
        reason: One sentence that explains why it is not valid.
        request: The number of the request that the frame makes or answers; 0 if it is unknown.
        call: The id of the call that the frame belongs to; empty if it is unknown.
    """

    reason: str
    request: int = 0
    call: str = ""


def explain(frame: bytes, kinds: dict[str, type[Any]], error: Exception) -> BadFrame:
    """Return the reason why a frame cannot be decoded.

    Args:
        frame: The bytes.
        kinds: The types of messages that may be received, by name.
        error: The exception that `msgspec` raised.
    """
    found: list[Any] = []
    with contextlib.suppress(ValueError, RecursionError):
        found = msgspec.msgpack.decode(frame, type=list[Any])
    kind = kinds.get(found[0]) if found and _text(found[0]) else None
    if kind is None:
        nested = isinstance(error, RecursionError)
        return BadFrame(f"Not a message: {'nested too deeply' if nested else error}")
    values = dict(zip(kind.__struct_fields__, found[1:], strict=False))
    request, call = values.get("request"), values.get("call")
    return BadFrame(
        _sentence(kind, found, str(error)),
        request if type(request) is int and abs(request) <= LARGEST else 0,
        call if _text(call) and len(call) <= 80 else "",
    )


def _text(value: object) -> typing.TypeGuard[str]:
    return type(value) is str


def _sentence(kind: type[Any], found: list[Any], error: str) -> str:
    """Return a sentence about the error that names the field instead of its position.

    The sentence shows numbers, but only the types of other values, because they may be secret.
    """
    match = _ERROR.match(error)
    if match is None:
        return f"{kind.__name__} is not valid: {error}."
    name, value = _field(kind, found, _STEP.findall(match["steps"]))
    what = match["what"]
    if "matching regex" in what or "length" in what:
        return f"{name} has characters that are not allowed, or is too long."
    if (limits := _RANGE.match(what)) is not None:
        bound = "at most" if limits["sign"] == "<" else "at least"
        return f"{name} is {value!r}; it must be {bound} {limits['limit']}."
    wanted = _TYPE.match(what)
    must = _TYPES.get(wanted["type"], wanted["type"]) if wanted else "something else"
    if "..." in match["steps"] or match["key"]:  # msgspec does not report the position
        return f"{name} has a part of a wrong type; each must be {must}."
    return f"{name} is an object of type {type(value).__name__}; it must be {must}."


def _field(kind: Any, value: Any, steps: list[str]) -> tuple[str, Any]:
    """Return the name and the value of the field at a path of positions."""
    name = kind.__name__
    for step in steps:
        if step == "..." or not isinstance(value, list) or int(step) >= len(value):
            break
        value = value[int(step)]
        if _is(kind, tuple):  # a position in a list
            kind = typing.get_args(kind)[0]
            continue
        kind = next((one for one in typing.get_args(kind) if _is(one, msgspec.Struct)), kind)
        if not _is(kind, msgspec.Struct):
            break
        # The first element of a message's array is its type.
        field = msgspec.structs.fields(kind)[int(step) - bool(kind.__struct_config__.tag)]
        name, kind = field.name, field.type
    return name, value


def _is(kind: Any, base: type[Any]) -> bool:
    kind = typing.get_origin(kind) or kind
    return isinstance(kind, type) and issubclass(kind, base)


# --- messages before they are sent ---------------------------------------------------------------


def find_problem(message: Message) -> str:
    """Return an error message if a message to the hub does not conform to the protocol; "" if it is valid.

    Messages contain values from users, and Python does not check types when a message is created.
    """
    try:
        found = decode(encode(message), TO_HUB)
    except FrameTooLargeError:
        return ""  # the sender reports it
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return f"{type(message).__name__} cannot be sent to the hub: {why_not_sent(error)}"
    return found.reason if isinstance(found, BadFrame) else ""


def why_not_sent(error: Exception) -> str:
    """Return the end of an error message about a value that cannot be encoded.

    Args:
        error: The error of the encoder.
    """
    if isinstance(error, OverflowError):
        return "it has an integer that is too large."
    if isinstance(error, UnicodeEncodeError):
        bad = error.object[error.start : error.end]
        return f"it has text that is not Unicode ({bad!r})."
    if isinstance(error, RecursionError):
        return "it is nested too deeply."
    return f"{error}."
