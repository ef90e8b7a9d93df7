"""``python -m tests.soak [--minutes 30]``: run mixed load and print whether memory, descriptors or threads grow.

Samples are taken while calls of all kinds run. A line is fitted to the second half of them, by least squares, so that
caches that fill at the start do not count. The exit code is 1 when something grows beyond its limit.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

import nbfn
from nbfn.client.client import Client
from nbfn.config import Places
from tests.conftest import a_home

#: Seconds between two samples.
EVERY = 2.0
#: What may be added between the first and the last sample that count: megabytes, descriptors, threads, processes.
LIMITS = {"MB": 16.0, "descriptors": 6.0, "threads": 2.0, "processes": 2.0}

app = nbfn.App("soak")


@app.function(max_containers=2)
def square(number: int) -> int:
    """Return the square; every hundredth input prints, every thousandth raises."""
    if number % 100 == 0:
        print("input", number)
    if number % 1000 == 999:
        raise ValueError(number)
    return number * number


@app.function(max_containers=2)
def reverse(data: bytes) -> bytes:
    """Return the bytes in reverse order, through shared memory both ways."""
    return data[::-1]


@app.function(max_containers=2)
def count(number: int) -> Iterator[int]:
    """Yield the numbers below ``number``."""
    yield from range(number)


stamp = 0


@app.function(max_containers=2)
def stamped() -> int:
    """Return a global of this module: each new value of it makes a new version."""
    return stamp


def calls() -> None:
    """Make one call of each kind and check what comes back."""
    global stamp
    before = stamp
    assert square.remote(3) == 9
    outcomes = list(square.map(range(1500), return_exceptions=True))
    assert sum(isinstance(outcome, ValueError) for outcome in outcomes) == 1
    assert square.spawn(5).get(timeout=60) == 25
    data = bytes(range(256)) * 4096
    assert reverse.remote(data) == data[::-1]
    assert list(count.remote_gen(100)) == list(range(100))
    stamp = time.monotonic_ns()
    assert stamped.remote() >= before


class Samples:
    """Memory, descriptors, threads and number of the processes of a home, over time."""

    def __init__(self, home: Path) -> None:
        self.taken: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        self._home = home
        self._began = time.monotonic()

    def take(self) -> None:
        """Add one sample of each kind."""
        now = time.monotonic() - self._began
        sums: dict[tuple[str, str], float] = defaultdict(float)
        for role, process in self._processes():
            with contextlib.suppress(psutil.Error):  # it has ended
                sums[role, "MB"] += process.memory_full_info().pss / 2**20
                sums[role, "descriptors"] += process.num_fds()
                sums[role, "threads"] += process.num_threads()
                sums[role, "processes"] += 1
        segments = Places.of().shm.glob("*") if Places.of().shm.is_dir() else ()
        sums["shared memory", "MB"] = sum(s.stat().st_size for s in segments if s.exists()) / 2**20
        for key, value in sums.items():
            self.taken[key].append((now, value))

    def _processes(self) -> Iterator[tuple[str, psutil.Process]]:
        yield "client", psutil.Process()
        hub = psutil.Process(Client.attach().overview().hub.pid)
        yield "hub", hub
        for child in hub.children(recursive=True):
            yield "workers and fork servers", child


@dataclass(frozen=True, slots=True)
class Growth:
    """How one kind of sample changed over the second half of the run.

    Attributes:
        what: The processes, and the unit.
        level: The median of the samples.
        added: What the fitted line adds from the first of them to the last.
        limit: What it may add.
    """

    what: str
    level: float
    added: float
    limit: float

    @classmethod
    def of(cls, key: tuple[str, str], samples: list[tuple[float, float]]) -> Growth:
        """Fit a line to the second half of samples."""
        half = samples[len(samples) // 2 :]
        times, values = zip(*half, strict=True)
        slope = statistics.linear_regression(times, values).slope if len(half) > 2 else 0.0
        added = slope * (times[-1] - times[0])
        return cls(f"{key[0]}, {key[1]}", statistics.median(values), added, LIMITS[key[1]])

    @property
    def holds(self) -> bool:
        """Whether it is within its limit."""
        return self.added <= self.limit

    def __str__(self) -> str:
        verdict = "" if self.holds else "  GROWS"
        return f"{self.what:38} {self.level:9.1f} {self.added:+9.1f} {self.limit:7.1f}{verdict}"


def soak(
    home: Path, seconds: float, load: Callable[[], None] = calls, threads: int = 2
) -> list[Growth]:
    """Run a load for some time and return what grew, in the order of what was sampled."""
    ends = time.monotonic() + seconds
    failed: list[BaseException] = []

    def run() -> None:
        try:
            while time.monotonic() < ends and not failed:
                load()
        except BaseException as error:  # raised below
            failed.append(error)

    runners = [threading.Thread(target=run, name=f"soak-{n}") for n in range(threads)]
    load()
    for runner in runners:
        runner.start()
    samples = Samples(home)
    while time.monotonic() < ends and not failed:
        samples.take()
        time.sleep(min(EVERY, seconds / 20))
    for runner in runners:
        runner.join(120)
    if failed:
        raise failed[0]
    return [Growth.of(key, taken) for key, taken in sorted(samples.taken.items())]


def main() -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    given = parser.parse_args()
    with a_home() as home:
        found = soak(home, given.minutes * 60)
    print(f"{'in the second half':38} {'median':>9} {'added':>9} {'limit':>7}")
    print(*found, sep="\n")
    return 0 if all(growth.holds for growth in found) else 1


if __name__ == "__main__":
    sys.exit(main())
