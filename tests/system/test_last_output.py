"""What user code wrote before its worker died reaches the caller and the logs, in order, before the error."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nbfn
from nbfn.exception import WorkerCrashed, WorkerLost
from nbfn.protocol.worker_state import HALF
from tests.conftest import wait_until

MIB = 2**20

app = nbfn.App("dying")


def die(how: str) -> None:
    if how == "exit":
        os._exit(3)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "abort":
        os.abort()
    if how == "execute":
        os.execv("/bin/true", ["true"])
    if how == "memory":
        held = bytearray(500 * MIB)
        time.sleep(30 + len(held[:0]))
    os.kill(os.getpid(), signal.SIGKILL)


@app.function(name="step_and_die", at_most_once=True, memory=(50, 300))
def step_and_die(how: str) -> None:
    print("step 1", flush=True)
    print("warning 1", file=sys.stderr)
    subprocess.run(["sh", "-c", "echo child; echo child warns >&2"], check=True)
    print("step 2")
    ctypes.CDLL(None).puts(b"c code")
    ctypes.CDLL(None).fflush(None)
    os.write(2, b"raw\n")
    logging.getLogger("mine").error("logged")
    print("step 3", end="", flush=True)
    die(how)


OUT = "step 1\nchild\nstep 2\nc code\nstep 3"
ERR = "warning 1\nchild warns\nraw\n"


@pytest.mark.parametrize("how", ["exit", "segfault", "abort", "execute", "kill", "memory"])
def test_all_that_was_flushed_is_shown_in_order(
    home: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    with pytest.raises(WorkerLost):
        step_and_die.remote(how)
    assert [record.getMessage() for record in caplog.records if record.name == "mine"] == ["logged"]
    out, err = capfd.readouterr()
    assert out == OUT
    assert err.startswith(ERR)
    fatal = {"segfault": "Segmentation fault", "abort": "Aborted"}.get(how)
    assert (f"Fatal Python error: {fatal}" in err) == bool(fatal)
    assert "nbfn_kernel" not in err
    wait_until(lambda: "step 3" in app_log("stdout"))
    assert app_log("stdout") == OUT
    assert app_log("stderr").startswith(f"{ERR}ERROR:mine:logged\n")


def app_log(source: str) -> str:
    return "".join(entry.message for entry in step_and_die.logs.fetch(source=source))


@app.function(name="twice")
def twice(mark: Path) -> None:
    print("first" if not mark.exists() else "second", flush=True)
    mark.touch()
    os._exit(1)


def test_each_attempt_is_shown_before_what_is_said_of_it(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WorkerCrashed):
        twice.remote(tmp_path / "mark")
    out, err = capfd.readouterr()
    assert out == "first\nsecond\n"
    assert err.startswith("twice lost: exit code 1")


@app.function(name="warn_and_die")
def warn_and_die(number: int) -> int:
    print(f"warned of {number}", file=sys.stderr)
    if number == 5:
        os._exit(4)
    return number


def test_the_error_has_the_last_lines_of_stderr_of_its_own_input(home: Path) -> None:
    *good, crash = warn_and_die.map(range(6), return_exceptions=True)
    assert good == list(range(5))
    assert isinstance(crash, WorkerCrashed)
    assert crash.stderr == "warned of 5"
    assert str(crash).count("warned of") == 1


@app.function(name="load_and_die", at_most_once=True)
def load_and_die() -> None:
    sys.stderr.write("loading the model ... ")
    os._exit(4)


def test_a_begun_line_of_stderr_is_shown_though_nobody_flushed_it(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WorkerLost):
        load_and_die.remote()
    assert capfd.readouterr().err.startswith("loading the model ... ")


@app.function(name="flood_and_die", at_most_once=True)
def flood_and_die(lines: int) -> None:
    for number in range(lines):
        print(number)
    os._exit(1)


def test_the_end_of_a_flood_is_kept(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = 200_000
    with pytest.raises(WorkerLost):
        flood_and_die.remote(lines)
    shown = [int(line) for line in capfd.readouterr().out.splitlines()]
    assert shown == sorted(set(shown)), "nothing is shown twice"
    last = list(range(lines - HALF // 30, lines))
    assert shown[-len(last) :] == last


@app.function(name="at_once")
@nbfn.concurrent(max_inputs=3)
def at_once(number: int, mark: Path) -> int:
    print(f"begun {number}", flush=True)
    (mark / str(number)).touch()
    while len(list(mark.iterdir())) < 3:
        time.sleep(0.005)
    if number == 1:
        print("dying", flush=True)
        os._exit(1)
    time.sleep(0.2)
    return number


def test_of_inputs_that_ran_at_once_each_has_its_own(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    results = list(at_once.starmap([(n, tmp_path) for n in range(3)], return_exceptions=True))
    assert [results[0], results[2]] == [0, 2]
    assert "dying\n" in capfd.readouterr().out


@app.function(name="print_and_wait")
def print_and_wait(mark: Path) -> None:
    print("partly", end="")
    mark.touch()
    time.sleep(60)


def test_a_begun_line_is_shown_soon_though_nobody_flushed_it(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    call = print_and_wait.spawn(tmp_path / "mark")
    wait_until(lambda: [entry.message for entry in call.logs.fetch()] == ["partly"])
    call.cancel()


@app.function(name="fork_and_die", at_most_once=True)
def fork_and_die() -> None:
    print("parent", flush=True)
    if not os.fork():
        print("child", flush=True)
        os._exit(0)
    os.wait()
    os._exit(1)


def test_a_forked_child_writes_to_the_same_place(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WorkerLost):
        fork_and_die.remote()
    assert capfd.readouterr().out == "parent\nchild\n"


@app.function(name="capture_and_print")
def capture_and_print() -> str:
    """As libraries do that silence C code: descriptor 1 is another file for a while."""
    saved = os.dup(1)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.write(1, b"silenced\n")
        print("printed meanwhile")
    os.dup2(saved, 1)
    os.close(saved)
    os.write(1, b"after\n")
    print("end")
    return "done"


def test_code_may_redirect_descriptor_1_for_a_while(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert capture_and_print.remote() == "done"
    assert capfd.readouterr().out == "printed meanwhile\nafter\nend\n"
