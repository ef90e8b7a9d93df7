"""Reuses segments: the process that made a file in shared memory keeps it and writes later values to it.

Writing to pages that exist takes a third of the time of writing to new pages. A process that maps a segment holds a
shared lock on it, which the kernel keeps as long as there is a mapping, in forked children too; a
segment is reused only if no process holds that lock, and under a new name.
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

#: Bytes of the smallest segment worth keeping, and of all that are kept at a time.
SMALLEST, MOST_BYTES = 2**20, 512 * 2**20
#: Most segments kept at a time; as many under way stay mapped by their maker.
MOST = 4
#: The part of the free space that may be kept: others need room for their values and results.
SHARE = 4
#: How many times as large as a value the segment may be that it is written to.
FIT = 2
#: Seconds a segment is kept.
KEEP = 3.0
#: Whether a lock on a file lasts as long as a mapping of it, as on Linux; elsewhere it may end with its descriptor.
MAPPINGS_KEEP_LOCKS: bool = sys.platform == "linux"
#: Bytes copied at a time, so that other threads get their turn.
CHUNK = 4 * 2**20


class _Spare:
    """A segment that was written once, and its mapping in this process from the second time on."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.memory: mmap.mmap | None = None
        self.until = 0.0  # it is kept, while it has no user


class Segments:
    """The shared-memory segments that one process made.

    Any thread may call. There is no lock, which a fork, a signal or the garbage collector could meet held: a
    spare segment belongs to whoever pops it from its table, and that is one step.

    Args:
        directory: Where they are.
        owner: The prefix of their names.
    """

    def __init__(self, directory: Path, owner: str) -> None:
        self._directory = directory
        self._owner = owner
        self._numbers = itertools.count()
        self._process = os.getpid()
        self._idle: dict[str, _Spare] = {}
        self._out: dict[str, _Spare] = {}  # those under way that are mapped here

    def fresh_name(self) -> str:
        """Return a name that no segment had before."""
        return f"{self._owner}.{next(self._numbers)}"

    @property
    def mine(self) -> bool:
        """Whether this process made them; a forked child has a copy of the tables, but does not own the segments."""
        return os.getpid() == self._process

    def refill(self, raw: memoryview) -> str | None:
        """Write a buffer to a kept segment and return its name; None when none fits."""
        if not self._idle or not self.mine:
            return None
        for spare in sorted(self._idle.values(), key=lambda spare: spare.size):
            if not raw.nbytes <= spare.size <= FIT * raw.nbytes:
                continue
            if self._idle.pop(spare.name, None) is None:
                continue  # another thread's
            try:
                self._fill(spare, raw)
            except OSError:  # mostly because it is still mapped
                self._drop(spare)
            except BaseException:
                self._drop(spare)
                raise
            else:
                return spare.name
        return None

    def keep(self, name: str) -> bool:
        """Keep a segment whose call has ended, under a new name; False if it is not worth it, or not ours."""
        path = self._directory / name
        if not MAPPINGS_KEEP_LOCKS or not name.startswith(f"{self._owner}.") or not self.mine:
            return False
        try:
            if not self._has_room(size := path.stat().st_size):
                return False
            fresh = self.fresh_name()
            path.rename(self._directory / fresh)
        except OSError:  # discarded twice
            return False
        spare = self._out.pop(name, None) or _Spare(name, size)
        spare.name, spare.until = fresh, time.monotonic() + KEEP
        self._idle[fresh] = spare
        return True

    def discard(self, name: str) -> None:
        """Unlink a segment, whoever made it; mapped ones stay readable to who has them."""
        if not self.mine:
            return
        if (spare := self._out.pop(name, None)) is not None:
            self._drop(spare)
        else:
            with contextlib.suppress(OSError):  # the directory is gone, say
                (self._directory / name).unlink(missing_ok=True)

    def tidy(self, now: float) -> float | None:
        """Free what was kept long enough; return the seconds until there will be more, None if nothing is left."""
        if not self._idle:
            return None
        for spare in list(self._idle.values()):
            if spare.until <= now and self._idle.pop(spare.name, None) is not None:
                self._drop(spare)
        ends = [spare.until - now for spare in list(self._idle.values())]
        return min(ends, default=None)

    def clear(self) -> bool:
        """Free all that is kept; return whether that was anything."""
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
            # A process that opened it by its old name and locks it from here on finds that name removed.
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
                # A child that this process forked may have the mapping too, and would keep the memory.
                os.ftruncate(descriptor, 0)
            finally:
                os.close(descriptor)
        path.unlink(missing_ok=True)  # if it could not be opened


def write(descriptor: int, raw: memoryview) -> None:
    """Write all of a buffer."""
    while raw.nbytes:
        raw = raw[os.write(descriptor, raw) :]
