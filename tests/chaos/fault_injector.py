"""Kills and stops processes of one home at random, and records which fault it caused when."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from nbfn.client.discovery import read_connection_file
from nbfn.config import Places
from nbfn.hub.launchers import procfs
from tests.conftest import processes_of

#: The faults, and how often of a hundred times each is chosen.
FAULTS = {
    "kill worker": 40,
    "stop worker": 20,
    "kill hub": 18,
    "stop hub": 12,
    "kill fork server": 4,
    "stop client": 6,
}
#: Seconds between two faults, and that a process is stopped for.
PAUSE, STOPPED = (0.2, 1.2), (0.1, 4.5)


@dataclass
class Fault:
    """A signal that was sent to a process, and until when it acted."""

    what: str
    pid: int
    begun: float
    ended: float


class FaultInjector:
    """Causes faults in processes of one home only.

    Args:
        home: The home.
        seed: Decides which fault is caused when.
        clients: Pids of client processes it may stop.
    """

    def __init__(self, home: Path, seed: int, clients: list[int]) -> None:
        self._home = home
        self._random = random.Random(seed)
        self._clients = clients
        self._stopped: list[tuple[float, int]] = []  # until when, pid
        self.faults: list[Fault] = []

    def inject(self) -> None:
        """Cause one fault, if there is a process for it; then wait a while."""
        what = self._random.choices(list(FAULTS), weights=list(FAULTS.values()))[0]
        found = self._candidates(what.partition(" ")[2])
        if found:
            pid = self._random.choice(found)
            now = time.monotonic()
            if what.startswith("kill"):
                self._signal(pid, signal.SIGKILL)
                self.faults.append(Fault(what, pid, now, now))
            else:
                until = now + self._random.uniform(*STOPPED)
                self._signal(pid, signal.SIGSTOP)
                self._stopped.append((until, pid))
                self.faults.append(Fault(what, pid, now, until))
        self._resume(time.monotonic())
        time.sleep(self._random.uniform(*PAUSE))

    def stop(self) -> None:
        """Resume all processes that are stopped."""
        self._resume(float("inf"))

    def _resume(self, now: float) -> None:
        for until, pid in list(self._stopped):
            if until <= now:
                self._stopped.remove((until, pid))
                self._signal(pid, signal.SIGCONT)

    def _candidates(self, whom: str) -> list[int]:
        if whom == "client":
            return self._clients
        if whom == "hub":
            pid = read_connection_file(Places.of()).get("pid")
            return [pid] if isinstance(pid, int) and pid in processes_of(self._home) else []
        name = procfs.WORKER if whom == "worker" else procfs.FORK_SERVER
        table = procfs.processes()
        return sorted(p for p in processes_of(self._home) if p in table and table[p].name == name)

    def _signal(self, pid: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            # Of this home still: the number of a process that ended may be somebody else's now.
            if pid in processes_of(self._home):
                os.kill(pid, number)
