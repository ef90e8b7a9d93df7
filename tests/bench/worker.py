"""How long until a new Function has its first result: with a blank worker, a fork, or nothing at all."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from nbfn.client import discovery
from nbfn.config import Places
from tests.bench import functions, peers
from tests.bench.clock import once, wait_until
from tests.bench.home import await_blanks, home, register
from tests.bench.options import Options
from tests.bench.table import Row, faster, seconds

BLANK, FORK, NOTHING = 0.020, 0.100, 1.5


def measure(options: Options) -> Iterator[Row]:
    """Yield each way to a first result, the peers' and the hub's own start."""
    count = options.count(10, 3)
    blank = statistics.median(_with_blank(count))
    yield Row(
        "first result of a new Function: blank ready",
        seconds(blank),
        "",
        "",
        "≤ 20 ms",
        blank <= BLANK,
    )
    fork = statistics.median(_by_fork(count))
    yield Row("… no blank left: fork", seconds(fork), "", "", "≤ 100 ms", fork <= FORK)
    few = options.count(3, 1)
    nothing = _from_nothing(few)
    what = f"… from nothing: no hub, best of {few}"
    yield Row(what, seconds(nothing), "", "", "≤ 1.5 s", nothing <= NOTHING)
    for name, peer in PEERS.items():
        took = min(_first_of(peer) for _ in range(few))
        yield Row("", "", f"{name} {seconds(took)}", faster(took, nothing))
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


def _first_of(peer: Callable[[], AbstractContextManager[Callable[[], object]]]) -> float:
    """Return the seconds from nothing to a peer's first result; its end is not timed."""
    began = time.perf_counter()
    with peer() as call:
        call()
        return time.perf_counter() - began


@contextlib.contextmanager
def _loky() -> Iterator[Callable[[], object]]:
    with peers.loky() as executor:
        yield lambda: executor.submit(functions.same, 1).result()


@contextlib.contextmanager
def _ipyparallel() -> Iterator[Callable[[], object]]:
    with peers.ipyparallel() as engines:
        yield lambda: engines[0].apply_sync(functions.same, 1)


PEERS = {"loky": _loky, "ipyparallel": _ipyparallel}


def _hub_start() -> float:
    with home():
        places = Places.of()
        hub: list[subprocess.Popen[bytes]] = []

        def start() -> None:
            command = [sys.executable, "-m", "nbfn", "hub", "start"]
            hub.append(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            wait_until(places.connection_file.exists)

        took = once(start)
        assert discovery.is_running(places)
        hub[0].terminate()
        hub[0].wait()
        return took
