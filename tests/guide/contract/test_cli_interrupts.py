"""Tests of commands that are interrupted, or whose output pipe is closed (docs/function-api.md#command-line)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nbfn.client.client import Client
from nbfn.protocol.messages import AppRow
from tests.conftest import wait_until

PROGRAM = """
import asyncio, time
import nbfn

app = nbfn.App("{name}")

@app.function()
def steps(folder: str, name: str = "a"):
    while not __import__("os").path.exists(f"{{folder}}/go"):
        print("at work", flush=True)
        time.sleep(0.05)
    open(f"{{folder}}/done-{{name}}", "w").close()

@app.local_entrypoint()
def waits(folder: str):
    steps.remote(folder)

@app.local_entrypoint()
async def awaits(folder: str):
    await steps.remote.aio(folder)

@app.local_entrypoint()
def maps(folder: str):
    list(steps.starmap([(folder, "a"), (folder, "b")]))

@app.local_entrypoint()
def sleeps_on(folder: str):
    steps.spawn(folder)
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass
"""


class Started(subprocess.Popen[str]):
    """A command in its own process group, whose output goes to files."""

    def __init__(self, argv: tuple[str, ...], folder: Path, number: int) -> None:
        self.out_path, self.err_path = folder / f"{number}.out", folder / f"{number}.err"
        with self.out_path.open("w") as out, self.err_path.open("w") as err:
            super().__init__(
                [sys.executable, "-m", "nbfn", *argv],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        return self.out_path.read_text()

    @property
    def err(self) -> str:
        return self.err_path.read_text()


Start = Callable[..., Started]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the command."""
    started: list[Started] = []

    def command(*argv: str) -> Started:
        started.append(Started(argv, tmp_path, len(started)))
        return started[-1]

    yield command
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def program(folder: Path, name: str) -> Path:
    file = folder / f"{name.replace('-', '_')}.py"
    file.write_text(PROGRAM.format(name=name), "utf-8")
    return file


def rows(name: str) -> list[AppRow]:
    return [row for row in Client.attach().apps() if row.name == name]


@pytest.mark.parametrize(
    ("entrypoint", "number", "code"),
    [
        ("waits", signal.SIGINT, 130),
        ("awaits", signal.SIGINT, 130),
        ("maps", signal.SIGINT, 130),
        ("waits", signal.SIGTERM, 143),
        ("waits", signal.SIGHUP, 129),
        ("sleeps_on", signal.SIGTERM, 143),
    ],
)
def test_a_run_that_is_ended_stops_its_app_and_shows_no_traceback(
    start: Start, tmp_path: Path, entrypoint: str, number: int, code: int
) -> None:
    name = f"ended-{entrypoint}-{code}".replace("_", "-")
    run = start("run", f"{program(tmp_path, name)}::{entrypoint}", "--folder", str(tmp_path))
    wait_until(lambda: "at work" in run.out, 30)
    run.send_signal(number)
    assert run.wait(30) == code
    said = run.err
    assert "Traceback" not in said
    assert ("Interrupted: the App was stopped." in said) is (number == signal.SIGINT)
    assert rows(name)[0].state in ("stopping", "stopped")  # what was spawned still ends
    (tmp_path / "go").touch()
    wait_until(lambda: rows(name)[0].state == "stopped")


@pytest.mark.parametrize(
    ("entrypoint", "number", "code", "done"),
    [
        ("waits", signal.SIGINT, 130, {"done-a"}),
        ("awaits", signal.SIGINT, 130, {"done-a"}),
        ("maps", signal.SIGINT, 130, {"done-a", "done-b"}),
        ("steps", signal.SIGTERM, 143, {"done-a"}),
        ("waits", signal.SIGHUP, 129, {"done-a"}),
    ],
)
def test_a_detached_run_goes_on_and_the_words_say_so(
    start: Start, tmp_path: Path, entrypoint: str, number: int, code: int, done: set[str]
) -> None:
    name = f"detached-{entrypoint}-{code}"
    file = program(tmp_path, name)
    run = start("run", "--detach", f"{file}::{entrypoint}", "--folder", str(tmp_path))
    wait_until(lambda: "at work" in run.out, 30)
    run.send_signal(number)
    assert run.wait(30) == code
    (row,) = rows(name)
    said = run.err
    assert f"App {row.id} goes on. 'nbfn app logs {row.id}' shows what it prints" in said
    assert f"'nbfn app stop {row.id}' ends it" in said
    assert "was stopped" not in said
    assert ("Interrupted: the App goes on." in said) is (number == signal.SIGINT)
    (tmp_path / "go").touch()
    wait_until(lambda: {file.name for file in tmp_path.glob("done-*")} == done, 30)
    # By the name that it runs under, too.
    logs = start("app", "logs", name)
    assert logs.wait(30) == 0
    assert "at work" in logs.out
    assert start("app", "stop", name, "--yes").wait(30) == 0
    wait_until(lambda: rows(name)[0].state == "stopped")


def test_several_runs_of_a_name_are_told_apart_by_their_ids(start: Start, tmp_path: Path) -> None:
    file = program(tmp_path, "twice")
    (tmp_path / "go").touch()
    for _ in range(2):
        assert start("run", "--detach", f"{file}::waits", "--folder", str(tmp_path)).wait(30) == 0
    stop = start("app", "stop", "twice", "--yes")
    assert stop.wait(30) == 1
    assert all(row.id in stop.err for row in rows("twice"))
    for row in rows("twice"):
        assert start("app", "stop", row.id, "--yes").wait(30) == 0


SERVED = """
import nbfn

app = nbfn.App("served")

@app.function()
@nbfn.fastapi_endpoint()
def page():
    return "here"
"""


def test_ctrl_c_is_the_usual_end_of_serve(start: Start, tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(SERVED, "utf-8")
    serve = start("serve", "served.py")
    wait_until(lambda: "http://" in serve.out, 30)
    os.killpg(serve.pid, signal.SIGINT)  # as a terminal does
    assert serve.wait(30) == 0
    assert serve.err.splitlines()[-1] == "✓ App completed."
    assert "Traceback" not in serve.err
    wait_until(lambda: rows("served")[0].state == "stopped")


def test_serve_that_never_served_has_failed(start: Start, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n", "utf-8")
    serve = start("serve", "broken.py")
    wait_until(lambda: "ZeroDivisionError" in serve.err, 30)
    os.killpg(serve.pid, signal.SIGINT)
    assert serve.wait(30) == 1


def test_ctrl_c_is_the_usual_end_of_logs_that_are_followed(start: Start, tmp_path: Path) -> None:
    name = "followed"
    run = start("run", f"{program(tmp_path, name)}::waits", "--folder", str(tmp_path))
    wait_until(lambda: "at work" in run.out, 30)
    follow = start("app", "logs", "-f", name)
    wait_until(lambda: "at work" in follow.out, 30)
    follow.send_signal(signal.SIGINT)
    assert follow.wait(30) == 0
    assert follow.err.strip() == ""
    (tmp_path / "go").touch()
    assert run.wait(30) == 0


@pytest.mark.parametrize("entrypoint", ["waits", "steps"])
def test_a_run_whose_output_nobody_reads_any_more_ends_quietly(
    tmp_path: Path, entrypoint: str
) -> None:
    file = program(tmp_path, f"unread-{entrypoint}")
    shell = (
        f"'{sys.executable}' -m nbfn run -q '{file}::{entrypoint}' --folder '{tmp_path}' | head -1; "
        "exit ${PIPESTATUS[0]}"
    )
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (141, "at work\n", "")
    wait_until(lambda: rows(f"unread-{entrypoint}")[0].state == "stopped")
