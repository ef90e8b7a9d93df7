"""Numbers of bytes as text, and back."""

from __future__ import annotations

import pytest

from nbfn.runtime.byte_size import format_bytes, parse_mebibytes


def test_bytes_are_formatted_with_the_largest_unit_that_fits() -> None:
    counts = (0, 999, 1024, 1500, 200_000, 80 * 2**20, 5 * 2**30, 7.94 * 2**30, 2**41)
    assert [format_bytes(count) for count in counts] == [
        *("0 B", "999 B", "1 kB", "1.5 kB", "0.2 MB", "80 MB", "5 GB", "7.9 GB", "2,048 GB"),
    ]


@pytest.mark.parametrize(
    ("text", "amount"),
    [("1", 1), ("8G", 8192), ("8GiB", 8192), ("0.5gb", 512), ("512M", 512), ("2T", 2 * 1024**2)],
)
def test_memory_is_parsed_as_mebibytes(text: str, amount: int) -> None:
    assert parse_mebibytes(text) == amount


@pytest.mark.parametrize("text", ["", "lots", "-1", "0", "0.1M", "8X", "G"])
def test_what_is_not_an_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^Pass an amount like 8G or 512M\.$"):
        parse_mebibytes(text)
