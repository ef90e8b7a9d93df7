"""Encodes values for rows of the store, with a checksum, and decodes them.

A row is the byte 0xC1, which no MessagePack document begins with, the CRC-32 of the rest (4 bytes, big-endian), and the
value in MessagePack. Rows that earlier versions wrote have no checksum and are accepted.
"""

from __future__ import annotations

import logging
import zlib
from typing import Any, Protocol, TypeVar

import msgspec

_log = logging.getLogger("nbfn.hub")
T = TypeVar("T", covariant=True)

#: Exceptions that decoding a damaged row raises.
UNREADABLE = (ValueError, TypeError, RecursionError)

_MARK = b"\xc1"
_HEADER = len(_MARK) + 4
_encode = msgspec.msgpack.Encoder().encode


class Decoder(Protocol[T]):
    """Decodes the values of one table."""

    def decode(self, buf: Any, /) -> T:
        """Return the decoded value."""


def encode_row(value: Any) -> bytes:
    """Return a value as it is stored.

    Examples:
        >>> encode_row("x")[:1].hex(), msgspec.msgpack.decode(encode_row("x")[5:])
        ('c1', 'x')
    """
    data = _encode(value)
    return _MARK + zlib.crc32(data).to_bytes(4, "big") + data


def decode_row(decoder: Decoder[T], row: Any) -> T:
    """Return the value of a row.

    Raises:
        ValueError: If the checksum does not match, or the row is not a valid value of its table.
        TypeError: If the row is not bytes.
    """
    if row[:1] != _MARK:
        return decoder.decode(row)
    data = memoryview(row)[_HEADER:]
    if zlib.crc32(data).to_bytes(4, "big") != row[1:_HEADER]:
        raise ValueError("its checksum does not match")
    return decoder.decode(data)


def readable(decoder: Decoder[T], row: object, what: str) -> T | None:
    """Return the value of a row; log an error and return None if it cannot be read."""
    try:
        return decode_row(decoder, row)
    except UNREADABLE as error:
        _log.error("%s cannot be read from the store and is skipped (%s)", what, error)
        return None
