"""The checksums of rows."""

from __future__ import annotations

import msgspec
import pytest

from nbfn.hub.rows import decode_row, encode_row, readable
from nbfn.protocol.messages import Payload

payloads = msgspec.msgpack.Decoder(Payload)
VALUE = Payload(b"abc")


def test_a_row_is_decoded_as_it_was_encoded() -> None:
    assert decode_row(payloads, encode_row(VALUE)) == VALUE


def test_a_row_of_an_earlier_version_has_no_checksum() -> None:
    assert decode_row(payloads, msgspec.msgpack.encode(VALUE)) == VALUE


@pytest.mark.parametrize("at", range(1, len(encode_row(VALUE))))
def test_each_changed_byte_is_noticed(at: int) -> None:
    row = bytearray(encode_row(VALUE))
    row[at] ^= 1
    with pytest.raises(ValueError, match="checksum"):
        decode_row(payloads, bytes(row))


@pytest.mark.parametrize("row", [b"", b"\xc1", b"\xc1abc", None, 7, "text"])
def test_what_is_no_row_is_skipped(row: object) -> None:
    assert readable(payloads, row, "a row") is None
