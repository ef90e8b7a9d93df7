"""Ids of calls, inputs, workers, clients and Apps: a prefix and 22 base62 characters."""

from __future__ import annotations

import os
import string

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
