"""Slow, interrupted and broken connections of clients and workers to the hub (docs/guarantees.md, F12, F13 and F14)."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import nbfn
from nbfn.config import Places
from tests.conftest import wait_until
from tests.system.proxy import Proxy, proxied

app = nbfn.App()


@app.function(max_containers=2)
def square(number: int, journal: Path) -> int:
    with journal.open("a") as file:
        file.write(f"{number}\n")
    time.sleep(0.01)
    return number * number


def executions(journal: Path) -> Counter[int]:
    return Counter(int(line) for line in journal.read_text().split())


@pytest.fixture
def network(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What all connections of a new hub go through, those of its workers as well."""
    monkeypatch.setenv("NBFN_BLANK_WORKERS", "0")
    with proxied(Places.of()) as proxy:
        yield proxy


def mapped(numbers: int, journal: Path) -> list[int]:
    return list(square.map(range(numbers), kwargs={"journal": journal}))


def interfere(journal: Path, after: int, *steps: Callable[[], None] | float) -> None:
    """Take steps, or pause for seconds, on another thread once some inputs have run."""

    def run() -> None:
        wait_until(lambda: journal.exists() and executions(journal).total() >= after, within=60)
        for step in steps:
            step() if callable(step) else time.sleep(step)

    threading.Thread(target=run, daemon=True).start()


def test_f12_a_connection_that_is_held_up_for_two_seconds_costs_only_the_time(
    network: Proxy, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    interfere(journal, 50, network.hold, 2.0, network.release)
    assert mapped(300, journal) == [number * number for number in range(300)]
    assert network.connections >= 2, "client and workers connect through the proxy"
    assert set(executions(journal).values()) == {1}


def test_f13_workers_that_come_back_after_their_lease_change_no_result(
    network: Proxy, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    interfere(journal, 50, network.hold, 5.0, network.release)
    assert mapped(300, journal) == [number * number for number in range(300)]
    assert set(executions(journal)) == set(range(300))
    assert network.connections > 3, "connections were given up and made again"


def test_f14_late_messages_and_cut_connections_lose_nothing(network: Proxy, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    network.delay = 0.05
    steps: list[Callable[[], None] | float] = []
    for _ in range(5):
        steps += [network.cut, 0.5]
    interfere(journal, 20, *steps)
    assert mapped(200, journal) == [number * number for number in range(200)]
    assert set(executions(journal)) == set(range(200))
    assert network.connections > 5
    call = square.spawn(7, journal)
    network.cut()
    assert call.get(timeout=20) == 49
