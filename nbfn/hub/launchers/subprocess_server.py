"""Starts each worker as an interpreter of its own, by exec: for systems without a safe fork, and where it is wanted.

A worker takes half a second to start instead of ten milliseconds, and shares no memory with others. Everything here is
in the standard library and psutil, for Linux and macOS.

Why not by loky's process backend, which starts clean interpreters as well: it runs the parent's `sys.executable` only,
leaves the names of its own module in the worker's `__main__`, makes the worker a child in the eyes of
`multiprocessing`, starts no session, does not notice that an executable is missing, and has all workers share one
resource tracker, so that what a killed worker had in shared memory stays until the hub ends.
"""

from __future__ import annotations

import fcntl
import functools
import mmap
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbfn.config import Places, Settings
from nbfn.hub.launchers import processes, procfs
from nbfn.hub.launchers.memory import MemoryUse
from nbfn.hub.launchers.worker_server import TRACKERS_END, Child, WorkerServer
from nbfn.protocol import worker_state


class SubprocessServer(WorkerServer[None]):
    """Starts workers by `subprocess.Popen`."""

    def _make(self, order: dict[str, Any], out: int, err: int) -> Child:
        with tempfile.TemporaryFile() as file:
            # Not sparse: on a full disk, writing to its memory would be a SIGBUS of the worker.
            file.write(bytes(worker_state.SIZE))
            file.flush()
            shared = mmap.mmap(file.fileno(), worker_state.SIZE)
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "nbfn_kernel", str(file.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=order["cwd"] if Path(order["cwd"]).is_dir() else "/",
                env=os.environ | order["environment"],
                pass_fds=(file.fileno(),),
                start_new_session=True,
            )
        process.returncode = (
            0  # `wait4` tells its end; a Popen that is let go would wait for it, too
        )
        if procfs.exists():
            memory = MemoryUse(process.pid, procfs.resident, procfs.proportional)
        else:
            memory = MemoryUse(process.pid, processes.resident, processes.exclusive)
        return Child(order["worker"], process.pid, shared, memory)

    def _kill(self, pid: int) -> None:
        processes.kill_group(pid)

    def _kill_rest(self, ended: Sequence[Child]) -> None:
        for child in ended:
            # Another hub's worker may have the same name.
            marks = {"NBFN_WORKER": child.worker, processes.MARK: os.environ[processes.MARK]}
            processes.kill_all(functools.partial(processes.with_variables, marks), TRACKERS_END)

    def _hub_is_back(self) -> bool:
        try:
            lock = os.open(self._places.lock_file, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False


def main(descriptor: int) -> None:
    """Start workers, controlled through a socket that the launcher passed on.

    Args:
        descriptor: Of that socket.
    """
    control = socket.socket(fileno=descriptor)
    os.set_inheritable(descriptor, False)
    SubprocessServer(control, Places.of(), Settings.load()).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
