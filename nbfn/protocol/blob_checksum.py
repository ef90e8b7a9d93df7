"""The names of files in the store end with the CRC-32 of their bytes, which readers compare.

Files that earlier versions wrote have no checksum in their names and are not checked.
"""

from __future__ import annotations

import mmap
import os
import zlib
from pathlib import Path

#: Separates the name of a file from its checksum in hexadecimal.
SEPARATOR = ".crc32-"


def checked_name(name: str, data: bytes | bytearray | memoryview | mmap.mmap) -> str:
    """Return the name of a new file with these bytes.

    Examples:
        >>> checked_name("cl-1.7", b"data")
        'cl-1.7.crc32-adf3f363'
    """
    return f"{name}{SEPARATOR}{zlib.crc32(data):08x}"


def matches(name: str, data: bytes | bytearray | memoryview | mmap.mmap) -> bool:
    """Return whether a file has the bytes that it was written with, as far as its name tells."""
    _, found, checksum = name.rpartition(SEPARATOR)
    return not found or checksum == f"{zlib.crc32(data):08x}"


def is_intact(path: Path, size: int, *, read: bool) -> bool:
    """Return whether a file exists, has its size (not 0) and, if it is read, matches its checksum."""
    try:
        with path.open("rb") as file:
            if not size or os.fstat(file.fileno()).st_size != size:
                return False
            if not read:
                return True
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return matches(path.name, data)
    except OSError:
        return False
