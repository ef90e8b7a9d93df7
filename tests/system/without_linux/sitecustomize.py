"""Takes from an interpreter on Linux what macOS does not have, before anything else is imported.

Python finds this file by PYTHONPATH. For code of nbfn, /proc, /sys and /dev/shm do not exist. What other packages do is
their own matter: that they know the system they run on.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import sys
from pathlib import Path
from typing import Any

MISSING = {
    os: [
        *("eventfd", "eventfd_read", "eventfd_write", "EFD_CLOEXEC", "EFD_NONBLOCK"),
        *("pidfd_open", "memfd_create", "pipe2", "waitid", "posix_fallocate", "posix_fadvise"),
        *("sched_getaffinity", "sched_setaffinity", "sched_setscheduler", "fdatasync", "splice"),
        *("copy_file_range", "getrandom", "getxattr", "setxattr", "setns", "unshare"),
        *("O_TMPFILE", "O_PATH", "P_PIDFD"),
    ],
    select: ["epoll"],
    signal: ["pidfd_send_signal", "sigwaitinfo", "sigtimedwait", "SIGRTMIN", "SIGRTMAX"],
    resource: ["prlimit"],
}
PLACES = ("/proc", "/sys", "/dev/shm")
#: Events of which the first argument is a path; see `sys.addaudithook`.
OPENS = {"open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove"}
OWN = ("nbfn", "nbfn_kernel")


def asked_by_nbfn() -> bool:
    """Whether the code that asks is nbfn's, perhaps by the standard library."""
    frame = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if module in OWN:
            return True
        if "site-packages" in frame.f_code.co_filename:
            return False
        frame = frame.f_back  # type: ignore[assignment]
    return False


def refuse(path: Any) -> None:
    if isinstance(path, (str, bytes, os.PathLike)):
        text = os.fsdecode(path)
        missing = any(text == place or text.startswith(f"{place}/") for place in PLACES)
        if missing and asked_by_nbfn():
            raise FileNotFoundError(errno.ENOENT, "There is no such file on macOS", text)


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in OPENS:
        refuse(arguments[0])
    elif event == "ctypes.dlsym" and arguments[1] == "prctl":
        raise AttributeError(arguments[1])


def refusing(function: Any) -> Any:
    def wrapped(path: Any, *args: Any, **kwargs: Any) -> Any:
        refuse(path)
        return function(path, *args, **kwargs)

    return wrapped


for module, names in MISSING.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
for name in ("stat", "lstat", "readlink", "access", "statvfs"):  # these have no audit events
    setattr(os, name, refusing(getattr(os, name)))
sys.addaudithook(audit)
if journal := os.environ.get("WITHOUT_LINUX_JOURNAL"):
    with Path(journal).open("a") as file:
        file.write(" ".join(sys.orig_argv) + "\n")
