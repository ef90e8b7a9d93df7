"""Messages to bytes and back: one frame, msgpack, with a limit on its size. Bad bytes are a
value, not an exception.
"""

from __future__ import annotations

from typing import Union

import msgspec

from nbfn.wire import messages
from nbfn.wire.messages import Message

#: Bytes of the largest message; larger values travel as segments (`nbfn.wire.payload`).
MAX_FRAME = 16 * 1024 * 1024

_encoder = msgspec.msgpack.Encoder()


class BadFrame(msgspec.Struct, frozen=True):
    """What arrived instead of a message, in one sentence."""

    reason: str


def _decoder(kinds: tuple[type[Message], ...]) -> msgspec.msgpack.Decoder[Message]:
    return msgspec.msgpack.Decoder(Union[kinds])  # noqa: UP007 - built at run time


#: One decoder for each direction: what may not be said there does not decode.
TO_HUB = _decoder(messages.FROM_CLIENT + messages.FROM_WORKER)
TO_CLIENT = _decoder(messages.TO_CLIENT)
TO_WORKER = _decoder(messages.TO_WORKER)


def encode(message: Message) -> bytes:
    """Return the frame of a message.

    Raises:
        ValueError: If it is larger than `MAX_FRAME`.
    """
    frame = _encoder.encode(message)
    if len(frame) > MAX_FRAME:
        raise ValueError(
            f"{type(message).__name__} of {len(frame)} bytes is over the limit of {MAX_FRAME}."
        )
    return frame


def decode(frame: bytes, decoder: msgspec.msgpack.Decoder[Message]) -> Message | BadFrame:
    """Return the message in a frame, or why there is none; never raises for what a peer can
    send.
    """
    if len(frame) > MAX_FRAME:
        return BadFrame(f"A frame of {len(frame)} bytes is over the limit of {MAX_FRAME}.")
    try:
        return decoder.decode(frame)
    except (
        ValueError
    ) as error:  # msgspec's errors are ValueErrors; bad UTF-8 is a plain UnicodeDecodeError
        return BadFrame(f"Not a message: {error}")
    except RecursionError:
        return BadFrame("Not a message: nested too deeply")
