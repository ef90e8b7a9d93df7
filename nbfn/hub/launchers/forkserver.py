"""The fork server: it has imported what workers need, and a worker is a fork of it. It needs Linux.

It starts no thread and opens no ZeroMQ context, so forking is safe. It is the foster parent of all that its workers
start and leave, and its workers die with it.
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
from nbfn.hub.launchers.worker_server import TRACKERS_END, Child, WorkerServer
from nbfn.protocol import worker_state

#: Its `preload` runs here, its `main` in each worker. Imported by name: it is no part of this package.
ENTRY = "nbfn_kernel.worker.main"

_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


@dataclass(slots=True)
class _Birth:
    """What a forked child needs to become a worker."""

    order: dict[str, Any]
    parent: int
    shared: mmap.mmap
    out: int
    err: int


class ForkServer(WorkerServer[_Birth]):
    """Starts workers by `os.fork`."""

    def forget(self) -> None:
        """Let go, in a child, of what is the server's."""
        signal.set_wakeup_fd(-1)
        os.close(self._wake_in)
        os.close(self._wake_out)
        if self._control is not None:
            self._control.close()
        for child in self._children.values():
            child.shared.close()

    def _make(self, order: dict[str, Any], out: int, err: int) -> Child | _Birth:
        shared, parent = mmap.mmap(-1, worker_state.SIZE), os.getpid()
        if not (pid := os.fork()):
            return _Birth(order, parent, shared, out, err)
        memory = MemoryUse(pid, procfs.resident, procfs.proportional)
        return Child(order["worker"], pid, shared, memory)

    def _kill(self, pid: int) -> None:
        procfs.kill_group(pid)

    def _hub_is_back(self) -> bool:
        return procfs.is_locked(self._places.lock_file)

    def _kill_rest(self, ended: Sequence[Child]) -> None:
        """End children that are not workers: they were started by workers that have ended."""
        trackers_until = time.monotonic() + TRACKERS_END
        for _ in range(10):
            strays = self._strays()
            while strays and all(map(procfs.is_tracker, strays)):
                if time.monotonic() >= trackers_until:
                    break
                strays = [pid for pid in strays if not _is_over(pid)]
                time.sleep(0.001)
            if not strays:
                return
            if time.monotonic() < trackers_until:
                strays = [pid for pid in strays if not procfs.is_tracker(pid)]
            procfs.kill(*strays)
            # Their own children come to us as soon as they are gone. One that the kernel holds back is left for later.
            deadline = time.monotonic() + 0.2
            while strays and time.monotonic() < deadline:
                strays = [pid for pid in strays if not _is_over(pid)]
                time.sleep(0.001)

    def _strays(self) -> list[int]:
        me = os.getpid()
        table = procfs.processes().values()
        return [p.pid for p in table if p.parent == me and p.pid not in self._children]


def _is_over(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _become(birth: _Birth) -> NoReturn:
    """Turn a fork of the server into a worker; never returns to the server's code."""
    code = 1
    try:
        os.setsid()
        if not procfs.die_with_parent(birth.parent):
            os._exit(1)
        procfs.take_orphans()
        procfs.set_name(procfs.WORKER)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        _rewire(birth)
        with contextlib.suppress(
            OSError
        ):  # short of memory, the kernel takes a worker, not the hub or the notebook
            Path("/proc/self/oom_score_adj").write_text("500")
        sys.argv[:] = [""]
        order = birth.order
        os.environ.update(order["environment"])
        with contextlib.suppress(OSError):
            os.chdir(order["cwd"])
        faulthandler.enable(all_threads=False)  # the other thread would fill the tail that is told
        importlib.import_module(ENTRY).main(birth.shared)
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may unwind into the server's frames
        traceback.print_exc(file=sys.__stderr__)
    finally:
        for stream in (sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(Exception):
                stream.flush()  # type: ignore[union-attr]
        os._exit(code)


def _rewire(birth: _Birth) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for source, target in ((nothing, 0), (birth.out, 1), (birth.err, 2)):
        os.dup2(source, target)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers are all that is needed
        if int(name) > 2:
            with contextlib.suppress(OSError):
                os.close(int(name))


def main(descriptor: int) -> None:
    """Be a fork server, controlled through a socket that the launcher passed on.

    Args:
        descriptor: Of that socket.
    """
    control = socket.socket(fileno=descriptor)
    os.set_inheritable(descriptor, False)
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(Path.cwd()))]
    procfs.set_name(procfs.FORK_SERVER)
    procfs.take_orphans()
    importlib.import_module(ENTRY).preload()
    server = ForkServer(control, Places.of(), Settings.load())
    del control
    gc.collect()
    gc.freeze()
    birth = server.serve()
    if birth is not None:
        server.forget()
        del server
        _become(birth)


if __name__ == "__main__":
    main(int(sys.argv[1]))
