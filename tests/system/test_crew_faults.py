"""Inputs that may run once, and inputs that run at once, when hub and workers die (docs/guarantees.md, P6, F33)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import nbfn
from nbfn.client.discovery import is_running, read_connection_file
from nbfn.config import Places
from nbfn.exception import WorkerCrashed, WorkerLost
from tests.conftest import wait_until

app = nbfn.App("crew-faults")


@app.function(at_most_once=True, max_containers=1)
def once(path: str, until: str = "") -> int:
    with Path(path).open("a") as journal:
        journal.write(f"{os.getpid()}\n")
    while until and not Path(until).exists():
        time.sleep(0.01)
    return os.getpid()


def ran(journal: Path) -> list[int]:
    return [int(line) for line in journal.read_text().split()] if journal.exists() else []


def kill_hub() -> None:
    os.kill(int(str(read_connection_file(Places.of())["pid"])), signal.SIGKILL)
    wait_until(lambda: not is_running(Places.of()))


def spawned(*args: str) -> list[int]:
    return [call.get(30) for call in [once.spawn(*args) for _ in range(2)]]


def mapped(*args: str) -> list[int]:
    return list(once.starmap([args] * 2))


@pytest.mark.parametrize("both", [spawned, mapped])
def test_a_worker_that_outlives_its_hub_still_gives_its_one_result(
    home: Path, tmp_path: Path, both: Callable[..., list[int]]
) -> None:
    journal, go = tmp_path / "journal", tmp_path / "go"
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(both, str(journal), str(go))
        wait_until(lambda: len(ran(journal)) == 1)  # the other one has not begun
        kill_hub()
        go.touch()
        assert sorted(found.result(30)) == sorted(ran(journal))
    assert len(ran(journal)) == 2


def test_what_had_begun_when_hub_and_worker_died_does_not_begin_again(
    home: Path, tmp_path: Path
) -> None:
    journal, never = tmp_path / "journal", tmp_path / "never"
    lost = once.spawn(str(journal), str(never))
    queued = once.spawn(str(journal))
    wait_until(lambda: len(ran(journal)) == 1)
    kill_hub()
    os.kill(ran(journal)[0], signal.SIGKILL)
    with pytest.raises(WorkerLost, match="at_most_once"):
        lost.get(30)
    assert queued.get(30) == ran(journal)[1]
    assert len(ran(journal)) == 2


@pytest.mark.timeout(90)
def test_f33_of_ten_at_once_only_the_one_that_crashes_fails(home: Path, tmp_path: Path) -> None:
    @app.function(name="poisoned", max_containers=2)
    @nbfn.concurrent(max_inputs=10)
    async def poisoned(x: int) -> int:
        import asyncio
        import ctypes

        Path(tmp_path, f"{x}.{time.monotonic_ns()}").touch()
        while len({p.name.split(".")[0] for p in tmp_path.iterdir()}) < 10:
            await asyncio.sleep(0.005)
        if x == 7:
            ctypes.string_at(0)
        await asyncio.sleep(0.2)
        return x

    found = list(poisoned.map(range(10), return_exceptions=True))
    assert [value for x, value in enumerate(found) if x != 7] == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert isinstance(found[7], WorkerCrashed)
    assert found[7].signal == signal.SIGSEGV
    assert len(list(tmp_path.glob("7.*"))) == 2


@app.function(max_containers=1)
@nbfn.concurrent(max_inputs=3)
async def stays(folder: str, x: int) -> int:
    import asyncio

    Path(folder, f"{x}.{time.monotonic_ns()}").touch()
    while not Path(folder, "go").exists():
        await asyncio.sleep(0.01)
    return x


def test_inputs_at_once_outlive_their_hub_and_no_more_run_than_may(
    home: Path, tmp_path: Path
) -> None:
    calls = [stays.spawn(str(tmp_path), x) for x in range(4)]
    wait_until(lambda: len(list(tmp_path.iterdir())) == 3)
    kill_hub()
    calls.append(stays.spawn(str(tmp_path), 4))
    stats = stays.get_current_stats()
    assert stats.num_total_runners <= 1
    assert len(list(tmp_path.iterdir())) == 3
    (tmp_path / "go").touch()
    assert [call.get(30) for call in calls] == list(range(5))
    assert sorted(p.name[0] for p in tmp_path.glob("?.*")) == ["0", "1", "2", "3", "4"]
