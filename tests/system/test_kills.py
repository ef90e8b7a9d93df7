"""Kills at the awkward moments of a call: the outcome is right, and recorded once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import nbfn
from nbfn.client.client import Client
from nbfn.client.discovery import is_running, read_connection_file
from nbfn.config import Places
from nbfn.exception import NotFoundError, OutputExpiredError, RemoteError
from tests.conftest import stop_hub, wait_until

app = nbfn.App()


def kill_hub() -> None:
    places = Places.of()
    os.kill(int(str(read_connection_file(places)["pid"])), signal.SIGKILL)
    wait_until(lambda: not is_running(places))


def busy_workers(name: str) -> list[int]:
    workers = Client.attach().overview().workers
    return [w.pid for w in workers if w.state == "busy" and w.function == name]


def recorded(call: nbfn.FunctionCall[object]) -> Counter[int]:
    """Return the indices of the outcomes on disk, with how often each is there."""
    stop_hub(Places.of())
    with sqlite3.connect(Places.of().database) as database:
        rows = database.execute(
            "SELECT number FROM outcomes WHERE call = ?", (call.object_id,)
        ).fetchall()
        left = database.execute(
            "SELECT count(*) FROM inputs WHERE call = ?", (call.object_id,)
        ).fetchone()
    database.close()
    assert left == (0,)
    return Counter(row[0] for row in rows)


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


@app.function(retries=nbfn.Retries(max_retries=2, initial_delay=0.0))
def fail_or_wait(journal: Path) -> None:
    """Fail, but wait to be killed the second time."""
    with journal.open("a") as file:
        file.write(f"{os.getpid()}\n")
    if len(journal.read_text().split()) == 2:
        time.sleep(60)
    raise ValueError("always")


def test_a_worker_killed_during_retries_costs_none_of_them(home: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    call = fail_or_wait.spawn(journal)
    wait_until(lambda: len(lines(journal)) == 2)
    os.kill(int(lines(journal)[1]), signal.SIGKILL)
    with pytest.raises(ValueError, match="always"):
        call.get(timeout=60)
    assert len(lines(journal)) == 4, "three tries of its own, and the one that was killed"
    assert recorded(call) == Counter([0])


@app.function(retries=nbfn.Retries(max_retries=5, initial_delay=60.0))
def back_off(journal: Path) -> None:
    with journal.open("a") as file:
        file.write("tried\n")
    raise ValueError("again")


def test_a_cancel_during_the_back_off_holds_though_the_hub_is_killed(
    home: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    call = back_off.spawn(journal)
    wait_until(lambda: lines(journal))
    wait_until(lambda: not busy_workers("back_off"))
    call.cancel()
    kill_hub()
    with pytest.raises(RemoteError, match="cancelled"):
        call.get(timeout=60)
    assert lines(journal) == ["tried"]
    assert recorded(call) == Counter([0])


@app.function()
def stubborn(journal: Path) -> None:
    with journal.open("a") as file:
        file.write(f"{os.getpid()}\n")
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        try:
            time.sleep(60)
        except BaseException:
            pass


def test_a_cancel_holds_though_the_hub_is_killed_before_the_input_has_ended(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBFN_KILL_GRACE", "1")
    journal = tmp_path / "journal"
    call = stubborn.spawn(journal)
    wait_until(lambda: lines(journal))
    call.cancel()
    kill_hub()
    with pytest.raises(RemoteError, match="cancelled"):
        call.get(timeout=60)
    pid = int(lines(journal)[0])
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), within=30)
    assert len(lines(journal)) == 1
    assert recorded(call) == Counter([0])


@app.function()
def wait_for(journal: Path, go: Path) -> str:
    with journal.open("a") as file:
        file.write(f"{os.getpid()}\n")
    while not (go.exists() and go.read_text()):
        time.sleep(0.005)
    return go.read_text()


@pytest.mark.parametrize("workers_too", [False, True], ids=["hub", "hub and worker"])
def test_a_hub_killed_between_accept_and_result(
    home: Path, tmp_path: Path, workers_too: bool
) -> None:
    journal, go = tmp_path / "journal", tmp_path / "go"
    call = wait_for.spawn(journal, go)
    wait_until(lambda: lines(journal))
    kill_hub()
    if workers_too:
        os.kill(int(lines(journal)[0]), signal.SIGKILL)
    go.write_text("done")
    assert call.get(timeout=60) == "done"
    assert len(lines(journal)) == 1 + workers_too
    assert recorded(call) == Counter([0])


@app.function()
def triple(x: int) -> int:
    return 3 * x


def test_a_hub_killed_while_a_spawn_map_is_half_done(home: Path) -> None:
    triple.remote(1)
    half, go_on = threading.Event(), threading.Event()

    def inputs() -> Iterator[int]:
        for x in range(3000):
            if x == 1500:
                half.set()
                assert go_on.wait(30)
            yield x

    def kill() -> None:
        assert half.wait(30)
        kill_hub()
        go_on.set()

    killer = threading.Thread(target=kill)
    killer.start()
    call = triple.spawn_map(inputs())
    killer.join()
    assert call.num_inputs() == 3000
    assert list(call.iter()) == [3 * x for x in range(3000)]
    assert recorded(call) == Counter(range(3000))


def test_a_hub_killed_when_all_that_was_spawned_so_far_has_its_outcome(
    home: Path, tmp_path: Path
) -> None:
    @app.function(name="mark")
    def mark(path: Path) -> str:
        path.touch()
        return path.name

    def inputs() -> Iterator[Path]:
        yield tmp_path / "a"
        wait_until((tmp_path / "a").exists)
        wait_until(lambda: not busy_workers("mark"))
        kill_hub()
        yield tmp_path / "b"

    call = mark.spawn_map(inputs())
    assert list(call.iter()) == ["a", "b"]
    assert recorded(call) == Counter([0, 1])


@pytest.mark.parametrize("hub_too", [False, True], ids=["client", "client and hub"])
def test_a_client_killed_while_a_spawn_map_is_half_done_has_it_cancelled(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub_too: bool
) -> None:
    monkeypatch.setenv("NBFN_CLIENT_GRACE", "1")
    code = f"""
    import os, pathlib, time, nbfn
    app = nbfn.App()
    home = pathlib.Path({str(tmp_path)!r})
    @app.function(serialized=True, max_containers=1)
    def tell(x):
        (home / "call").write_text(nbfn.current_function_call_id())
        (home / str(x)).touch()
        time.sleep(60)
    def inputs():
        yield 0
        yield 1
        while not (home / "0").exists():
            time.sleep(0.005)
        os.kill(os.getpid(), 9)
    tell.spawn_map(inputs())
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60)
    call = nbfn.FunctionCall.from_id((tmp_path / "call").read_text())
    if hub_too:
        kill_hub()
    for index in range(2):
        with pytest.raises(RemoteError, match="cancelled"):
            call.get(timeout=60, index=index)
    assert not (tmp_path / "1").exists()
    assert recorded(call) == Counter([0, 1])


