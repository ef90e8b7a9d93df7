"""Shows a pickled value as text without importing or running anything that the pickle names."""

from __future__ import annotations

import io
import pickle
import reprlib
from typing import Any

from nbfn.protocol.messages import Payload
from nbfn.runtime.byte_size import format_bytes

#: The most characters of a text.
LONGEST = 10_000


class _NotPlainError(Exception):
    """Raised when a pickle needs a class or function; the message is its name."""


class _PlainReader(pickle.Unpickler):
    """Reads numbers, text, bytes, None, and lists, tuples, sets and dicts of these."""

    def find_class(self, module: str, name: str) -> Any:
        raise _NotPlainError(f"{module}.{name}".removeprefix("builtins."))

    def persistent_load(self, _pid: object) -> Any:
        raise _NotPlainError("object")


class _Repr(reprlib.Repr):
    """Limits size and depth, so that no value takes long."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 8
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 100
        self.maxstring = self.maxother = 5000
        self.maxlong = 1000


def preview(payload: Payload) -> str:
    """Return the value of a payload as Python shows it, or its type and size if it is not plain data.

    Args:
        payload: The payload.
    """
    size = len(payload.data) + sum(segment.size for segment in payload.segments)
    if payload.spilled:
        return f"<a value of {format_bytes(size)}>"
    try:
        value = _PlainReader(io.BytesIO(payload.data), buffers=()).load()
    except _NotPlainError as error:
        return f"<{error}, {format_bytes(size)} pickled>"
    except Exception:  # noqa: BLE001 - a peer may send anything
        return f"<a value of {format_bytes(size)} that cannot be shown>"
    text = value if isinstance(value, str) and len(value) > LONGEST else _Repr().repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
