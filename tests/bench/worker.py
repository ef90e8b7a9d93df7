"""How long until a new Function has its first result: with a blank worker, a fork, or nothing at all."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from nbfn import discovery
from nbfn.config import Places
from tests.bench import functions, peers
from tests.bench.clock import once, wait_until
from tests.bench.home import await_blanks, home, register
from tests.bench.options import Options
from tests.bench.table import Row, seconds

BLANK, FORK, NOTHING = 0.020, 0.100, 1.5


def measure(options: Options) -> Iterator[Row]:
    """Yield each way to a first result, the peers' and the hub's own start."""
    count = options.count(10, 3)
    blank = statistics.median(_with_blank(count))
    yield Row("first result of a new Function: blank ready", seconds(blank), "", "", "≤ 20 ms", blank <= BLANK)
    fork = statistics.median(_by_fork(count))
    yield Row("… no blank left: fork", seconds(fork), "", "", "≤ 100 ms", fork <= FORK)
    few = options.count(3, 1)
    nothing, theirs = _from_nothing(few), _peers(few)
    for name, took in theirs.items():
        yield Row(f"… from nothing: no hub, best of {few}", seconds(nothing), f"{name} {seconds(took)}", "", "≤ 1.5 s", nothing <= NOTHING)
    yield Row(f"hub start alone, best of {few}", seconds(min(_hub_start() for _ in range(few))))


def _another(number: int) -> Callable[..., Any]:
    def function(x: Any) -> Any:
        return number, x

    return function


def _first_results(count: int, ready: Callable[[], object]) -> Iterator[float]:
    for number in range(count):
        new = register(_another(number), scaledown_window=0.1)
        ready()
        yield once(lambda new=new: new.remote(1))  # type: ignore[misc]


def _with_blank(count: int) -> list[float]:
    with home():
        register(functions.same).remote(1)
        return list(_first_results(count, lambda: await_blanks(2)))


def _by_fork(count: int) -> list[float]:
    with home(blank_workers=0):
        register(functions.same).remote(1)
        return list(_first_results(count, lambda: None))


def _from_nothing(count: int) -> float:
    found = []
    for _ in range(count):
        with home():
            found.append(once(lambda: register(functions.same).remote(1)))
    return min(found)


def _peers(count: int) -> dict[str, float]:
    def loky() -> None:
        with peers.loky() as executor:
            executor.submit(functions.same, 1).result()
            ended.append(time())

    def ipyparallel() -> None:
        with peers.ipyparallel() as engines:
            engines[0].apply_sync(functions.same, 1)
            ended.append(time())

    from time import perf_counter as time

    found = {}
    for name, start in (("loky", loky), ("ipyparallel", ipyparallel)):
        took = []
        for _ in range(count):
            ended: list[float] = []
            began = time()
            start()
            took.append(ended[0] - began)
        found[name] = min(took)
    return found


def _hub_start() -> float:
    with home():
        places = Places.of()
        hub: list[subprocess.Popen[bytes]] = []

        def start() -> None:
            command = [sys.executable, "-m", "nbfn", "hub", "start"]
            hub.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            wait_until(places.connection_file.exists)

        took = once(start)
        assert discovery.is_running(places)
        hub[0].terminate()
        hub[0].wait()
        return took
