"""Reuses segments: the process that created a file in shared memory writes later values to the same file.

Writing to existing pages takes a third of the time of writing to new pages. A process that maps a segment holds a
shared lock on it. The kernel keeps the lock as long as a mapping exists, also in forked children. A segment is reused
only if no process holds the lock, and it gets a new name.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import math
import mmap
import os
import sys
import time
from pathlib import Path

#: The least bytes of a segment that is kept, and the most bytes of all kept segments.
SMALLEST, MOST_BYTES = 2**20, 512 * 2**20
#: The most segments that are kept, and the most segments in use that stay mapped in this process.
MOST = 4
#: At most one part in `SHARE` of the free space is kept, because other processes need space too.
SHARE = 4
#: A segment may be at most this many times as large as the value that is written to it.
FIT = 2
#: Seconds a segment is kept.
KEEP = 3.0
#: Whether a mapping keeps the lock on its file, as on Linux. On other systems, closing the descriptor may release it.
MAPPINGS_KEEP_LOCKS: bool = sys.platform == "linux"
#: Bytes that are copied at a time, so that other threads can run in between.
CHUNK = 4 * 2**20


class _Spare:
    """A segment that can be reused; this process maps it from its second use on."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.memory: mmap.mmap | None = None
        self.until = 0.0  # when it is freed if it is not reused


class Segments:
    """The shared-memory segments that one process has created.

    All methods are thread-safe without a lock, because a fork, a signal handler or the garbage collector could run
    while the lock is held. A thread acquires a spare segment by popping it from its dict, which is atomic.

    Args:
        directory: The directory of the segments.
        owner: The prefix of their names.
    """

    def __init__(self, directory: Path, owner: str) -> None:
        self._directory = directory
        self._owner = owner
        self._numbers = itertools.count()
        self._process = os.getpid()
        self._idle: dict[str, _Spare] = {}
        self._out: dict[str, _Spare] = {}  # in use, and mapped in this process

    def fresh_name(self) -> str:
        """Return a name that no segment has had before."""
        return f"{self._owner}.{next(self._numbers)}"

    @property
    def mine(self) -> bool:
        """Whether this process created the segments; False in a forked child, which has a copy of this object."""
        return os.getpid() == self._process

    def refill(self, raw: memoryview) -> str | None:
        """Write a buffer to a kept segment.

        Args:
            raw: The buffer.

        Returns:
            The name of the segment; None if no kept segment fits.
        """
        if not self._idle or not self.mine:
            return None
        for spare in sorted(self._idle.values(), key=lambda spare: spare.size):
            if not raw.nbytes <= spare.size <= FIT * raw.nbytes:
                continue
            if self._idle.pop(spare.name, None) is None:
                continue  # another thread has taken it
            try:
                self._fill(spare, raw)
            except OSError:  # usually because a process still maps it
                self._drop(spare)
            except BaseException:
                self._drop(spare)
                raise
            else:
                return spare.name
        return None

    def keep(self, name: str) -> bool:
        """Keep a segment for reuse under a new name, after its call has ended.

        Args:
            name: The name of the segment.

        Returns:
            False if the segment is too small, there are too many, or another process created it.
        """
        path = self._directory / name
        if not MAPPINGS_KEEP_LOCKS or not name.startswith(f"{self._owner}.") or not self.mine:
            return False
        try:
            if not self._has_room(size := path.stat().st_size):
                return False
            fresh = self.fresh_name()
            path.rename(self._directory / fresh)
        except OSError:  # it is already discarded
            return False
        spare = self._out.pop(name, None) or _Spare(name, size)
        spare.name, spare.until = fresh, time.monotonic() + KEEP
        self._idle[fresh] = spare
        return True

    def discard(self, name: str) -> None:
        """Unlink a segment of any process. Processes that have mapped it can still read it."""
        if not self.mine:
            return
        if (spare := self._out.pop(name, None)) is not None:
            self._drop(spare)
        else:
            with contextlib.suppress(OSError):  # for example if the directory was removed
                (self._directory / name).unlink(missing_ok=True)

    def tidy(self, now: float) -> float | None:
        """Free kept segments that were not reused in time.

        Args:
            now: The current `time.monotonic`.

        Returns:
            The seconds until the next segment must be freed; None if no segment is kept.
        """
        if not self._idle:
            return None
        for spare in list(self._idle.values()):
            if spare.until <= now and self._idle.pop(spare.name, None) is not None:
                self._drop(spare)
        ends = [spare.until - now for spare in list(self._idle.values())]
        return min(ends, default=None)

    def clear(self) -> bool:
        """Free all kept segments, and return whether there were any."""
        found = bool(self._idle)
        self.tidy(math.inf)
        return found

    def _has_room(self, size: int) -> bool:
        idle = list(self._idle.values())
        if size < SMALLEST or len(idle) >= MOST:
            return False
        disk = os.statvfs(self._directory)
        limit = min(MOST_BYTES, disk.f_bavail * disk.f_frsize // SHARE)
        return size + sum(spare.size for spare in idle) <= limit

    def _fill(self, spare: _Spare, raw: memoryview) -> None:
        descriptor = os.open(self._directory / spare.name, os.O_RDWR | os.O_NOFOLLOW)
        try:
            # A process that has opened it under its old name and locks it later finds that the name is gone.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            if spare.memory is None and len(self._out) < MOST:
                flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
                spare.memory = mmap.mmap(descriptor, spare.size, flags=flags)
            if spare.memory is None:
                write(descriptor, raw)
                return
        finally:
            os.close(descriptor)
        for start in range(0, raw.nbytes, CHUNK):
            part = raw[start : start + CHUNK]
            spare.memory[start : start + part.nbytes] = part
        self._out[spare.name] = spare

    def _drop(self, spare: _Spare) -> None:
        if spare.memory is not None:
            spare.memory.close()
        path = self._directory / spare.name
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                path.unlink(missing_ok=True)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A forked child may have inherited the mapping, which would keep the memory in use.
                os.ftruncate(descriptor, 0)
            finally:
                os.close(descriptor)
        path.unlink(missing_ok=True)  # if it could not be opened


def write(descriptor: int, raw: memoryview) -> None:
    """Write a whole buffer to a file.

    Args:
        descriptor: The descriptor of the file.
        raw: The buffer.
    """
    while raw.nbytes:
        raw = raw[os.write(descriptor, raw) :]
