"""Tests of common errors and their messages."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
import traceback
from pathlib import Path

import pytest

import nbfn
from nbfn import exception

app = nbfn.App()
TABLE: bytes = b""


class OurError(Exception):
    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


@app.function()
def divide(a: float, b: float) -> float:
    return a / b


def test_an_exception_keeps_its_type_and_shows_where_it_was_raised() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        divide.remote(1, 0)
    text = "".join(traceback.format_exception(caught.value))
    assert "return a / b" in text
    assert "divide ran on wk-" in text


def test_an_exception_keeps_its_attributes() -> None:
    @app.function()
    def fail() -> None:
        raise OurError("ours", 7)

    with pytest.raises(OurError) as caught:
        fail.remote()
    assert caught.value.code == 7


def test_wrong_arguments_are_the_functions_own_type_error() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        divide.remote(1)  # type: ignore[call-arg]


def test_an_argument_that_cannot_be_pickled_is_named() -> None:
    @app.function()
    def load(conn: object) -> None: ...

    with sqlite3.connect(":memory:") as conn, pytest.raises(exception.SerializationError) as caught:
        load.remote(conn)
    conn.close()
    assert str(caught.value) == (
        "Cannot pickle argument 'conn' of 'load' (sqlite3.Connection). "
        "Open it inside the function, or pass what is needed to open it."
    )


def test_a_result_that_cannot_be_pickled() -> None:
    @app.function()
    def lock() -> object:
        return threading.Lock()

    with pytest.raises(exception.SerializationError, match="lock"):
        lock.remote()


def test_a_function_that_captures_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    @app.function()
    def size() -> int:
        return len(TABLE)

    monkeypatch.setitem(globals(), "TABLE", bytes(20_000_000))
    with pytest.raises(exception.InvalidError) as caught:
        size.remote()
    assert (
        "Function 'size' captures 'TABLE' (19.1 MB, bytes); pass it as an argument instead."
        in str(caught.value)
    )


def test_a_function_that_captures_much_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    @app.function()
    def size_too() -> int:
        return len(TABLE)

    monkeypatch.setitem(globals(), "TABLE", bytes(500_000))
    with pytest.warns(UserWarning, match=r"'TABLE' \(0.5 MB, bytes\)") as warned:
        assert size_too.remote() == 500_000
    assert warned[0].filename == __file__


def test_a_captured_value_that_cannot_be_pickled_is_named() -> None:
    connection = threading.Lock()

    @app.function()
    def use() -> bool:
        return connection.locked()

    with pytest.raises(
        exception.SerializationError, match=r"'use' uses connection → _thread.lock,"
    ):
        use.remote()


def test_too_slow() -> None:
    @app.function(timeout=0.2)
    def sleep() -> None:
        time.sleep(30)

    with pytest.raises(exception.FunctionTimeoutError):
        sleep.remote()


def test_retries(tmp_path: Path) -> None:
    @app.function(retries=nbfn.Retries(max_retries=2, initial_delay=0.0, max_delay=1.0))
    def third_time(path: Path) -> int:
        tries = len(list(path.iterdir()))
        (path / str(tries)).touch()
        if tries < 2:
            raise ValueError(tries)
        return tries

    assert third_time.remote(tmp_path) == 2


def test_sys_exit_does_not_end_the_caller() -> None:
    @app.function()
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(exception.RemoteError, match="SystemExit"):
        leave.remote()


def test_a_worker_that_dies_twice_under_an_input(tmp_path: Path) -> None:
    @app.function()
    def die(path: Path) -> None:
        (path / str(os.getpid())).touch()
        os._exit(3)

    with pytest.raises(exception.WorkerCrashed) as caught:
        die.remote(tmp_path)
    assert caught.value.exit_code == 3
    assert len(list(tmp_path.iterdir())) == 2


def test_an_interrupt_cancels_the_call(tmp_path: Path) -> None:
    @app.function()
    def long(path: Path) -> None:
        try:
            path.joinpath("started").touch()
            time.sleep(30)
        finally:
            path.joinpath("ended").touch()

    def interrupt() -> None:
        while not (tmp_path / "started").exists():
            time.sleep(0.005)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        long.remote(tmp_path)
    thread.join()
    ends = time.monotonic() + 5
    while not (tmp_path / "ended").exists():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_calling_it_like_a_function() -> None:
    with pytest.raises(TypeError, match=r"Use divide.remote\(...\)"):
        divide(1, 2)


def test_a_function_has_no_constructor() -> None:
    with pytest.raises(exception.InvalidError):
        nbfn.Function()
