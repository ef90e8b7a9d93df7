"""Free space of the file system that holds the hub's files, and a ballast file that reserves some of it.

The ballast file occupies a part of the reserve. It is deleted when the disk is full, so that the
outcomes of accepted calls can still be written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path

#: The ballast is this fraction (1/n) of the reserve, and at most so many bytes.
SHARE, MOST = 4, 16 * 2**20
#: Bytes that must be free for a hub to start.
TO_START = 256 * 1024


class Disk:
    """The disk of one home.

    Args:
        home: The directory.
        reserve: Bytes that stay free for accepted calls.
    """

    def __init__(self, home: Path, reserve: int) -> None:
        self.home = home
        self.reserve = reserve
        self._ballast = home / "ballast"
        self._size = min(reserve // SHARE, MOST)
        self._exists = self._ballast.exists()

    def free(self) -> int:
        """Return how many bytes are free."""
        try:
            disk = os.statvfs(self.home)
        except OSError:  # a write will raise the error
            return sys.maxsize
        return disk.f_bavail * disk.f_frsize

    def keep_ballast(self) -> None:
        """Create the ballast, if there is space for it and for the reserve."""
        if self._exists or not self._size or self.free() < self.reserve + 2 * self._size:
            return
        try:
            descriptor = os.open(
                self._ballast, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            try:
                _allocate(descriptor, self._size)
            finally:
                os.close(descriptor)
            self._exists = True
        except OSError:  # the file system does not support it, or is full
            self.drop_ballast()

    def drop_ballast(self) -> bool:
        """Delete the ballast; return whether there was one."""
        there, self._exists = self._exists, False
        with contextlib.suppress(OSError):
            self._ballast.unlink(missing_ok=True)
        return there

    def prepare(self) -> None:
        """Delete the ballast if the hub could not start otherwise."""
        if self.free() < TO_START:
            self.drop_ballast()


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    elif os.write(descriptor, bytes(size)) < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
