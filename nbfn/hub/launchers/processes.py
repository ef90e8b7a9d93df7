"""Finds and kills processes by what they were started with, and measures them; on Linux and macOS, by psutil."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

#: The environment variable that marks the descendants of a worker server, to find them when it has ended.
MARK = "NBFN_WORKER_SERVER"
#: Seconds between two searches for processes that are to end.
LOOK = 0.005


def with_variables(variables: dict[str, str]) -> set[int]:
    """Return the processes that were started with these environment variables."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if variables.items() <= process.environ().items():
                found.add(process.pid)
    return found


def is_marked(pid: int) -> bool:
    """Whether a process descends from a worker server, or is one."""
    with contextlib.suppress(psutil.Error, OSError):
        return MARK in psutil.Process(pid).environ()
    return False


def stderr_of(pid: int) -> Path:
    """Return the file that is a process's standard error; an empty path if it is none, or cannot be seen."""
    with contextlib.suppress(psutil.Error, OSError):
        for file in psutil.Process(pid).open_files():
            if file.fd == 2:
                return Path(file.path)
    return Path()


def parents(pid: int) -> list[int]:
    """Return the parent of a process, the parent of that, and so on."""
    with contextlib.suppress(psutil.Error):
        return [parent.pid for parent in psutil.Process(pid).parents()]
    return []


def is_tracker(pid: int) -> bool:
    """Whether a process is a resource tracker, which frees shared memory and semaphores after their users have ended.

    `multiprocessing` and loky start such processes. If one is killed with the processes that it tracks, what they had
    created stays for ever.
    """
    with contextlib.suppress(psutil.Error):
        return any("resource_tracker" in word for word in psutil.Process(pid).cmdline())
    return False


def kill(pid: int) -> None:
    """SIGKILL a process, if it is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def kill_group(pid: int) -> None:
    """SIGKILL a process and its process group, except for resource trackers, which end by themselves."""
    members = [one for one in psutil.pids() if _group_of(one) == pid]
    if any(map(is_tracker, members)):
        for member in members:
            if not is_tracker(member):
                kill(member)
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    kill(pid)


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


def kill_all(find: Callable[[], set[int]], trackers_end: float = 0.0) -> None:
    """SIGKILL the processes that ``find`` returns, until it returns none.

    Args:
        find: Returns the processes that are to end.
        trackers_end: Seconds that resource trackers have to end by themselves.
    """
    began = time.monotonic()
    while left := find() - {os.getpid()}:
        waited = time.monotonic() - began
        for pid in left:
            if waited >= trackers_end or not is_tracker(pid):
                kill(pid)
        if waited > trackers_end + 1.0:  # a process that the kernel does not end now
            return
        time.sleep(LOOK)


def resident(pid: int) -> int:
    """Return the resident bytes of a process and all its descendants; what they share is counted for each."""
    total = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def exclusive(pid: int) -> int:
    """Return the bytes that a process and all its descendants hold; what any of them shares does not count."""
    total = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().uss
    return total


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []
