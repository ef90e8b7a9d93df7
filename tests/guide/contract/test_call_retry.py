"""Tests of `FunctionCall.retry`, which retries the failed inputs of a spawned call."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn import FunctionCall
from nbfn.exception import ConflictError, InvalidError, NotFoundError
from tests.conftest import wait_until


def deploy(name: str, function: Callable[..., Any]) -> nbfn.Function[..., Any]:
    """Deploy a function as ``work`` of an App; a second one is its next version."""
    app = nbfn.App(name)
    app.function(name="work")(function)
    app.deploy()
    return nbfn.Function.from_name(name, "work")


def broken(x: int, journal: Path | None = None) -> str:
    if journal is not None:
        with journal.open("a") as lines:
            lines.write(f"{x} ")
    if x % 2:
        raise ValueError(f"odd: {x}")
    return f"old {x}"


def mended(x: int, journal: Path | None = None) -> str:
    return f"new {x}"


def ended(call: FunctionCall[Any]) -> FunctionCall[Any]:
    """Wait until a call has ended, with any outcome."""
    client = nbfn.Client.attach()
    wait_until(
        lambda: (
            not any(row.id == call.object_id and not row.ended for row in client.overview().calls)
        )
    )
    return call


def test_only_the_inputs_that_failed_run_again_with_the_newest_version() -> None:
    call = ended(deploy("retry-1", broken).spawn_map(range(5)))
    with pytest.raises(ValueError, match="odd: 1"):
        call.get(index=1)
    deploy("retry-1", mended)
    assert call.retry() == 2
    assert list(call.iter()) == ["old 0", "new 1", "old 2", "new 3", "old 4"]
    assert call.num_inputs() == 5


def test_every_handle_has_the_new_results_also_in_another_process() -> None:
    call = ended(deploy("retry-2", broken).spawn(1))
    other = FunctionCall.from_id(call.object_id)
    for handle in (call, other):
        with pytest.raises(ValueError, match="odd"):
            handle.get()
    deploy("retry-2", mended)
    retry = f"import nbfn; print(nbfn.FunctionCall.from_id({call.object_id!r}).retry())"
    done = subprocess.run([sys.executable, "-c", retry], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "1", done.stderr
    assert [call.get(), other.get(), FunctionCall.from_id(call.object_id).get()] == ["new 1"] * 3


def test_what_fails_again_can_be_retried_again(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    call = ended(deploy("retry-3", broken).spawn(3, journal))
    for _ in range(2):
        assert call.retry() == 1
        with pytest.raises(ValueError, match="odd: 3"):
            call.get(timeout=30)
    assert journal.read_text().split() == ["3", "3", "3"]


def test_large_arguments_are_still_there() -> None:
    def measure(data: bytes) -> int:
        raise ValueError("not yet")

    def measured(data: bytes) -> int:
        return len(data)

    call = ended(deploy("retry-4", measure).spawn(b"x" * 3_000_000))
    deploy("retry-4", measured)
    assert call.retry() == 1
    assert call.get(timeout=30) == 3_000_000


def test_a_method_runs_again_on_an_object_of_todays_class() -> None:
    def made(factor: int | None) -> None:
        app = nbfn.App("retry-5")

        @app.cls()
        class Scale:
            by: int = nbfn.parameter(default=1)

            @nbfn.method()
            def work(self, x: int) -> int:
                if factor is None:
                    raise ValueError("no factor")
                return factor * self.by * x

        app.deploy()

    made(None)
    call = ended(nbfn.Cls.from_name("retry-5", "Scale")(by=3).work.spawn(2))
    made(10)
    assert call.retry() == 1
    assert call.get(timeout=30) == 60


def test_it_is_refused_in_a_sentence(tmp_path: Path) -> None:
    def wait(path: Path) -> None:
        import time

        while not path.exists():
            time.sleep(0.005)

    function = deploy("retry-6", wait)
    call = function.spawn(tmp_path / "go")
    with pytest.raises(ConflictError, match=r"still runs \(0 of 1 inputs have ended\)"):
        call.retry()
    (tmp_path / "go").touch()
    call.get(timeout=30)
    with pytest.raises(InvalidError, match="All inputs of call fc-.* succeeded"):
        call.retry()
    with pytest.raises(NotFoundError, match="only spawned calls are kept"):
        FunctionCall.from_id("fc-" + "0" * 22).retry()


def test_a_function_that_is_gone_is_named() -> None:
    call = ended(deploy("retry-7", broken).spawn(1))
    stop = [sys.executable, "-m", "nbfn", "app", "stop", "-y", "retry-7"]
    subprocess.run(stop, check=True, capture_output=True, timeout=60)
    with pytest.raises(NotFoundError, match="was stopped, so 'work' cannot be called"):
        call.retry()


def test_the_call_graph_shows_what_runs_again() -> None:
    call = ended(deploy("retry-8", broken).spawn(1))
    assert call.get_call_graph()[0].status == nbfn.InputStatus.FAILURE
    deploy("retry-8", mended)
    call.retry()
    call.get(timeout=30)
    assert [info.status for info in call.get_call_graph()] == [nbfn.InputStatus.SUCCESS]
