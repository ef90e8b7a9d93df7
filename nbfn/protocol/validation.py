"""Checks that a message to the hub conforms to the protocol before it is sent."""

from __future__ import annotations

from nbfn.protocol import codec
from nbfn.protocol.codec import BadFrame
from nbfn.protocol.messages import Message


def find_problem(message: Message) -> str:
    """Return an error message if a message to the hub does not conform to the protocol; "" if it is valid.

    Messages contain values from users, and Python does not check types when a message is created.
    """
    try:
        found = codec.decode(codec.encode(message), codec.TO_HUB)
    except codec.FrameTooLargeError:
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
