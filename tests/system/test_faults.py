"""What survives which failure, on real processes that are killed; names of tests cite docs/guarantees.md."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest

import nbfn
from nbfn.client.client import Client
from nbfn.client.discovery import is_running, read_connection_file
from nbfn.config import Places
from nbfn.exception import FunctionTimeoutError, RemoteError, WorkerCrashed
from tests.conftest import processes_of, wait_until
from tests.system.programs import run_program

app = nbfn.App()


def hub_pid() -> int:
    return int(str(read_connection_file(Places.of())["pid"]))


def busy_workers() -> list[int]:
    return [w.pid for w in Client.attach().overview().workers if w.state == "busy"]


@app.function()
def note(path: Path, number: int) -> int:
    """Append a line for each execution: the functions' own account of what really ran."""
    with path.open("a") as journal:
        journal.write(f"{number}\n")
    time.sleep(0.005)  # the work
    return number * number


@app.function()
def wait_for(path: Path) -> str:
    while not (path.exists() and path.read_text()):  # a file is there before its text is
        time.sleep(0.005)
    return path.read_text()


@app.function()
def die_at(bad: int, number: int) -> int:
    if number == bad:
        ctypes.string_at(0)
    return number


def ran(journal: Path) -> Counter[int]:
    return Counter(int(line) for line in journal.read_text().split())


