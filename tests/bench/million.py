"""A map that is too long to keep: what it adds to the memory of the client and of the hub."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator

from tests.bench import functions
from tests.bench.home import home, hub_pid, register, resident
from tests.bench.map import BUDGET as RATE
from tests.bench.options import Options
from tests.bench.table import Row, megabytes, rate

BUDGET = 100e6
#: Seconds between two looks.
LOOK = 0.05


class Watch(threading.Thread):
    """Sees how far processes grow."""

    def __init__(self, **pids: int) -> None:
        super().__init__(daemon=True)
        self._pids = pids
        self._before = {name: resident(pid) for name, pid in pids.items()}
        self._over = threading.Event()
        self.growth = dict.fromkeys(pids, 0)
        self.start()

    def run(self) -> None:
        """Look again and again."""
        while not self._over.wait(LOOK):
            self._look()

    def _look(self) -> None:
        for name, pid in self._pids.items():
            self.growth[name] = max(self.growth[name], resident(pid) - self._before[name])

    def finish(self) -> dict[str, int]:
        """Stop looking; return the most that each has grown."""
        self._over.set()
        self.join()
        self._look()
        return self.growth


def measure(options: Options) -> Iterator[Row]:
    """Yield growth and rate."""
    inputs = options.count(1_000_000, 200_000)
    with home():
        ours = register(functions.same, max_containers=os.cpu_count())
        deque(ours.map(range(1000)), maxlen=0)
        watch = Watch(client=os.getpid(), hub=hub_pid())
        began = time.perf_counter()
        deque(ours.map(range(inputs)), maxlen=0)
        took = time.perf_counter() - began
        growth = watch.finish()
    speed = inputs / took
    yield Row(f"map of {inputs:,} no-ops", rate(speed), "", "", f"≥ {rate(RATE)}", speed >= RATE)
    for name, grown in growth.items():
        yield Row(f"… the {name} grows by", megabytes(grown), "", "", "< 100 MB", grown < BUDGET)
