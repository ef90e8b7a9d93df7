"""The fork server: imports what workers need, then forks them. It needs Linux.

It starts no thread and opens no ZeroMQ context, so forking is safe. Processes that outlive their worker become its
children, and its workers are killed when it ends.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import mmap
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from nbfn.config import Places, Settings
from nbfn.hub.launchers import procfs
from nbfn.hub.launchers.memory import MemoryUse
from nbfn.hub.launchers.worker_server import TRACKER_TIMEOUT, Child, WorkerServer
from nbfn.protocol import worker_state

#: Its `preload` runs here, its `main` in each worker. Imported by name: it is no part of this package.
WORKER_MODULE = "nbfn_kernel.worker.main"

_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


@dataclass(slots=True)
class _ForkedWorker:
    """What a forked child needs to run as a worker."""

    order: dict[str, Any]
    parent: int
    shared: mmap.mmap
    out: int
    err: int


class ForkServer(WorkerServer[_ForkedWorker]):
    """Starts workers by `os.fork`."""

    def close_in_child(self) -> None:
        """Close, in a child, the descriptors of the server."""
        signal.set_wakeup_fd(-1)
        os.close(self._wakeup_write)
        os.close(self._wakeup_read)
        if self._control is not None:
            self._control.close()
        for child in self._children.values():
            child.shared.close()

    def _start_process(self, order: dict[str, Any], out: int, err: int) -> Child | _ForkedWorker:
        shared, parent = mmap.mmap(-1, worker_state.SIZE), os.getpid()
        if not (pid := os.fork()):
            return _ForkedWorker(order, parent, shared, out, err)
        memory = MemoryUse(pid, procfs.resident, procfs.proportional)
        return Child(order["worker"], pid, shared, memory)

    def _kill(self, pid: int) -> None:
        procfs.kill_group(pid)

    def _hub_is_back(self) -> bool:
        return procfs.is_locked(self._places.lock_file)

    def _kill_descendants(self, ended: Sequence[Child]) -> None:
        """Kill children that are not workers: they were started by workers that have ended."""
        trackers_end_by = time.monotonic() + TRACKER_TIMEOUT
        for _ in range(10):
            orphans = self._orphans()
            if all(map(procfs.is_tracker, orphans)):
                orphans = _wait_for(orphans, trackers_end_by)
            if not orphans:
                return
            if time.monotonic() < trackers_end_by:
                orphans = [pid for pid in orphans if not procfs.is_tracker(pid)]
            procfs.kill(*orphans)
            # When they have ended, their children become ours. One that the kernel does not end now is left for later.
            _wait_for(orphans, time.monotonic() + 0.2)

    def _orphans(self) -> list[int]:
        me = os.getpid()
        table = procfs.processes().values()
        return [p.pid for p in table if p.parent == me and p.pid not in self._children]


def _wait_for(pids: list[int], deadline: float) -> list[int]:
    """Wait until processes have ended, or until a time; return those that have not."""
    while pids and time.monotonic() < deadline:
        pids = [pid for pid in pids if not _has_ended(pid)]
        time.sleep(0.001)
    return pids


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _run_worker(forked: _ForkedWorker) -> NoReturn:
    """Run a worker in a fork of the server. Never returns to the server's code."""
    code = 1
    try:
        os.setsid()
        if not procfs.die_with_parent(forked.parent):
            os._exit(1)
        procfs.take_orphans()
        procfs.set_name(procfs.WORKER)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        _redirect_streams(forked)
        with contextlib.suppress(
            OSError
        ):  # short of memory, the kernel takes a worker, not the hub or the notebook
            Path("/proc/self/oom_score_adj").write_text("500")
        sys.argv[:] = [""]
        order = forked.order
        os.environ.update(order["environment"])
        with contextlib.suppress(OSError):
            os.chdir(order["cwd"])
        faulthandler.enable(
            all_threads=False
        )  # frames of the other thread would fill the tail that is reported
        importlib.import_module(WORKER_MODULE).main(forked.shared)
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may unwind into the server's frames
        traceback.print_exc(file=sys.__stderr__)
    finally:
        for stream in (sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(Exception):
                stream.flush()  # type: ignore[union-attr]
        os._exit(code)


def _redirect_streams(forked: _ForkedWorker) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for source, target in ((nothing, 0), (forked.out, 1), (forked.err, 2)):
        os.dup2(source, target)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers are all that is needed
        if int(name) > 2:
            with contextlib.suppress(OSError):
                os.close(int(name))


def main(descriptor: int) -> None:
    """Serve a launcher.

    Args:
        descriptor: Of the socket that the launcher has connected.
    """
    control = socket.socket(fileno=descriptor)
    os.set_inheritable(descriptor, False)
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(Path.cwd()))]
    procfs.set_name(procfs.FORK_SERVER)
    procfs.take_orphans()
    importlib.import_module(WORKER_MODULE).preload()
    server = ForkServer(control, Places.of(), Settings.load())
    del control
    gc.collect()
    gc.freeze()
    forked = server.serve()
    if forked is not None:
        server.close_in_child()
        del server
        _run_worker(forked)


if __name__ == "__main__":
    main(int(sys.argv[1]))
