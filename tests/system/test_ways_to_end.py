"""However a process ends, its input runs again a bounded number of times, and the error says how it ended."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from pathlib import Path

import pytest

import nbfn
from nbfn.exception import InternalFailure, WorkerCrashed
from tests.conftest import processes_of, wait_until

app = nbfn.App()


def end(how: str) -> None:
    match how:
        case "exit 0":
            os._exit(0)
        case "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
        case "SIGTERM of the group":
            os.killpg(0, signal.SIGTERM)
        case "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        case "SIGHUP":
            os.kill(os.getpid(), signal.SIGHUP)
        case "abort":
            os.abort()
        case "a thread":
            threading.Timer(0.05, os._exit, (7,)).start()
        case "another program":
            os.execv("/bin/true", ["true"])
        case "C's exit":
            ctypes.CDLL(None).exit(5)
        case "closed descriptors":
            os.closerange(3, 10_000)
        case "the fork server":
            os.kill(os.getppid(), signal.SIGKILL)
        case "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)


@app.function(name="run_and_end")
def run_and_end(how: str, journal: Path) -> None:
    with journal.open("a") as file:
        file.write("run\n")
    end(how)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("exit 0", "exit code 0"),
        ("SIGKILL", "killed by signal 9, SIGKILL"),
        ("SIGHUP", "killed by signal 1, SIGHUP"),
        ("abort", "killed by signal 6, SIGABRT"),
        ("a thread", "exit code 7"),
        ("another program", "exit code 0"),
        ("C's exit", "exit code 5"),
        ("closed descriptors", "killed by signal 6, SIGABRT"),
        ("the fork server", "exit status unknown"),
    ],
)
def test_a_process_that_dies_has_its_input_run_once_more(
    home: Path, tmp_path: Path, how: str, told: str
) -> None:
    journal = tmp_path / "journal"
    with pytest.raises(WorkerCrashed, match=told) as caught:
        run_and_end.remote(how, journal)
    assert journal.read_text().count("run") == 2
    assert "nbfn_kernel" not in str(caught.value)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGTERM of the group"])
def test_a_process_that_is_told_to_end_has_its_input_run_at_most_eight_times_more(
    home: Path, tmp_path: Path, how: str
) -> None:
    journal = tmp_path / "journal"
    with pytest.raises(InternalFailure, match="told to end by signal 15, SIGTERM"):
        run_and_end.remote(how, journal)
    assert journal.read_text().count("run") == 9


def test_a_process_that_stops_itself_has_its_input_run_a_few_times(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBFN_LEASE", "0.2")
    journal = tmp_path / "journal"
    with pytest.raises(InternalFailure, match="its connection ended and it did not reconnect"):
        run_and_end.remote("stopped", journal)
    assert journal.read_text().count("run") == 9


def test_an_administrator_may_end_workers_and_their_inputs_go_on(
    home: Path, tmp_path: Path
) -> None:
    @app.function(name="long", max_containers=2)
    def long(number: int, folder: Path) -> int:
        with (folder / f"pids{number}").open("a") as file:
            file.write(f"{os.getpid()}\n")
        while not (folder / "go").exists():
            time.sleep(0.005)
        return number

    call = long.spawn_map(range(2), kwargs={"folder": tmp_path})
    for ended in range(1, 4):
        for number in range(2):
            pids = tmp_path / f"pids{number}"
            wait_until(lambda p=pids, n=ended: p.exists() and p.read_text().count("\n") == n)  # type: ignore[misc]
            os.kill(int(pids.read_text().split()[-1]), signal.SIGTERM)
    (tmp_path / "go").touch()
    assert list(call.iter()) == [0, 1]


@app.cls()
class EndsEarly:
    how: str = nbfn.parameter()
    journal: str = nbfn.parameter()

    @nbfn.enter()
    def load(self) -> None:
        with Path(self.journal).open("a") as file:
            file.write("start\n")
        if self.how == "later":
            threading.Timer(0.01, os._exit, (7,)).start()
        elif self.how == "stops fetching":
            nbfn.experimental.stop_fetching_inputs()
        else:
            end(self.how)

    @nbfn.method()
    def work(self) -> str:
        return "done"


@pytest.mark.parametrize(
    ("how", "told"),
    [("another program", "exit code 0"), ("stops fetching", "it ended by itself")],
)
def test_workers_that_end_before_they_serve_are_not_started_for_ever(
    home: Path, tmp_path: Path, how: str, told: str
) -> None:
    journal = tmp_path / "journal"
    with pytest.raises(WorkerCrashed, match=f"5 workers in a row ended .*{told}"):
        EndsEarly(how=how, journal=str(journal)).work.remote()
    assert journal.read_text().count("start") == 5


def test_warm_workers_that_end_are_not_started_for_ever(home: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    EndsEarly(how="later", journal=str(journal)).keep_warm(1)  # type: ignore[attr-defined]
    wait_until(lambda: journal.exists() and journal.read_text().count("start") == 3, within=20)
    began = time.monotonic()
    wait_until(lambda: journal.read_text().count("start") == 4, within=20)
    assert time.monotonic() - began > 3, "the fourth comes four seconds after the third"
    assert processes_of(home)


def test_an_exit_hook_may_end_the_process(home: Path, tmp_path: Path) -> None:
    @app.cls(max_containers=1)
    class Leaves:
        @nbfn.method()
        def work(self) -> int:
            return os.getpid()

        @nbfn.exit()
        def close(self) -> None:
            os._exit(3)

    first = Leaves().work.remote()  # type: ignore[attr-defined]
    os.kill(first, signal.SIGTERM)
    wait_until(lambda: first not in processes_of(home))
    assert Leaves().work.remote() != first  # type: ignore[attr-defined]
