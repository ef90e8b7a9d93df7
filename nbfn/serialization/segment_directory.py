"""Locks the directory of a home's segments in shared memory for its hub, and removes unused directories.

A hub holds a lock on the directory of its home as long as it lives. A directory that is not held is
removed when it is empty; that of another home is removed with its files after an hour without use.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from nbfn.config import private_directory

#: Seconds after which a directory that no hub holds is taken for abandoned by its clients, too.
ABANDONED = 3600.0


def lock_directory(directory: Path) -> int:
    """Make the directory, if need be, and keep others from removing it.

    Args:
        directory: Of the home of this process, which is its only hub.

    Returns:
        A descriptor; the directory is held until it is closed.
    """
    while True:
        private_directory(directory)
        try:
            descriptor = _opened(directory)
        except FileNotFoundError:  # removed meanwhile
            continue
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if _is_at(descriptor, directory):
            return descriptor
        os.close(descriptor)


def remove_if_unused(directory: Path) -> None:
    """Remove the directory if it is empty and no hub holds it."""
    with contextlib.suppress(OSError), _alone_with(directory):
        directory.rmdir()


def remove_abandoned(directory: Path) -> None:
    """Remove directories of this user's other homes that are not locked and unused for `ABANDONED` seconds.

    Args:
        directory: Of this home; the others are beside it.
    """
    prefix = directory.name.rpartition("-")[0]
    for other in directory.parent.glob(f"{prefix}-*"):
        with contextlib.suppress(OSError):
            if other == directory or time.time() - other.lstat().st_mtime < ABANDONED:
                continue
            with _alone_with(other):
                for path in other.iterdir():
                    path.unlink()
                other.rmdir()


@contextlib.contextmanager
def _alone_with(directory: Path) -> Iterator[None]:
    """Keep hubs from holding the directory meanwhile; raise `OSError` if one does, or it is another user's."""
    descriptor = _opened(directory)
    try:
        if os.fstat(descriptor).st_uid != os.getuid():
            raise PermissionError(directory)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _opened(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _is_at(descriptor: int, directory: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), directory.lstat())
    except FileNotFoundError:
        return False
