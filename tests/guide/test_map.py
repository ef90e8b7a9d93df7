"""Running a function for many inputs at once."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import nbfn
from tests.conftest import wait_until

app = nbfn.App()


@app.function()
def square(x: int) -> int:
    return x * x


@app.function()
def add(a: int, b: int = 0, *, c: int = 0) -> int:
    return a + b + c


@app.function()
def picky(x: int) -> int:
    if x == 2:
        raise ValueError("ohno")
    return x


@app.function(max_containers=2)
def slow_for(x: float) -> float:
    time.sleep(x)
    return x


@app.function()
def zeros(count: int) -> bytes:
    return bytes(count)


@app.function()
def no_op(x: int) -> int:
    return x


def test_map_gives_results_in_the_order_of_the_inputs() -> None:
    assert list(square.map([1, 2, 3, 4])) == [1, 4, 9, 16]


def test_map_takes_one_iterable_for_each_argument_and_stops_at_the_shortest() -> None:
    assert list(add.map([1, 2, 3], range(10, 12))) == [11, 13]


def test_kwargs_are_the_same_for_every_input() -> None:
    assert list(add.map([1, 2], kwargs={"b": 10, "c": 100})) == [111, 112]


def test_starmap_spreads_each_input_over_the_arguments() -> None:
    assert list(add.starmap([(1, 2), (3, 4)])) == [3, 7]


def test_starmap_with_an_input_that_is_no_sequence() -> None:
    with pytest.raises(TypeError, match="not iterable"):
        list(add.starmap([1]))


def test_for_each_runs_for_the_effect(tmp_path: Path) -> None:
    @app.function()
    def touch(name: str) -> None:
        (tmp_path / name).touch()

    assert touch.for_each(["a", "b"]) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_for_each_can_ignore_failures() -> None:
    picky.for_each(range(4), ignore_exceptions=True)
    with pytest.raises(ValueError, match="ohno"):
        picky.for_each(range(4))


def test_unordered_results_come_as_they_are_ready() -> None:
    list(slow_for.map([0.01, 0.01]))  # both workers are there
    assert list(slow_for.map([0.5, 0.01], order_outputs=False)) == [0.01, 0.5]


def test_a_failure_is_raised() -> None:
    with pytest.raises(ValueError, match="ohno"):
        list(picky.map(range(5)))


def test_exceptions_can_take_the_place_of_results() -> None:
    results = list(picky.map(range(4), return_exceptions=True))
    assert results[:2] == [0, 1]
    assert isinstance(results[2], ValueError)
    assert results[3] == 3


def test_no_inputs_no_results() -> None:
    started = time.monotonic()
    assert list(square.map([])) == []
    assert list(square.map()) == []
    assert time.monotonic() - started < 1


def test_nothing_happens_before_the_result_is_iterated(caplog: pytest.LogCaptureFixture) -> None:
    pulled = []
    result = square.map(pulled.append(i) or i for i in range(3))  # type: ignore[func-returns-value]
    assert pulled == []
    with caplog.at_level(logging.WARNING, "nbfn.client"):
        del result
        gc.collect()
    assert "Function.map was not consumed" in caplog.text


def test_the_result_can_be_taken_with_next_and_only_once() -> None:
    results = square.map(range(3))
    assert next(results) == 0
    assert list(results) == [1, 4]
    assert list(results) == []


def test_async_for() -> None:
    async def collect() -> list[int]:
        return [x async for x in square.map.aio(range(3))] + [x async for x in square.map(range(2))]

    assert asyncio.run(collect()) == [0, 1, 4, 0, 1]


def test_a_plain_loop_works_where_an_event_loop_runs() -> None:
    async def cell() -> list[int]:
        return list(square.map(range(3)))

    assert asyncio.run(cell()) == [0, 1, 4]


def test_an_endless_input_is_pulled_only_so_far() -> None:
    pulled = 0

    def endless() -> Iterator[int]:
        nonlocal pulled
        while True:
            pulled += 1
            yield pulled

    for taken, _ in enumerate(square.map(endless()), 1):
        if taken == 3000:
            break
    assert pulled - taken <= 9000


def test_of_inputs_with_large_results_fewer_are_under_way() -> None:
    pulled = 0

    def numbers() -> Iterator[int]:
        nonlocal pulled
        while True:
            pulled += 1
            yield 200_000

    results = zeros.map(numbers())
    assert sum(len(next(results)) for _ in range(900)) == 900 * 200_000
    assert pulled < 1500  # a thousand before the first result, and more when they are small
    results.close()


def test_leaving_the_loop_ends_the_input_generator() -> None:
    ended = threading.Event()

    def inputs() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            ended.set()

    for _ in square.map(inputs()):
        break
    assert ended.wait(5)


def test_a_slow_input_does_not_hold_up_results() -> None:
    go_on = threading.Event()

    def inputs() -> Iterator[int]:
        yield 3
        assert go_on.wait(10)
        yield 4

    results = square.map(inputs())
    assert next(results) == 9
    go_on.set()
    assert next(results) == 16


def test_an_error_of_the_input_is_raised_promptly() -> None:
    def inputs() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(square.map(inputs()))


def test_one_map_can_feed_another() -> None:
    assert list(square.map(square.map(range(4)))) == [0, 1, 16, 81]


def test_a_failing_map_cancels_what_is_queued(tmp_path: Path) -> None:
    @app.function(max_containers=1)
    def fail_first(x: int) -> None:
        if x == 0:
            raise ValueError(x)
        time.sleep(0.05)
        (tmp_path / str(x)).touch()

    with pytest.raises(ValueError, match="0"):
        list(fail_first.map(range(200)))
    wait_until(lambda: fail_first.get_current_stats().backlog == 0, 2)
    assert len(list(tmp_path.iterdir())) < 100


def test_a_hundred_thousand_inputs() -> None:
    assert sum(no_op.map(range(100_000))) == sum(range(100_000))


def test_what_cannot_be_pickled_is_named_before_anything_is_sent() -> None:
    with pytest.raises(
        nbfn.exception.SerializationError, match=r"'x' of 'square' \(_thread.lock\)"
    ):
        list(square.map([threading.Lock()]))


def test_an_interrupt_cancels_a_map(tmp_path: Path) -> None:
    @app.function(max_containers=1)
    def long(path: Path) -> None:
        try:
            path.joinpath("started").touch()
            time.sleep(30)
        finally:
            path.joinpath("ended").touch()

    def interrupt() -> None:
        wait_until((tmp_path / "started").exists)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        list(long.map([tmp_path] * 3))
    thread.join()
    wait_until((tmp_path / "ended").exists)


def test_an_async_timeout_cancels_a_call(tmp_path: Path) -> None:
    @app.function()
    def forever(path: Path) -> None:
        try:
            path.joinpath("started").touch()
            time.sleep(30)
        finally:
            path.joinpath("ended").touch()

    async def main() -> None:
        task = asyncio.ensure_future(forever.remote.aio(tmp_path))
        while not (tmp_path / "started").exists():
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    wait_until((tmp_path / "ended").exists)
