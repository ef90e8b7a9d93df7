"""Locks the directory for segments in shared memory while the hub runs, and removes unused directories.

Each home has one such directory, and its hub holds a lock on it as long as it runs. A directory without
a lock is removed when it is empty. The directory of another home is removed with its files after an hour
without use.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from nbfn.config import private_directory

#: Seconds without use after which a directory that is not locked counts as abandoned.
ABANDONED = 3600.0


def lock_directory(directory: Path) -> int:
    """Create the directory if it does not exist, and lock it, so that no other process removes it.

    Args:
        directory: The directory of this home. This process must be the hub of the home.

    Returns:
        A file descriptor; the lock is held until it is closed.
    """
    while True:
        private_directory(directory)
        try:
            descriptor = _opened(directory)
        except FileNotFoundError:  # another process removed it
            continue
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if _is_at(descriptor, directory):
            return descriptor
        os.close(descriptor)


def remove_if_unused(directory: Path) -> None:
    """Remove the directory if it is empty and not locked."""
    with contextlib.suppress(OSError), _alone_with(directory):
        directory.rmdir()


def remove_abandoned(directory: Path) -> None:
    """Remove directories of other homes of this user that are not locked and unused for `ABANDONED` seconds.

    Args:
        directory: The directory of this home; the others have the same parent.
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
    """Lock the directory exclusively; raise `OSError` if a hub has locked it or it belongs to another user."""
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
