"""Creates the files of segments, and the errors for segments that cannot be created."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from nbfn.exception import ResourceExhaustedError
from nbfn.runtime.byte_size import format_bytes
from nbfn.serialization import shared_memory

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM})


class NoRoom(Exception):
    """Raised when a file system has no space for a file."""


def create(path: Path, raw: memoryview, *, reserve: int = 0, sync: bool = False) -> None:
    """Write a buffer to a new file. The file is removed if an error occurs.

    Args:
        path: The file.
        raw: The buffer.
        reserve: Bytes of the file system that must stay free.
        sync: Whether to sync the file to disk.

    Raises:
        NoRoom: If the file system has no space for the file.
        OSError: If the file cannot be created for another reason.
    """
    try:
        if reserve and free_bytes(path.parent) - reserve < raw.nbytes:
            raise NoRoom
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise NoRoom if error.errno in _NO_ROOM else error from None
    try:
        try:
            shared_memory.write(descriptor, raw)
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise NoRoom from None
        raise


def free_bytes(directory: Path) -> int:
    """Return the number of free bytes in the file system of a directory."""
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize


def no_room(needed: int, directories: Sequence[Path], reserve: int) -> ResourceExhaustedError:
    """Return the error for a value for which no directory has space.

    Args:
        needed: The size of the value in bytes.
        directories: The directories that were tried.
        reserve: Bytes that must stay free.
    """
    free = " and ".join(f"{format_bytes(free_bytes(where))} in {where}" for where in directories)
    kept = f" ({format_bytes(reserve)} of the disk are kept free for the hub)" if reserve else ""
    return ResourceExhaustedError(
        f"No room for a value of {format_bytes(needed)}: free are {free}{kept}. "
        "Free some space there, or set NBFN_HOME to a larger disk."
    )
