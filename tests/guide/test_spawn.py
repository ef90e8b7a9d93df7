"""Tests of spawned calls, whose results are fetched later; see docs/function-api.md#spawned-calls."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nbfn
from nbfn.client.discovery import is_running, read_connection_file
from nbfn.config import Places
from tests.conftest import wait_until

app = nbfn.App()


@app.function()
def double(x: int) -> int:
    return 2 * x


@app.function()
def wait_for(path: str) -> str:
    while not (Path(path).exists() and Path(path).read_text()):
        time.sleep(0.005)
    return Path(path).read_text()


@app.function()
def fail(text: str) -> None:
    raise KeyError(text)


def test_spawn_returns_at_once_and_get_waits(tmp_path: Path) -> None:
    call = wait_for.spawn(str(tmp_path / "go"))
    with pytest.raises(TimeoutError):
        call.get(timeout=0.05)
    (tmp_path / "go").write_text("done")
    assert call.get(timeout=10) == "done"


def test_get_can_be_repeated() -> None:
    call = double.spawn(21)
    assert [call.get(), call.get(), call.get(0)] == [42, 42, 42]


def test_get_with_timeout_0_only_looks(tmp_path: Path) -> None:
    call = wait_for.spawn(str(tmp_path / "never"))
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="of 'wait_for' was not ready after 0 s; it goes on"):
        call.get(0)
    assert time.monotonic() - started < 1
    call.cancel()


def test_a_call_is_found_by_its_id() -> None:
    call = double.spawn(4)
    assert call.object_id.startswith("fc-")
    assert nbfn.FunctionCall.from_id(call.object_id).get() == 8


def test_a_handle_can_be_sent_along() -> None:
    call = double.spawn(6)
    assert pickle.loads(pickle.dumps(call)).get() == 12

    @app.function()
    def fetch(call: nbfn.FunctionCall[int]) -> int:
        return call.get()

    assert fetch.remote(call) == 12


def test_a_failed_call_raises_each_time_the_same_way() -> None:
    call = fail.spawn("missing")
    depths = []
    for _ in range(3):
        with pytest.raises(KeyError, match="missing") as caught:
            call.get()
        depths.append(len(caught.traceback))
    assert len(set(depths)) == 1


def test_cancel(tmp_path: Path) -> None:
    call = wait_for.spawn(str(tmp_path / "never"))
    call.cancel()
    with pytest.raises(nbfn.exception.RemoteError):
        call.get(timeout=10)


def test_num_inputs() -> None:
    assert double.spawn(1).num_inputs() == 1


def test_aio_and_await() -> None:
    async def main() -> list[int]:
        call = await double.spawn.aio(8)
        return [await call, await call.get.aio(timeout=5)]

    assert asyncio.run(main()) == [16, 16]


def test_prints_of_a_spawned_call_are_shown(capfd: pytest.CaptureFixture[str]) -> None:
    @app.function()
    def greet() -> None:
        print("from afar")

    greet.spawn().get()
    assert "from afar" in capfd.readouterr().out


def test_a_spawned_call_survives_the_hub(tmp_path: Path) -> None:
    call = wait_for.spawn(str(tmp_path / "go"))
    places = Places.of()
    os.kill(int(str(read_connection_file(places)["pid"])), signal.SIGKILL)
    wait_until(lambda: not is_running(places))
    (tmp_path / "go").write_text("still here")
    assert call.get(timeout=20) == "still here"


WAITS = """
import os, signal, time
import nbfn

app = nbfn.App("interrupted-wait")

@app.function()
def waits_for(gate):
    while not os.path.exists(gate): time.sleep(0.05)

call = waits_for.spawn(os.path.abspath("gate"))
signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
signal.setitimer(signal.ITIMER_REAL, 0.2)
call.get()
"""


def test_an_interrupted_wait_in_a_program_says_how_to_get_the_handle_in_python(
    tmp_path: Path,
) -> None:
    (tmp_path / "waits.py").write_text(WAITS)
    ended = subprocess.run(
        [sys.executable, "waits.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = re.search(
        r"detached: the call goes on; (nbfn.FunctionCall.from_id\('(fc-\w{22})'\)) brings",
        ended.stderr,
    )
    assert found, ended.stderr
    assert "%fn" not in ended.stderr
    (tmp_path / "gate").touch()
    call = eval(found[1])
    assert (call.object_id, call.get(timeout=30)) == (found[2], None)
