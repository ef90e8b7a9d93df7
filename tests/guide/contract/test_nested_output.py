"""Tests that the output of a Function and of its nested calls is printed once, in the order of the code."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import nbfn
from tests.conftest import wait_until

app = nbfn.App("nested")

#: Times that each Function does it: a line that overtakes another one does not do so each time.
ROUNDS = 8


@app.function(max_containers=1)
def inner(x: int) -> int:
    print("inner", x)
    return x


@app.function(max_containers=1)
def mid(x: int) -> None:
    print("mid", x)
    list(inner.map([x]))
    inner.spawn(x + 1).get()
    print("mid ends", x)


@app.function(max_containers=1)
def count(n: int) -> object:
    for i in range(n):
        print("count", i)
        yield i


@app.function()
def after_prints() -> None:
    for _ in range(ROUNDS):
        print("outer")
        inner.remote(1)
        print("and")
        inner.spawn(2).get()
        inner.spawn_map([3]).get()
        print("ends")


@app.function()
def after_other_calls() -> None:
    for _ in range(ROUNDS):
        list(inner.map([1]))
        inner.spawn(2).get()
        list(count.remote_gen(1))  # type: ignore[call-overload]
        inner.spawn(3).get()


@app.function()
def after_child_processes() -> None:
    for _ in range(ROUNDS):
        os.system("echo child 1")
        inner.remote(1)
        os.system("echo child 2")
        inner.spawn(2).get()


@app.function()
def through_two() -> None:
    for _ in range(ROUNDS):
        print("outer")
        mid.remote(1)
        mid.spawn(3).get()
        print("ends")


@app.function()
def in_threads() -> None:
    def work() -> None:
        print("thread")
        inner.remote(1)
        inner.spawn(2).get()
        print("ends")

    for _ in range(ROUNDS):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()


@app.function()
@nbfn.concurrent(max_inputs=4)
async def on_a_loop() -> None:
    for _ in range(ROUNDS):
        print("outer")
        await inner.remote.aio(1)
        await (await inner.spawn.aio(2)).get.aio()
        await asyncio.sleep(0)


ORDERS = {
    after_prints: ["outer", "inner 1", "and", "inner 2", "inner 3", "ends"],
    after_other_calls: ["inner 1", "inner 2", "count 0", "inner 3"],
    after_child_processes: ["child 1", "inner 1", "child 2", "inner 2"],
    through_two: [
        *("outer", "mid 1", "inner 1", "inner 2", "mid ends 1"),
        *("mid 3", "inner 3", "inner 4", "mid ends 3", "ends"),
    ],
    in_threads: ["thread", "inner 1", "inner 2", "ends"],
    on_a_loop: ["outer", "inner 1", "inner 2"],
}


@pytest.fixture(scope="module", autouse=True)
def deployed(hub_home: object) -> None:
    app.deploy()


@pytest.mark.parametrize("outer", ORDERS, ids=lambda outer: outer.info.function_name)
@pytest.mark.parametrize("way", ["remote", "spawn"])
def test_lines_are_in_the_order_of_the_code(
    outer: nbfn.Function[[], None, None], way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = len(app.logs.fetch(source="stdout"))
    if way == "remote":
        outer.remote()
    else:
        outer.spawn().get()
    assert capfd.readouterr().out.splitlines() == ORDERS[outer] * ROUNDS
    entries = app.logs.fetch(source="stdout")[before:]
    logged = "".join(entry.message for entry in entries).splitlines()
    assert logged == ORDERS[outer] * ROUNDS, "in the logs"


def test_who_follows_a_run_sees_each_line_once_and_in_order(tmp_path: Path) -> None:
    program = tmp_path / "followed.py"
    program.write_text(FOLLOWED)
    ran = subprocess.run(
        [sys.executable, "-m", "nbfn", "run", "-q", str(program)],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["outer", "inner 1", "inner 2", "inner 3", "ends"] * ROUNDS


FOLLOWED = f"""
import nbfn
app = nbfn.App("followed")

@app.function(max_containers=1)
def inner(x):
    print("inner", x)

@app.function()
def outer():
    for _ in range({ROUNDS}):
        print("outer")
        list(inner.map([1]))
        inner.spawn(2).get()
        inner.remote(3)
        print("ends")

@app.local_entrypoint()
def main():
    outer.remote()
"""


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.005)


@app.function(max_containers=1)
def gated(path: Path) -> None:
    wait_for(path)
    print("gated")


@app.function()
def spawns(path: Path) -> str:
    call = gated.spawn(path / "go")
    (path / "new").write_text(call.object_id)
    (path / "new").rename(path / "id")
    wait_for(path / "end")
    return call.object_id


def test_a_spawned_call_that_is_watched_by_its_id_as_well_shows_each_line_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    outer = spawns.spawn(tmp_path)
    wait_until((tmp_path / "id").exists)
    spawned = nbfn.FunctionCall.from_id((tmp_path / "id").read_text())

    async def watch() -> None:
        result = asyncio.create_task(spawned.get.aio())
        await asyncio.sleep(0)
        await spawned.num_inputs.aio()  # the hub knows now that it is watched
        (tmp_path / "go").touch()
        await result

    asyncio.run(watch())
    (tmp_path / "end").touch()
    outer.get()
    assert capfd.readouterr().out == "gated\n"


def test_what_outlives_the_code_that_spawned_it_is_in_the_logs_only(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "end").touch()
    call = nbfn.FunctionCall.from_id(spawns.remote(tmp_path))
    (tmp_path / "go").touch()
    wait_until(lambda: "gated\n" in [entry.message for entry in call.logs.fetch()])
    assert capfd.readouterr().out == ""


def test_a_call_that_a_thread_spawned_is_in_the_graph_below_the_code_that_started_the_thread() -> (
    None
):
    call = in_threads.spawn()
    call.get()
    (root,) = call.get_call_graph()
    spawned = [below for below in root.children if below.function_name == "inner"]
    assert len(spawned) >= ROUNDS
