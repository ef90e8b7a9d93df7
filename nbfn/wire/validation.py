"""Finds what a message to the hub has that the protocol does not allow, before it is sent."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from nbfn.wire.frames import TO_HUB
from nbfn.wire.messages import Message

_encoder = msgspec.msgpack.Encoder()
_KINDS: dict[str, Any] = {
    "str": "a string", "int": "a whole number", "float": "a number", "bool": "True or False",
    "array": "a list", "object": "a dict",
}  # fmt: skip


def problem(message: Message) -> str:
    """Return in one sentence what a message to the hub has that the protocol does not allow, or "".

    Values come from users, and Python does not check their types where a message is made.
    """
    try:
        TO_HUB.decode(_encoder.encode(message))
    except msgspec.ValidationError as error:
        return _explained(message, str(error))
    except (TypeError, ValueError, OverflowError) as error:
        return f"{type(message).__name__} cannot be sent to the hub: {error}."
    return ""


def _explained(message: Message, error: str) -> str:
    """Return msgspec's error as a sentence that names the field; of its value only the type is shown."""
    wanted, path = re.match(r"Expected `([^`|]*)", error), re.findall(r"\[(\d+)\]", error)
    name, value = type(message).__name__, message
    for step in map(int, path):
        fields = getattr(value, "__struct_fields__", ())
        # A message's kind is the first element of its array.
        step -= isinstance(value, Message)
        if not 0 <= step < len(fields):
            break
        name, value = fields[step], getattr(value, fields[step])
    kind = _KINDS.get(wanted[1], wanted[1]) if wanted else "something else"
    if "[...]" in error:  # msgspec does not say which
        return f"{name} has a part of a wrong type; each must be {kind}."
    return f"{name} is an object of type {type(value).__name__}; it must be {kind}."
