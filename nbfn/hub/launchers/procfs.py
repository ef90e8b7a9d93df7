"""Reads about processes from /proc and uses prctl, where psutil tells less or takes longer. It needs Linux."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36

#: What `ps` calls the two kinds of process; also how they are told from what they started.
FORK_SERVER, WORKER = "nbfn-forkserver", "nbfn-worker"


class Process(NamedTuple):
    """One line of the process table."""

    pid: int
    parent: int
    name: str
    state: str
    group: int


def exists() -> bool:
    """Whether this system has the files that `proportional` reads."""
    return (_PROC / "self" / "smaps_rollup").exists()


def processes() -> dict[int, Process]:
    """Return all processes that can be seen, by pid."""
    found = {}
    for pid in _pids():
        with contextlib.suppress(OSError, ValueError):
            text = (_PROC / str(pid) / "stat").read_bytes().decode("utf-8", "replace")
            name, _, rest = text.partition("(")[2].rpartition(")")
            state, parent, group = rest.split()[:3]
            found[pid] = Process(pid, int(parent), name, state, int(group))
    return found


def _pids() -> Iterator[int]:
    with contextlib.suppress(OSError):
        for entry in os.listdir(_PROC):  # noqa: PTH208 - names are all that is needed
            if entry.isdigit():
                yield int(entry)


def resident(pid: int) -> int:
    """Return the resident bytes of a process and all its descendants; 0 when it is gone.

    What several of them share (pages since a fork, shared memory) is counted for each. That is cheap, and never
    less than `proportional`.
    """
    return sum(_resident(one) for one in _tree(pid))


def proportional(pid: int) -> int:
    """Return the bytes that a process and all its descendants hold, shared memory counted once.

    The kernel divides each page by the number of processes that have it mapped, so a page shared with a process
    outside of the tree counts in part. Pages of mapped files do not count: the kernel can read them again. All page
    tables are walked, which takes some ten milliseconds for each gigabyte.
    """
    return sum(_proportional(one) for one in _tree(pid))


def _proportional(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
        sizes = {
            key: int(rest.split()[0]) * 1024 for key, _, rest in (x.partition(":") for x in lines)
        }
        return sizes["Pss"] - sizes.get("Pss_File", 0)
    except (OSError, ValueError, IndexError, KeyError):  # gone, or not to be seen
        return _resident(pid)


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int((_PROC / str(pid) / "statm").read_bytes().split()[1]) * _PAGE
    return 0


def _tree(pid: int) -> Iterator[int]:
    """Yield a process and its descendants."""
    left = [pid]
    while left:
        yield (one := left.pop())
        for thread in (_PROC / str(one) / "task").glob("*/children"):
            with contextlib.suppress(OSError, ValueError):
                left += map(int, thread.read_bytes().split())


def kill(*pids: int) -> None:
    """SIGKILL what is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def kill_group(pid: int) -> None:
    """SIGKILL a process and its process group, but for resource trackers: they end by themselves, soon."""
    members = [one.pid for one in processes().values() if one.group == pid]
    trackers = set(filter(is_tracker, members))
    if trackers:
        kill(*(member for member in members if member not in trackers))
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    kill(pid)


def is_tracker(pid: int) -> bool:
    """Whether a process frees shared memory and semaphores when those have ended who use them.

    Such a process of `multiprocessing` or loky waits for their end; killed with them, it would leave all that in
    ``/dev/shm`` for ever.
    """
    with contextlib.suppress(OSError):
        return b"resource_tracker" in (_PROC / str(pid) / "cmdline").read_bytes()
    return False


def die_with_parent(parent: int) -> bool:
    """Ask to be killed when the parent ends; False when it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent


def take_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that none escapes."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_name(name: str) -> None:
    """Set the name that `ps` and `top` show; 15 characters at most."""
    _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()))


def _prctl(option: int, value: object) -> None:
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def is_locked(path: Path) -> bool:
    """Whether anybody holds a flock on a file. Looks without touching the lock, which others may be trying for."""
    try:
        inode = path.stat().st_ino
        lines = (_PROC / "locks").read_text().splitlines()
    except OSError:
        return False
    # 1: FLOCK  ADVISORY  WRITE 1234 08:01:131100 0 EOF
    fields = (line.split() for line in lines)
    return any(
        f[1] == "FLOCK" and f[5].rpartition(":")[2] == str(inode) for f in fields if len(f) > 5
    )
