"""Reuses segments: the process that created a file in shared memory writes later values to the same file.

Writing to existing pages takes a third of the time of writing to new pages. A process that maps a segment holds a
shared lock on it. The kernel keeps the lock as long as a mapping exists, also in forked children. A segment is reused
only if no process holds the lock, and it gets a new name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import itertools
import math
import mmap
import os
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

from nbfn.exception import ResourceExhaustedError
from nbfn.runtime.byte_size import format_bytes

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


# --- mapping -------------------------------------------------------------------------------------

#: The least bytes of a file that is mapped. Reading a smaller file takes no longer than its page faults.
MAP_MIN = 2**20
#: The most mappings at a time. Linux allows 65 530 for each process, and other libraries need some of them.
MOST_MAPPED = 16_384
#: Values are read instead of mapped if less than one part in `LOW` of the shared memory is free.
LOW = 4
#: The flag has this value on Linux and on macOS.
_MAP_FIXED = 0x10

_mapped: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


def load_private(path: Path, size: int, *, shared: bool) -> mmap.mmap | bytearray:
    """Return the bytes of a segment, mapped copy-on-write, or read if mapping has no advantage.

    Args:
        path: The file.
        size: The number of bytes to load.
        shared: Whether the file is in shared memory. Its creator does not reuse it while it is mapped.

    Raises:
        FileNotFoundError: If the call of the segment has ended.
        OSError: If the file cannot be opened or is shorter than ``size``.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if shared:
            # If the file system has no locks, no segment in it is reused.
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            path.stat()  # after the lock: a segment that was discarded since it was opened has lost its name
        if os.fstat(descriptor).st_size < size:  # reading past the end of a mapped file is a SIGBUS
            raise OSError(errno.EIO, f"{path} is shorter than {size} bytes")
        if size < MAP_MIN or len(_mapped) >= MOST_MAPPED or (shared and _is_low(descriptor)):
            return _read(descriptor, size)
        return _map(descriptor, size)
    finally:
        os.close(descriptor)  # the kernel keeps the lock as long as the mapping exists


def _map(descriptor: int, size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    _map_over()(memory, size, descriptor)
    _mapped.add(memory)
    return memory


def _read(descriptor: int, size: int) -> bytearray:
    data = bytearray(size)
    rest = memoryview(data)
    while rest.nbytes:
        count = os.readv(descriptor, [rest])
        if not count:
            raise OSError(errno.EIO, f"A segment ended {rest.nbytes} bytes early")
        rest = rest[count:]
    return data


def _is_low(descriptor: int) -> bool:
    """Return whether so little shared memory is free that other processes may find no space."""
    disk = os.fstatvfs(descriptor)
    return disk.f_bavail * LOW < disk.f_blocks


@functools.cache
def _map_over() -> Callable[[mmap.mmap, int, int], None]:
    """Return a function that maps a file over the pages of an anonymous mapping."""
    import ctypes  # imported here, because only large values need it

    system = ctypes.CDLL(None, use_errno=True).mmap
    system.restype = ctypes.c_void_p
    system.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    ]
    access = mmap.PROT_READ | mmap.PROT_WRITE

    def map_over(memory: mmap.mmap, size: int, descriptor: int) -> None:
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        if system(address, size, access, mmap.MAP_PRIVATE | _MAP_FIXED, descriptor, 0) != address:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return map_over


# --- segment files -------------------------------------------------------------------------------

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
            write(descriptor, raw)
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
