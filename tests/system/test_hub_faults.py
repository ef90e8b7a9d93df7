"""Failures of the hub itself, and messages of workers that are lost (docs/guarantees.md, F3, F4, F17, F28)."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

import nbfn
from nbfn.client.client import Client
from nbfn.client.discovery import is_running, read_connection_file
from nbfn.config import Places
from nbfn.exception import ConnectionError, WorkerCrashed
from nbfn.runtime.log_rotation import LARGEST
from tests.conftest import wait_until

app = nbfn.App()


@app.function()
def note(path: Path, number: int, seconds: float = 0.005) -> int:
    with path.open("a") as journal:
        journal.write(f"{number}\n")
    time.sleep(seconds)
    return number


def told() -> dict[str, object]:
    return read_connection_file(Places.of())


def hub_pid() -> int:
    return int(str(told()["pid"]))


def ran(journal: Path) -> list[int]:
    return sorted(int(line) for line in journal.read_text().split()) if journal.exists() else []


def test_f3_a_worker_that_dies_after_computing_and_before_telling(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark, journal = tmp_path / "died", tmp_path / "journal"
    monkeypatch.setenv("NBFN_FAULT", f"die_before_ack:{mark}")
    assert note.remote(journal, 7) == 7
    assert mark.exists()
    assert ran(journal) == [7, 7]


def test_f4_a_function_that_exits_is_tried_once_more_and_told(home: Path, tmp_path: Path) -> None:
    @app.function(name="leave")
    def leave(path: Path) -> None:
        with path.open("a") as journal:
            journal.write("1\n")
        os._exit(3)

    journal = tmp_path / "journal"
    with pytest.raises(WorkerCrashed, match="exit code 3") as caught:
        leave.remote(journal)
    assert caught.value.exit_code == 3
    assert ran(journal) == [1, 1]


def test_f17_a_stopped_hub_takes_nothing_from_anybody_when_it_goes_on(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBFN_LEASE", "2")
    monkeypatch.setenv("NBFN_CLIENT_GRACE", "2")
    journal = tmp_path / "journal"
    calls = [note.spawn(journal, n, 3.0) for n in range(2)]
    results = iter(note.starmap([(journal, n) for n in range(100, 110)]))
    wait_until(lambda: {0, 1} <= set(ran(journal)))
    pid = hub_pid()
    os.kill(pid, signal.SIGSTOP)
    time.sleep(6)  # the fault itself
    os.kill(pid, signal.SIGCONT)
    assert [call.get(timeout=20) for call in calls] == [0, 1]
    assert list(results) == list(range(100, 110))
    assert ran(journal) == [0, 1, *range(100, 110)], "nothing ran twice"
    assert hub_pid() == pid


def test_hubs_that_follow_each_other_within_a_second_count_on(home: Path) -> None:
    Client.attach()
    epochs = [int(str(told()["epoch"]))]
    for _ in range(2):
        pid = hub_pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_running(Places.of()))
        Client.attach().overview()
        wait_until(lambda pid=pid: told() and hub_pid() != pid)
        epochs.append(int(str(told()["epoch"])))
    assert epochs == sorted(set(epochs))


@pytest.mark.parametrize(
    "rubbish", [b"not a database at all " * 500, b"SQLite format 3\0" + b"\xff" * 8176]
)
def test_f28_a_database_that_is_none_is_told_in_one_sentence(home: Path, rubbish: bytes) -> None:
    places = Places.of().create()
    places.database.write_bytes(rubbish)
    begun = time.monotonic()
    with pytest.raises(
        ConnectionError, match=r"nbfn\.db cannot be read .* Move nbfn\.db and nbfn\.db-\* aside"
    ):
        Client.attach()
    assert time.monotonic() - begun < 15
    log = (places.logs / "hub.log").read_text()
    assert "nbfn.db cannot be read" in log
    assert "Traceback" not in log
    assert places.database.read_bytes() == rubbish, "it is left for whoever can read it"


def test_a_large_log_of_hubs_before_is_set_aside(home: Path) -> None:
    places = Places.of().create()
    places.hub_log.write_bytes(b"." * LARGEST)
    Client.attach()
    wait_until(lambda: places.hub_log.stat().st_size < 10_000)
    assert places.hub_log.with_name("hub.log.1").stat().st_size > LARGEST


def test_what_an_apps_workers_write_is_shown_also_after_the_hub_was_killed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = nbfn.App("shown")

    @shown.function()
    def fails(x: int) -> None:
        raise ValueError(f"no {x}")

    with nbfn.enable_output(show_progress=False), shown.run():
        for number in range(2):
            with pytest.raises(ValueError, match=f"no {number}"):
                fails.spawn(number).get()
            assert f"ValueError: no {number}\n" in capsys.readouterr().err
            if number == 0:
                os.kill(hub_pid(), signal.SIGKILL)
