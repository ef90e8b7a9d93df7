"""Maps the files of segments copy-on-write, without a file descriptor for each mapping.

`mmap.mmap` keeps a duplicate of the descriptor as long as the mapping lives, so a thousand arrays that the
user keeps would leave the process unable to open anything. Here the file is mapped over an anonymous
`mmap.mmap`, which owns the addresses and has no descriptor.
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

#: Bytes from which on a file is mapped. Reading a smaller one costs no more than the faults of its pages.
MAP_MIN = 2**20
#: Mappings alive at a time; Linux lets a process have 65 530 in all, and other libraries need some.
MOST_MAPPED = 16_384
#: Values are read instead of mapped when less than this part of the shared memory is free.
LOW = 4
#: The same on Linux and macOS.
_MAP_FIXED = 0x10

_mapped: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


def load_private(path: Path, size: int, *, shared: bool) -> mmap.mmap | bytearray:
    """Return the bytes of a segment, mapped copy-on-write or, where that is no gain, read.

    Args:
        path: The file.
        size: How many bytes of it are wanted.
        shared: Whether it is in shared memory: its maker leaves it alone while the mapping lives.

    Raises:
        FileNotFoundError: If its call has ended.
        OSError: If it cannot be opened or is shorter than ``size``.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if shared:
            # Without locks in that file system, nothing there is filled again.
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            path.stat()  # after the lock: what was given up since it was opened has this name no more
        if os.fstat(descriptor).st_size < size:  # reading past the end of a mapped file is a SIGBUS
            raise OSError(errno.EIO, f"{path} is shorter than {size} bytes")
        if size < MAP_MIN or len(_mapped) >= MOST_MAPPED or (shared and _is_low(descriptor)):
            return _read(descriptor, size)
        return _map(descriptor, size)
    finally:
        os.close(descriptor)  # the kernel keeps the lock as long as there is a mapping


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
    """Whether what is mapped takes so much of the shared memory that others would find no room."""
    disk = os.fstatvfs(descriptor)
    return disk.f_bavail * LOW < disk.f_blocks


@functools.cache
def _map_over() -> Callable[[mmap.mmap, int, int], None]:
    """Return a function that maps a file over the pages of an anonymous mapping."""
    import ctypes  # only needed once there is something large

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
