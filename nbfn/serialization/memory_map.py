"""Maps the files of segments copy-on-write, without a file descriptor for each mapping.

`mmap.mmap` duplicates the descriptor and keeps it as long as the mapping exists, so a process that holds a
thousand arrays could run out of descriptors. This module maps the file over an anonymous `mmap.mmap`, which
owns the addresses and has no descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import mmap
import os
import weakref
from collections.abc import Callable
from pathlib import Path

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
