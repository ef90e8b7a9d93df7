"""Starts each worker as a new interpreter, where there is no safe fork or the setting `launcher` asks for it.

A worker takes some tenths of a second to start instead of ten milliseconds, and shares no memory with others. This uses
the standard library and psutil, as they are on Linux and macOS.

It uses `subprocess` and not loky's process backend, which starts new interpreters as well. loky's workers share one
resource tracker, so shared memory of a killed worker stays until the hub ends; `__main__` holds the names of loky's own
module; `multiprocessing.current_process()` is not the main process; they have no session of their own; only
`sys.executable` can be run, and a missing executable raises no error.
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
from nbfn.hub.launchers.worker_server import TRACKER_TIMEOUT, Child, WorkerServer
from nbfn.protocol import worker_state


class SubprocessServer(WorkerServer[None]):
    """Starts workers by `subprocess.Popen`."""

    def _start_process(self, order: dict[str, Any], out: int, err: int) -> Child:
        with tempfile.TemporaryFile() as file:
            # Not a sparse file: on a full disk, writing to its mapping would end the worker with SIGBUS.
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
        process.returncode = 0  # it is reaped by `wait4`, not by this object
        if procfs.exists():
            memory = MemoryUse(process.pid, procfs.resident, procfs.proportional)
        else:
            memory = MemoryUse(process.pid, processes.resident, processes.exclusive)
        return Child(order["worker"], process.pid, shared, memory)

    def _kill(self, pid: int) -> None:
        processes.kill_group(pid)

    def _kill_descendants(self, ended: Sequence[Child]) -> None:
        for child in ended:
            # A worker of another home may have the same id.
            marks = {"NBFN_WORKER": child.worker, processes.MARK: os.environ[processes.MARK]}
            processes.kill_all(functools.partial(processes.with_variables, marks), TRACKER_TIMEOUT)

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
    """Serve a launcher.

    Args:
        descriptor: Of the socket that the launcher has connected.
    """
    control = socket.socket(fileno=descriptor)
    os.set_inheritable(descriptor, False)
    SubprocessServer(control, Places.of(), Settings.load()).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
