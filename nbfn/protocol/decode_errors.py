"""Explains why a frame is not a valid message, and finds the request or call that it belongs to.

With that, the sender gets an error for this request only, and its other requests continue.
"""

from __future__ import annotations

import contextlib
import re
import typing
from typing import Any

import msgspec

from nbfn.protocol.messages.fields import LARGEST

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
    found: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        found = msgspec.msgpack.decode(frame)
    kind = kinds.get(found[0]) if isinstance(found, list) and found and _text(found[0]) else None
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
