"""A hub that is killed while a spawned call runs again: nothing is lost, nothing is recorded twice."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import nbfn
from nbfn.client.discovery import is_running, read_connection_file
from nbfn.config import Places
from tests.conftest import stop_hub, wait_until

app = nbfn.App()


def kill_hub() -> None:
    places = Places.of()
    os.kill(int(str(read_connection_file(places)["pid"])), signal.SIGKILL)
    wait_until(lambda: not is_running(places))


@app.function(max_containers=2)
def pick(number: int, folder: Path) -> int:
    """Fail at odd numbers until ``mended`` is there; then wait for ``go``."""
    with (folder / "journal").open("a") as journal:
        journal.write(f"{number}\n")
    if not (folder / "mended").exists():
        if number % 2:
            raise ValueError(number)
        return number
    while not (folder / "go").exists():
        time.sleep(0.005)
    return -number


def ran(folder: Path) -> Counter[int]:
    path = folder / "journal"
    return Counter(int(line) for line in path.read_text().split()) if path.exists() else Counter()


def failed(folder: Path) -> nbfn.FunctionCall[int]:
    """Spawn four inputs, of which 1 and 3 fail, and wait for their end."""
    call = pick.spawn_map(range(4), [folder] * 4)
    for index in (1, 3):
        with pytest.raises(ValueError, match=str(index)):
            call.get(timeout=30, index=index)
    for index in (0, 2):
        assert call.get(timeout=30, index=index) == index
    (folder / "mended").touch()
    return call


def recorded(call: nbfn.FunctionCall[int]) -> list[int]:
    """Return the indices of the outcomes on disk."""
    stop_hub(Places.of())
    with sqlite3.connect(Places.of().database) as database:
        found = database.execute("SELECT number FROM outcomes WHERE call = ?", (call.object_id,))
        numbers = sorted(row[0] for row in found)
        for table in ("inputs", "failed_inputs"):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    database.close()
    return numbers


def test_a_hub_killed_between_a_retry_and_its_end(home: Path, tmp_path: Path) -> None:
    call = failed(tmp_path)
    assert call.retry() == 2
    wait_until(lambda: sum(ran(tmp_path).values()) == 6)
    kill_hub()
    (tmp_path / "go").touch()
    assert [call.get(timeout=60, index=n) for n in range(4)] == [0, -1, 2, -3]
    assert recorded(call) == [0, 1, 2, 3]


def test_a_hub_killed_with_a_retry_that_no_worker_has_begun(home: Path, tmp_path: Path) -> None:
    @app.function(name="busy", max_containers=1)
    def busy(folder: Path, fails: bool) -> str:
        if fails and not (folder / "mended").exists():
            raise ValueError("not yet")
        while not fails and not (folder / "go").exists():
            time.sleep(0.005)
        return "ready"

    call = busy.spawn(tmp_path, True)
    with pytest.raises(ValueError, match="not yet"):
        call.get(timeout=30)
    before = busy.spawn(tmp_path, False)  # has the one worker
    (tmp_path / "mended").touch()
    assert call.retry() == 1
    kill_hub()
    (tmp_path / "go").touch()
    assert call.get(timeout=60) == "ready"
    assert before.get(timeout=60) == "ready"
    assert recorded(call) == [0]


def test_a_retry_is_asked_again_of_the_hub_that_follows_and_begins_once(
    home: Path, tmp_path: Path
) -> None:
    call = failed(tmp_path)
    wait_until(lambda: sum(ran(tmp_path).values()) == 4)
    pid = int(str(read_connection_file(Places.of())["pid"]))
    os.kill(pid, signal.SIGSTOP)  # the request waits in its socket when it dies
    with ThreadPoolExecutor(1) as asking:
        answer = asking.submit(call.retry)
        os.kill(pid, signal.SIGKILL)
        assert answer.result(60) == 2
    (tmp_path / "go").touch()
    assert [call.get(timeout=60, index=n) for n in range(4)] == [0, -1, 2, -3]
    assert ran(tmp_path) == {0: 1, 1: 2, 2: 1, 3: 2}
    assert recorded(call) == [0, 1, 2, 3]
