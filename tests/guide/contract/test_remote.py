"""Tests of `remote` and `remote_gen` (docs/function-api.md#remote-calls)."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn.exception import InvalidError, NotFoundError, SerializationError
from tests.conftest import wait_until

app = nbfn.App()


@app.function()
def square(x: int) -> int:
    return x * x


@app.function()
def append(items: list[int], mark: int) -> list[int]:
    items.append(mark)
    return items


@app.function()
def count_up(n: int, fail_at: int = -1) -> Iterator[int]:
    for number in range(n):
        if number == fail_at:
            raise ValueError("ohno")
        yield number


@app.function()
async def count_up_async(n: int) -> AsyncIterator[int]:
    for number in range(n):
        await asyncio.sleep(0)
        yield number


@app.function()
def endless(path: Path) -> Iterator[int]:
    number = 0
    try:
        while True:
            with path.joinpath("made").open("a") as file:
                file.write(".")
            yield number
            number += 1
    finally:
        path.joinpath("ended").touch()


@app.function()
async def endless_async(path: Path) -> AsyncIterator[int]:
    number = 0
    try:
        while True:
            yield number
            number += 1
    finally:
        path.joinpath("ended").touch()


@app.function()
def stay(path: Path) -> None:
    try:
        path.joinpath("begun").touch()
        time.sleep(60)
    finally:
        path.joinpath("ended").touch()


# --- remote --------------------------------------------------------------------------------------


def test_remote_returns_the_result_or_raises_the_original_type() -> None:
    assert square.remote(3) == 9
    assert square.remote(x=4) == 16
    with pytest.raises(ValueError, match="ohno"):
        list(count_up.remote_gen(2, fail_at=0))


def test_wrong_arguments_are_the_remote_functions_type_error() -> None:
    with pytest.raises(TypeError, match=r"square\(\) missing 1 required positional argument"):
        square.remote()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'y'"):
        square.remote(1, y=2)  # type: ignore[call-arg]


def test_a_generator_is_refused_and_told_where_to_go() -> None:
    with pytest.raises(InvalidError, match="remote_gen"):
        count_up.remote(3)
    with pytest.raises(InvalidError, match="remote_gen"):
        count_up_async.remote(3)


def test_an_argument_that_cannot_be_pickled_runs_nothing(tmp_path: Path) -> None:
    @app.function(name="touch")
    def touch(path: Path, lock: Any) -> None:
        path.touch()

    with pytest.raises(SerializationError, match="lock"):
        touch.remote(tmp_path / "ran", threading.Lock())
    square.remote(1)
    assert not (tmp_path / "ran").exists()


def test_time_in_the_queue_does_not_count_as_running() -> None:
    @app.function(name="one_second", max_containers=1, timeout=2)
    def one_second(x: int) -> int:
        time.sleep(0.9)
        return x

    assert list(one_second.map(range(4))) == [0, 1, 2, 3]


def test_the_last_exception_is_raised_after_the_retries(tmp_path: Path) -> None:
    @app.function(name="flaky", retries=nbfn.Retries(max_retries=2, initial_delay=0.0))
    def flaky(path: Path) -> None:
        with path.open("a") as file:
            file.write(".")
        raise ValueError(f"try {len(path.read_text())}")

    with pytest.raises(ValueError, match="try 3"):
        flaky.remote(tmp_path / "tries")


def test_an_interrupt_while_waiting_cancels_the_remote_side(tmp_path: Path) -> None:
    def interrupt() -> None:
        wait_until((tmp_path / "begun").exists)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        stay.remote(tmp_path)
    thread.join()
    wait_until((tmp_path / "ended").exists)


def test_a_cancelled_await_cancels_the_remote_side(tmp_path: Path) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(stay.remote.aio(tmp_path))
        while not (tmp_path / "begun").exists():
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    wait_until((tmp_path / "ended").exists)


def test_a_function_calls_itself_though_one_worker_is_the_most() -> None:
    @app.function(name="factorial", max_containers=1)
    def factorial(n: int) -> int:
        return 1 if n <= 1 else n * factorial.remote(n - 1)

    assert factorial.remote(4) == 24


def test_arguments_are_copies() -> None:
    mine = [1]
    back = append.remote(mine, 2)
    assert (mine, back) == ([1], [1, 2])
    assert back is not mine


# --- remote_gen ----------------------------------------------------------------------------------


def test_nothing_is_called_before_the_first_next() -> None:
    results = [
        nbfn.Function.from_name("no-such-app", "f").remote_gen(1),
        square.remote_gen(2),
    ]
    with pytest.raises(NotFoundError):
        next(results[0])
    with pytest.raises(InvalidError, match=r"\.remote\("):
        next(results[1])


def test_items_are_streamed_in_order_while_the_generator_runs(tmp_path: Path) -> None:
    @app.function(name="two")
    def two(go: Path) -> Iterator[str]:
        yield "first"
        while not go.exists():
            time.sleep(0.005)
        yield "second"

    items = two.remote_gen(tmp_path / "go")
    assert next(items) == "first"
    (tmp_path / "go").touch()
    assert list(items) == ["second"]


def test_an_exception_after_k_items_comes_after_k_items() -> None:
    items = count_up.remote_gen(5, fail_at=3)
    got = [next(items), next(items), next(items)]
    with pytest.raises(ValueError, match="ohno"):
        next(items)
    assert got == [0, 1, 2]
    with pytest.raises(StopIteration):
        next(items)


def test_the_return_value_of_a_generator_is_not_carried() -> None:
    @app.function(name="returns")
    def returns() -> Iterator[int]:  # type: ignore[misc]
        yield 1
        return "lost"

    items = iter(returns.remote_gen())
    assert next(items) == 1
    with pytest.raises(StopIteration) as caught:
        next(items)
    assert caught.value.value is None


@pytest.mark.parametrize("function", [endless, endless_async], ids=["sync", "async"])
def test_close_and_break_run_the_remote_finally(function: Any, tmp_path: Path) -> None:
    for way in ("close", "break", "delete"):
        path = tmp_path / way
        path.mkdir()
        items = function.remote_gen(path)
        if way == "break":
            for _ in items:
                break
        else:
            next(items)
        if way == "close":
            items.close()
        del items
        wait_until((path / "ended").exists)


def test_leaving_an_async_loop_runs_the_remote_finally(tmp_path: Path) -> None:
    async def main() -> None:
        async for _ in endless.remote_gen.aio(tmp_path):
            break

    asyncio.run(main())
    wait_until((tmp_path / "ended").exists)


def test_a_generator_does_not_run_away_from_its_consumer(tmp_path: Path) -> None:
    items = endless.remote_gen(tmp_path)
    assert [next(items), next(items)] == [0, 1]
    square.remote(1)
    assert len((tmp_path / "made").read_text()) <= 200
    items.close()


def test_nothing_can_be_sent_into_it() -> None:
    items = count_up.remote_gen(3)
    assert not hasattr(items, "send")
    assert list(items) == [0, 1, 2]


def test_sync_and_async_generators_look_the_same_to_both_forms() -> None:
    async def collect(function: Any) -> list[int]:
        return [x async for x in function.remote_gen.aio(3)]

    for function in (count_up, count_up_async):
        assert list(function.remote_gen(3)) == [0, 1, 2]
        assert asyncio.run(collect(function)) == [0, 1, 2]


def test_is_generator_is_seen_or_told() -> None:
    @app.function(name="told", is_generator=True)
    def told(n: int) -> Any:
        return iter(range(n))

    @app.function(name="not_told")
    def not_told(n: int) -> Any:
        return (x for x in range(n))

    assert (count_up.is_generator, count_up_async.is_generator, square.is_generator) == (
        True,
        True,
        False,
    )
    assert list(told.remote_gen(3)) == [0, 1, 2]
    with pytest.raises(InvalidError, match="is_generator=True"):
        not_told.remote(3)
