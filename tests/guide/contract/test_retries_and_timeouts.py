"""Tests of retries, timeouts, fresh workers, at most once, worker starts and exits (docs/function-api.md#options)."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn import experimental
from nbfn.exception import (
    DeserializationError,
    ExecutionError,
    FunctionTimeoutError,
    InvalidError,
    RemoteError,
    WorkerCrashed,
    WorkerLost,
)
from tests.conftest import wait_until

app = nbfn.App()


def note(path: str | Path) -> int:
    """Add a line with the time; return how many there are now."""
    with Path(path).open("a") as file:
        file.write(f"{time.monotonic()}\n")
    return len(Path(path).read_text().splitlines())


def notes(path: Path) -> list[float]:
    return [float(line) for line in path.read_text().splitlines()]


def delays(path: Path) -> list[float]:
    return [after - before for before, after in itertools.pairwise(notes(path))]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@app.function()
def pid(_: object = None) -> int:
    return os.getpid()


# --- retries -------------------------------------------------------------------------------------


def test_an_int_retries_that_often_one_second_apart(journal: Path) -> None:
    @nbfn.App().function(retries=2)
    def fails(path: str) -> int:
        tries = note(path)
        if tries < 3:
            raise ValueError(tries)
        return tries

    assert fails.remote(str(journal)) == 3
    assert all(1.0 <= delay < 5.0 for delay in delays(journal))


def test_delays_grow_by_the_coefficient_up_to_the_most(journal: Path) -> None:
    policy = nbfn.Retries(max_retries=3, initial_delay=0.25, backoff_coefficient=4.0, max_delay=1.0)

    @nbfn.App().function(retries=policy)
    def fails(path: str) -> None:
        note(path)
        raise ValueError("always")

    with pytest.raises(ValueError, match="always"):
        fails.remote(str(journal))
    first, second, third = delays(journal)
    assert 0.25 <= first < 1.0 <= second < 5.0
    assert 1.0 <= third < 5.0  # 4 s without max_delay


def test_when_retries_are_used_up_the_last_exception_is_raised(journal: Path) -> None:
    @nbfn.App().function(retries=nbfn.Retries(max_retries=1, initial_delay=0.0))
    def fails(path: str) -> None:
        raise KeyError(note(path))

    with pytest.raises(KeyError) as caught:
        fails.remote(str(journal))
    assert caught.value.args == (2,)


def test_each_input_of_a_map_has_its_own_retries(tmp_path: Path) -> None:
    @nbfn.App().function(retries=nbfn.Retries(max_retries=1, initial_delay=0.0))
    def second_try(path: str) -> int:
        if (tries := note(path)) < 2:
            raise ValueError
        return tries

    assert list(second_try.map([str(tmp_path / str(n)) for n in range(5)])) == [2] * 5


def test_timeouts_are_retried(journal: Path) -> None:
    @nbfn.App().function(timeout=1, retries=nbfn.Retries(max_retries=1, initial_delay=0.0))
    def slow_once(path: str) -> int:
        if (tries := note(path)) < 2:
            time.sleep(30)
        return tries

    assert slow_once.remote(str(journal)) == 2


def test_a_cancelled_input_is_not_retried(journal: Path) -> None:
    @nbfn.App().function(retries=5)
    def waits(path: str) -> None:
        note(path)
        time.sleep(30)

    call = waits.spawn(str(journal))
    wait_until(lambda: journal.exists() and notes(journal))
    call.cancel()
    with pytest.raises(RemoteError, match="cancelled"):
        call.get(10)
    assert len(notes(journal)) == 1


def test_a_lost_worker_uses_up_no_retries(journal: Path) -> None:
    @nbfn.App().function(retries=nbfn.Retries(max_retries=1, initial_delay=0.0))
    def crash_then_raise(path: str) -> int:
        tries = note(path)
        if tries == 1:
            os._exit(3)
        if tries == 2:
            raise ValueError
        return tries

    assert crash_then_raise.remote(str(journal)) == 3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_retries": -1}, "max_retries is -1"),
        ({"max_retries": 1, "backoff_coefficient": 0.5}, "between 1 and 10"),
        ({"max_retries": 1, "backoff_coefficient": 11}, "between 1 and 10"),
        ({"max_retries": 1, "initial_delay": -1}, "between 0 and 60"),
        ({"max_retries": 1, "initial_delay": 61}, "between 0 and 60"),
        ({"max_retries": 1, "max_delay": 0.5}, "between 1 and 60"),
        ({"max_retries": 1, "max_delay": 61}, "between 1 and 60"),
    ],
)
def test_bounds_of_retries(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        nbfn.Retries(**wrong)


def test_generators_cannot_have_retries() -> None:
    with pytest.raises(InvalidError, match="Generator function 'g' cannot have retries"):

        @nbfn.App().function(retries=1)
        def g() -> Any:
            yield 1


def test_web_functions_cannot_have_retries() -> None:
    with pytest.raises(InvalidError, match="Web function 'w' cannot have retries"):

        @nbfn.App().function(retries=1)
        @nbfn.fastapi_endpoint()
        def w() -> None: ...


# --- timeouts ------------------------------------------------------------------------------------


def test_a_timeout_counts_execution_only_and_each_attempt_anew() -> None:
    @nbfn.App().function(timeout=2, max_containers=1)
    def sleep(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    assert list(sleep.map([0.9] * 3)) == [0.9] * 3  # the last one also waited for a worker


def test_who_is_over_the_time_gets_function_timeout_error_and_the_rest_their_results() -> None:
    @nbfn.App().function(timeout=1, max_containers=1)
    def sleep(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    late, *rest = sleep.map([30, 0, 0], return_exceptions=True)
    assert isinstance(late, FunctionTimeoutError)
    assert not isinstance(late, TimeoutError)
    assert "timeout of 1 s" in str(late)
    assert rest == [0, 0]


def test_generators_have_that_time_in_all() -> None:
    @nbfn.App().function(timeout=1)
    def drip() -> Any:
        while True:
            yield 1
            time.sleep(0.1)

    taken: list[int] = []
    with pytest.raises(FunctionTimeoutError):
        taken.extend(drip.remote_gen())
    assert 1 <= len(taken) <= 11


# --- fresh workers -------------------------------------------------------------------------------


@pytest.mark.parametrize("option", [{"single_use_containers": True}, {"max_inputs": 1}])
def test_single_use_gives_each_input_a_fresh_worker(option: dict[str, Any]) -> None:
    @nbfn.App().function(**option)
    def fresh(_: int) -> tuple[int, int]:
        globals()["ran"] = globals().get("ran", 0) + 1
        return os.getpid(), globals()["ran"]

    found = list(fresh.map(range(5)))
    assert len({process for process, _ in found}) == 5
    assert {count for _, count in found} == {1}


def test_max_inputs_other_than_one_is_refused() -> None:
    with pytest.raises(InvalidError, match="only 1 is possible"):
        nbfn.App().function(max_inputs=2)


def test_stop_fetching_inputs_ends_the_worker_after_what_it_runs() -> None:
    @nbfn.App().function(max_containers=1)
    def last(_: int) -> int:
        nbfn.experimental.stop_fetching_inputs()
        return os.getpid()

    assert len(set(last.map(range(3)))) == 3


def test_stop_fetching_inputs_lets_concurrent_inputs_finish(tmp_path: Path) -> None:
    @nbfn.App().function(max_containers=1)
    @nbfn.concurrent(max_inputs=2)
    async def both(mark: str, stops: bool) -> int:
        import asyncio

        Path(mark, str(stops)).touch()
        while len(list(Path(mark).iterdir())) < 2:
            await asyncio.sleep(0.005)
        if stops:
            nbfn.experimental.stop_fetching_inputs()
        await asyncio.sleep(0.05)
        return os.getpid()

    one, other = both.starmap([(str(tmp_path), True), (str(tmp_path), False)])
    assert one == other


def test_outside_of_a_worker_there_is_nothing_to_stop() -> None:
    with pytest.raises(ExecutionError, match="in a worker"):
        experimental.stop_fetching_inputs()


def test_workers_are_reused_and_keep_their_globals() -> None:
    assert len({pid.remote(), pid.remote()}) == 1


# --- at most once --------------------------------------------------------------------------------


def test_at_most_once_never_runs_an_input_twice(journal: Path) -> None:
    @nbfn.App().function(at_most_once=True)
    def dies(path: str) -> None:
        note(path)
        os.kill(os.getpid(), signal.SIGKILL)

    for call in (dies.remote, lambda path: dies.spawn(path).get(10)):
        journal.unlink(missing_ok=True)
        with pytest.raises(WorkerLost, match="SIGKILL.*at_most_once"):
            call(str(journal))
        assert len(notes(journal)) == 1


def test_at_most_once_runs_what_goes_well() -> None:
    @nbfn.App().function(at_most_once=True)
    def double(x: int) -> int:
        return 2 * x

    assert list(double.map(range(20))) == [2 * x for x in range(20)]
    with pytest.raises(TypeError):
        double.remote({})


def test_at_most_once_and_retries_exclude_each_other() -> None:
    with pytest.raises(InvalidError, match="at_most_once and retries exclude each other"):

        @nbfn.App().function(at_most_once=True, retries=1)
        def f() -> None: ...


# --- starting ------------------------------------------------------------------------------------


def test_loading_longer_than_startup_timeout_ends_the_worker_and_fails_what_waits() -> None:
    shared = nbfn.App()

    @shared.cls(startup_timeout=1)
    class Slow:
        @nbfn.enter()
        def load(self) -> None:
            time.sleep(60)

        @nbfn.method()
        def f(self) -> None: ...

    began = time.monotonic()
    with pytest.raises(FunctionTimeoutError, match="startup_timeout of 1 s"):
        Slow().f.remote()
    assert time.monotonic() - began < 10


def test_startup_time_is_no_execution_time() -> None:
    @nbfn.App().cls(timeout=1, startup_timeout=20)
    class Slow:
        @nbfn.enter()
        def load(self) -> None:
            time.sleep(1.5)

        @nbfn.method()
        def f(self) -> str:
            return "fine"

    assert Slow().f.remote() == "fine"


# --- user code that changes its worker -----------------------------------------------------------


def test_sync_bodies_run_on_the_main_thread_without_a_loop() -> None:
    @nbfn.App().function()
    def where() -> int:
        import asyncio

        async def answer() -> int:
            return 42

        assert threading.current_thread() is threading.main_thread()
        return asyncio.run(answer())

    assert where.remote() == 42


def test_async_bodies_share_the_workers_loop_on_the_main_thread() -> None:
    @nbfn.App().function(max_containers=1)
    async def loop() -> int:
        import asyncio

        assert threading.current_thread() is threading.main_thread()
        return id(asyncio.get_running_loop())

    assert loop.remote() == loop.remote()


@pytest.mark.parametrize("at_once", [1, 5])
def test_system_exit_reaches_the_caller_and_the_worker_goes_on(at_once: int) -> None:
    @nbfn.App().function(max_containers=1)
    @nbfn.concurrent(max_inputs=at_once)
    def leave(code: int) -> int:
        if code:
            raise SystemExit(code)
        return os.getpid()

    before = leave.remote(0)
    with pytest.raises(RemoteError, match="SystemExit"):
        leave.remote(3)
    assert leave.remote(0) == before


def test_keyboard_interrupt_kills_the_worker(journal: Path) -> None:
    @nbfn.App().function()
    def interrupted(path: str) -> None:
        note(path)
        raise KeyboardInterrupt

    with pytest.raises(WorkerCrashed, match=r"(?s)exit code 130.*KeyboardInterrupt"):
        interrupted.remote(str(journal))
    assert len(notes(journal)) == 2


class Unloadable:
    """Cannot be rebuilt in a worker."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise LookupError("not here")


@pytest.mark.parametrize("at_once", [1, 5])
def test_an_input_that_cannot_be_rebuilt_fails_alone(at_once: int) -> None:
    @nbfn.App().function(max_containers=1)
    @nbfn.concurrent(max_inputs=at_once)
    def same(x: object) -> int:
        return os.getpid()

    one, bad, other = same.map([1, Unloadable(), 2], return_exceptions=True)
    assert one == other
    assert isinstance(bad, DeserializationError)
    assert "not here" in str(bad)


def test_an_input_of_a_batch_that_cannot_be_rebuilt_fails_alone() -> None:
    @nbfn.App().function(max_containers=1)
    @nbfn.batched(max_batch_size=3, wait_ms=60_000)
    def sizes(xs: list[object]) -> list[int]:
        return [len(xs)] * len(xs)

    one, bad, other = sizes.map([1, Unloadable(), 2], return_exceptions=True)
    assert (one, other) == (2, 2)
    assert isinstance(bad, DeserializationError)
