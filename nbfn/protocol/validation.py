"""Checks a message to the hub against the protocol before it is sent."""

from __future__ import annotations

from nbfn.protocol import codec
from nbfn.protocol.codec import BadFrame
from nbfn.protocol.messages import Message


def find_problem(message: Message) -> str:
    """Return a sentence about what the protocol does not allow in a message to the hub; "" if it is valid.

    Values come from users, and Python does not check their types where a message is made.
    """
    try:
        found = codec.decode(codec.encode(message), codec.TO_HUB)
    except codec.FrameTooLargeError:
        return ""  # its sender says so
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return f"{type(message).__name__} cannot be sent to the hub: {why_not_sent(error)}"
    return found.reason if isinstance(found, BadFrame) else ""


def why_not_sent(error: Exception) -> str:
    """Return the sentence about a value that cannot be encoded."""
    if isinstance(error, OverflowError):
        return "it has an integer that is too large."
    if isinstance(error, UnicodeEncodeError):
        bad = error.object[error.start : error.end]
        return f"it has text that is not Unicode ({bad!r})."
    if isinstance(error, RecursionError):
        return "it is nested too deeply."
    return f"{error}."