def test_what_a_killed_workers_code_waited_for_is_cancelled_at_once(
    home: Path, tmp_path: Path
) -> None:
    @app.function(name="inner")
    def inner(path: Path) -> None:
        try:
            path.joinpath("begun").touch()
            time.sleep(60)
        finally:
            path.joinpath("ended").touch()

    @app.function(name="outer", at_most_once=True)
    def outer(path: Path) -> None:
        path.joinpath("pid").write_text(str(os.getpid()))
        inner.remote(path)

    call = outer.spawn(tmp_path)
    wait_until((tmp_path / "begun").exists)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    wait_until((tmp_path / "ended").exists, within=15)  # client_grace is 30 s
    with pytest.raises(nbfn.exception.Error):
        call.get(timeout=60)


def test_an_expired_result_is_told_apart_from_a_call_never_known(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = triple.spawn(1)
    assert call.get() == 3
    stop_hub(Places.of())
    monkeypatch.setenv("NBFN_RETENTION", "0")
    again = nbfn.FunctionCall.from_id(call.object_id)
    with pytest.raises(OutputExpiredError, match=call.object_id):
        again.get(timeout=30)
    with pytest.raises(OutputExpiredError):
        list(again.iter())
    with pytest.raises(OutputExpiredError, match="were deleted"):
        again.retry()
    assert again.num_inputs() == 1
    with pytest.raises(NotFoundError):
        nbfn.FunctionCall.from_id("fc-" + "0" * 22).get(timeout=30)


def test_the_call_graph_of_durable_calls_outlives_the_hub(home: Path, tmp_path: Path) -> None:
    @app.function(name="leaf")
    def leaf(x: int) -> int:
        return x

    @app.function(name="root")
    def root(path: Path) -> str:
        return leaf.spawn(3).object_id

    call = root.spawn(tmp_path)
    child = nbfn.FunctionCall.from_id(call.get(timeout=60))
    assert child.get(timeout=60) == 3
    kill_hub()
    for one in (call, child):
        (top,) = one.get_call_graph()
        assert (top.function_name, top.function_call_id) == ("root", call.object_id)
        assert [c.function_call_id for c in top.children] == [child.object_id]
