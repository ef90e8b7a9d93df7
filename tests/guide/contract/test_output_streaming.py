"""Tests that a client that runs an App prints each line of its workers once (docs/function-api.md#command-line)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import nbfn
from tests.conftest import wait_until

PROGRAM = """
import time
import nbfn

app = nbfn.App("streamed")

@app.function()
def leaf(x):
    print("leaf", x)
    if x < 0:
        raise ValueError(f"no leaf {x}")
    return x

@app.function()
def nest(x):
    print("nest begins")
    leaf.remote(x)
    list(leaf.map([10, 11]))
    print("nest ends")

@app.function()
def spawner():
    leaf.spawn(-1)

@app.function()
def outlived(path):
    late.spawn(path)

@app.function()
def late(path):
    while not __import__("os").path.exists(path):
        time.sleep(0.01)
    print("late, of a call whose caller has ended")

@app.function()
@nbfn.fastapi_endpoint()
def page(fail: bool = False):
    print("page asked")
    if fail:
        raise RuntimeError("no page")

@app.function(schedule=nbfn.Period(seconds=1))
def tick():
    print("tick")

@app.cls()
class Model:
    @nbfn.method()
    def predict(self, x):
        print("predict", x)
        raise KeyError(x)

@app.local_entrypoint()
def nested():
    nest.remote(1)

@app.local_entrypoint()
def web():
    import httpx
    print(httpx.get(page.get_web_url(), timeout=30).status_code)
    print(httpx.get(page.get_web_url(), params={"fail": True}, timeout=30).status_code)

def until(condition):
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)

def idle(function):
    stats = function.get_current_stats()
    return not stats.backlog and not stats.num_running_inputs

@app.local_entrypoint()
def scheduled():
    until(lambda: any("tick" in entry.message for entry in app.logs.tail()))

@app.local_entrypoint()
def failures():
    call = leaf.spawn(-2)
    many = leaf.spawn_map([-3, 4])
    leaf.for_each([-5], ignore_exceptions=True)
    method = Model().predict.spawn(6)
    spawner.remote()
    for one in (call, method):
        try:
            one.get()
        except Exception:
            pass
    print(list(many.iter(start=1)))
    print(leaf.map([-7], return_exceptions=True) and "kept")
    list(leaf.map([-7], return_exceptions=True))
    until(lambda: idle(leaf))

@app.local_entrypoint()
def late_lines(path: str):
    outlived.remote(path)
    open(path, "w").close()
    until(lambda: idle(late))
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "streamed.py"
    file.write_text(PROGRAM, "utf-8")
    return file


def ran(program: Path, entrypoint: str, *argv: str) -> tuple[list[str], list[str]]:
    """Run an entrypoint and return its output without the lines of the schedule."""
    command = [
        sys.executable,
        "-m",
        "nbfn",
        "run",
        *argv[:1],
        f"{program}::{entrypoint}",
        *argv[1:],
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    out = [line for line in done.stdout.splitlines() if "tick" not in line]
    return out, done.stderr.splitlines()


def test_lines_of_nested_calls_come_once_and_in_order(program: Path) -> None:
    out, _ = ran(program, "nested", "-q")
    assert out[:2] == ["nest begins", "leaf 1"]
    assert sorted(out[2:4]) == ["leaf 10", "leaf 11"]
    assert out[4:] == ["nest ends"]


def test_lines_of_web_requests_and_their_tracebacks(program: Path) -> None:
    out, err = ran(program, "web", "-q")
    assert [line for line in out if line.isdigit()] == ["200", "500"]
    assert [line for line in out if not line.isdigit()] == ["page | page asked"] * 2
    assert err[0] == "page | Traceback (most recent call last):"
    assert err[-1] == "page | RuntimeError: no page"
    frames = [line for line in err if "File " in line]
    assert len(frames) == 1
    assert str(program) in frames[0]


def test_lines_of_scheduled_calls(program: Path) -> None:
    command = [sys.executable, "-m", "nbfn", "run", "-q", f"{program}::scheduled"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "tick | tick" in done.stdout.splitlines(), done.stderr


def test_tracebacks_of_failures_that_nobody_looks_at(program: Path) -> None:
    out, err = ran(program, "failures", "-q")
    # The output of a spawned call is shown as that of its caller while the caller runs, then as its own.
    said = {line.removeprefix("leaf | ") for line in out}
    assert {"leaf -2", "leaf -3", "leaf 4", "leaf -5", "leaf -1", "[4]", "kept"} <= said
    ends = sorted(line for line in err if "Error: " in line)
    assert ends == [
        "Model.predict | KeyError: 6",
        "leaf | ValueError: no leaf -1",
        "leaf | ValueError: no leaf -2",
        "leaf | ValueError: no leaf -3",
        "leaf | ValueError: no leaf -5",
    ]


def test_lines_of_a_spawned_call_that_outlives_its_caller(program: Path, tmp_path: Path) -> None:
    out, _ = ran(program, "late_lines", "-q", "--path", str(tmp_path / "go"))
    assert out == ["late | late, of a call whose caller has ended"]


def test_the_time_stands_before_lines_where_it_is_asked_for(program: Path) -> None:
    out, _ = ran(program, "web", "--timestamps")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\S* page \| page asked", out[0])


SERVED = """
import nbfn

app = nbfn.App("served-alone")

@app.function()
@nbfn.fastapi_endpoint()
def page(text: str):
    print("asked for", text)
"""


def test_serve_shows_what_requests_print_without_a_name_where_one_function_writes(
    tmp_path: Path,
) -> None:
    (tmp_path / "served.py").write_text(SERVED, "utf-8")
    with (tmp_path / "out").open("w") as out:
        serve = subprocess.Popen(
            [sys.executable, "-m", "nbfn", "serve", "served.py"],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=out,
            start_new_session=True,
        )
    try:
        wait_until(lambda: "http://" in (tmp_path / "out").read_text(), 30)
        url = (tmp_path / "out").read_text().split()[-1]
        for text in ("one", "two"):
            assert httpx.get(url, params={"text": text}, timeout=30).status_code == 200
        wait_until(lambda: "two" in (tmp_path / "out").read_text())
    finally:
        os.killpg(serve.pid, signal.SIGINT)
        assert serve.wait(30) == 0
    assert (tmp_path / "out").read_text().splitlines()[1:] == ["asked for one", "asked for two"]


app = nbfn.App("enabled")


@app.function()
def fails(x: int) -> None:
    print("at work on", x)
    raise ValueError(x)


@pytest.fixture
def done() -> Iterator[None]:
    yield
    assert app.app_id is None


@pytest.mark.usefixtures("done")
def test_enable_output_shows_the_same_in_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    with nbfn.enable_output(show_progress=False), app.run(), pytest.raises(ValueError, match="3"):
        fails.spawn(3).get()
    shown = capsys.readouterr()
    assert shown.out == "at work on 3\n"
    assert shown.err.startswith("Traceback (most recent call last):\n")
    assert shown.err.endswith("ValueError: 3\n")


@pytest.mark.usefixtures("done")
def test_without_enabled_output_a_failure_is_raised_and_not_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with app.run(), pytest.raises(ValueError, match="3"):
        fails.spawn(3).get()
    assert capsys.readouterr() == ("at work on 3\n", "")
