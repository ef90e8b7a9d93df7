"""Numbers of bytes as text: formatting for messages, and parsing of what users type."""

from __future__ import annotations

import re

#: Bytes of a MiB.
MIB = 2**20
#: For each unit: its size in bytes, its name, and the smallest number of bytes that is shown in it.
_UNITS = ((2**30, "GB", 2**30), (MIB, "MB", MIB // 10), (2**10, "kB", 2**10))
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([MGT]?)i?B?", re.IGNORECASE)
_MIB_IN = {"": 1, "M": 1, "G": 1024, "T": 1024**2}


def format_bytes(count: float) -> str:
    """Format a number of bytes with a unit.

    Args:
        count: The number of bytes.

    Returns:
        The number in B, kB, MB or GB, where 1 kB is 1024 bytes.

    Examples:
        >>> [format_bytes(count) for count in (28, 1024, 300_000, 8 * 2**30)]
        ['28 B', '1 kB', '0.3 MB', '8 GB']
    """
    for size, name, first in _UNITS:
        if count >= first:
            return f"{count / size:,.1f}".removesuffix(".0") + f" {name}"
    return f"{count:.0f} B"


def parse_mebibytes(text: str) -> int:
    """Parse an amount of memory.

    Args:
        text: An amount such as ``8G``, ``512M`` or ``2048``. The default unit is MiB.

    Returns:
        The amount in MiB.

    Raises:
        ValueError: If the text is not an amount of memory, or less than 1 MiB.

    Examples:
        >>> parse_mebibytes("1.5G"), parse_mebibytes("512MiB"), parse_mebibytes("2048")
        (1536, 512, 2048)
    """
    found = _MEMORY.fullmatch(text)
    amount = float(found[1]) * _MIB_IN[found[2].upper()] if found else 0.0
    if amount < 1:
        raise ValueError("Pass an amount like 8G or 512M.")
    return round(amount)