def test_f2_a_worker_killed_during_a_map_costs_nothing_but_time(home: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    results = iter(note.starmap([(journal, n) for n in range(300)]))
    got = list(itertools.islice(results, 50))
    os.kill(busy_workers()[0], signal.SIGKILL)
    got += list(results)
    assert got == [n * n for n in range(300)]
    times = ran(journal)
    assert set(times) == set(range(300))
    assert max(times.values()) <= 2


def test_f15_a_hub_killed_during_a_map_costs_nothing_but_time(home: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    results = iter(note.starmap([(journal, n) for n in range(300)]))
    got = list(itertools.islice(results, 50))
    workers = set(busy_workers())
    first = hub_pid()
    os.kill(first, signal.SIGKILL)
    got += list(results)
    assert got == [n * n for n in range(300)]
    assert hub_pid() != first
    assert workers & {w.pid for w in Client.attach().overview().workers}, "the workers were adopted"
    assert sum(ran(journal).values()) <= 300 + 2 * len(workers), "what was at work went on"


def test_f1_a_worker_killed_while_idle_is_replaced(home: Path) -> None:
    note.keep_warm(1)

    def warm() -> list[int]:
        return [w.pid for w in Client.attach().overview().workers if w.state == "idle"]

    wait_until(warm)
    first = warm()[0]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: warm() and first not in warm())


def test_f5_a_segfault_is_told_with_its_trace_and_hits_nobody_else(home: Path) -> None:
    results = list(die_at.map([13] * 40, range(40), return_exceptions=True))
    crash = results.pop(13)
    assert results == [n for n in range(40) if n != 13]
    assert isinstance(crash, WorkerCrashed)
    assert crash.signal == signal.SIGSEGV
    assert "Segmentation fault" in crash.stderr  # faulthandler's words
    assert "killed by signal 11, SIGSEGV" in str(crash)


def test_f9_a_stopped_worker_is_fenced_and_its_late_word_dropped(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBFN_LEASE", "1")
    go = tmp_path / "go"
    call = wait_for.spawn(go)
    wait_until(busy_workers)
    stopped = busy_workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        wait_until(lambda: busy_workers() not in ([], [stopped]), within=20)
        go.write_text("done")
        assert call.get(timeout=20) == "done"
    finally:
        if stopped in processes_of(home):
            os.kill(stopped, signal.SIGCONT)
    wait_until(lambda: stopped not in processes_of(home), within=20)
    assert call.get() == "done"


def test_f10_holding_the_gil_is_not_death(home: Path) -> None:
    @app.function(name="hold")
    def hold() -> int:
        ctypes.PyDLL(None).sleep(5)  # longer than the heartbeat's limit
        return os.getpid()

    hold.keep_warm(1)
    wait_until(lambda: hold.get_current_stats().num_total_runners)
    warm = [w.pid for w in Client.attach().overview().workers if w.function == "hold"]
    assert [hold.remote()] == warm


def test_f11_stubborn_code_is_killed_when_its_time_is_over(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBFN_KILL_GRACE", "0.5")

    @app.function(name="stubborn", timeout=1)
    def stubborn() -> None:
        ctypes.PyDLL(None).sleep(600)

    begun = time.monotonic()
    with pytest.raises(FunctionTimeoutError, match="timeout of 1 s"):
        stubborn.remote()
    assert time.monotonic() - begun < 10


def test_p8_cancel_of_stubborn_code_ends_too(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBFN_KILL_GRACE", "0.5")

    @app.function(name="endless")
    def endless() -> None:
        while True:
            try:
                time.sleep(600)
            except BaseException:
                pass

    call = endless.spawn()
    wait_until(busy_workers)
    call.cancel()
    with pytest.raises(RemoteError, match="cancelled"):
        call.get(timeout=10)


def _run(code: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def test_p1_a_spawned_call_survives_its_client_and_the_hub(home: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    client = _run(
        f"""
        import os, time, pathlib, nbfn
        app = nbfn.App()
        @app.function(serialized=True)
        def wait_for(path):
            while not (path.exists() and path.read_text()):
                time.sleep(0.005)
            return path.read_text()
        print(wait_for.spawn(pathlib.Path({str(go)!r})).object_id, flush=True)
        os.kill(os.getpid(), 9)
        """
    )
    call_id = client.communicate(timeout=60)[0].strip()
    os.kill(hub_pid(), signal.SIGKILL)
    wait_until(lambda: not is_running(Places.of()))
    go.write_text("still here")
    assert nbfn.FunctionCall.from_id(call_id).get(timeout=60) == "still here"
    reader = _run(f"import nbfn; print(nbfn.FunctionCall.from_id({call_id!r}).get())")
    assert reader.communicate(timeout=60)[0] == "still here\n"


def test_a_large_spawned_argument_and_result_outlive_all_processes(home: Path) -> None:
    np = pytest.importorskip("numpy")

    @app.function(name="twice")
    def twice(array: object) -> object:
        return array + array  # type: ignore[operator]

    call = twice.spawn(np.arange(300_000))
    call.get()
    os.kill(hub_pid(), signal.SIGKILL)
    wait_until(lambda: not is_running(Places.of()))
    again = nbfn.FunctionCall.from_id(call.object_id).get(timeout=60)
    assert (again == 2 * np.arange(300_000)).all()


def test_f15_without_a_client_a_killed_hub_leaves_no_process(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBFN_HUB_GRACE", "1")
    _run("import nbfn; nbfn.Client.attach()").communicate(timeout=60)
    wait_until(lambda: len(processes_of(home)) >= 3)
    os.kill(hub_pid(), signal.SIGKILL)
    wait_until(lambda: not processes_of(home), within=20)


def test_f18_many_that_start_at_once_find_one_hub(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBFN_HUB_GRACE", "1")
    monkeypatch.setenv("NBFN_IDLE_EXIT", "1")  # for one that comes late to the last race
    code = "import nbfn; print(nbfn.Client.attach().overview().hub.pid)"
    for _ in range(3):
        racing = [_run(code) for _ in range(6)]
        pids = {process.communicate(timeout=60)[0] for process in racing}
        (pid,) = map(int, pids)
        if pid in processes_of(
            home
        ):  # it may have ended by now, with one that came late in its place
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_running(Places.of()))
    wait_until(lambda: not processes_of(home), within=30)


def test_f19_a_killed_client_has_its_map_cancelled_and_its_memory_freed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBFN_CLIENT_GRACE", "0.5")
    client = _run(
        """
        import os, time, nbfn
        app = nbfn.App()
        @app.function(serialized=True)
        def slow(number, ballast):
            time.sleep(0.05)
            return number
        for number in slow.starmap((n, b"x" * 500_000) for n in range(1000)):
            if number == 3:
                print("running", flush=True)
                os.kill(os.getpid(), 9)
        """
    )
    assert client.communicate(timeout=60)[0] == "running\n"
    mine = Client.attach()
    wait_until(lambda: not any(not c.ended for c in mine.overview().calls), within=20)
    wait_until(lambda: not list(Places.of().shm.iterdir()), within=10)


def test_f22_an_endless_map_keeps_memory_flat_and_results_coming(
    home: Path, tmp_path: Path
) -> None:
    pulled, grown = run_program(
        tmp_path,
        """
import itertools, resource, nbfn
app = nbfn.App()

@app.function()
def same(number: int) -> int:
    return number

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

pulled = 0
def endless():
    global pulled
    while True:
        pulled += 1
        yield pulled

results = iter(same.map(endless()))
assert list(itertools.islice(results, 20_000)) == list(range(1, 20_001))
before = peak()
assert sum(1 for _ in itertools.islice(results, 80_000)) == 80_000
results.close()
print(pulled, peak() - before)
""",
    ).split()
    assert int(pulled) < 100_000 + 20_000, "read ahead by a window at most"
    assert int(grown) < 50 * 1024, f"grew by {grown} KiB"
