"""Durable calls: one after the other, and many threads at once (which share commits to disk)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.bench import functions
from tests.bench.clock import in_turns
from tests.bench.home import home, register
from tests.bench.options import Options
from tests.bench.table import Row, rate, seconds

BUDGET, RATE = 0.020, 2000.0
THREADS = 32


def measure(options: Options) -> Iterator[Row]:
    """Yield the time of one spawn and how many go in a second."""
    count = options.count(1000, 200)
    with home():
        ours = register(functions.nothing)
        ours.remote(1)
        single = in_turns({"spawn": lambda: ours.spawn(1)}, rounds=1, each=options.count(300, 50))[
            "spawn"
        ]
        ours.spawn(1).get(timeout=60)
        alone = _rate(ours, count, 1)
        together = _rate(ours, count, THREADS)
        many = options.count(20_000, 2000)
        began = time.perf_counter()
        call = ours.spawn_map(range(many))
        mapped = many / (time.perf_counter() - began)
        call.get(timeout=60, index=many - 1)
    median, slow = statistics.median(single), statistics.quantiles(single, n=20)[-1]
    yield Row(
        "spawn(), stored before it returns, median",
        seconds(median),
        "",
        "",
        "≤ 20 ms",
        median <= BUDGET,
    )
    yield Row("… 95th percentile", seconds(slow))
    yield Row("spawns a second, one after the other", rate(alone))
    yield Row(f"spawns a second, {THREADS} threads", rate(together))
    yield Row(f"spawn_map of {many} inputs", rate(mapped), "", "", "≥ 2,000/s", mapped >= RATE)


def _rate(ours: object, count: int, threads: int) -> float:
    spawn = ours.spawn  # type: ignore[attr-defined]
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        calls = list(pool.map(spawn, range(count)))
        took = time.perf_counter() - began
    calls[-1].get(timeout=60)
    return count / took
