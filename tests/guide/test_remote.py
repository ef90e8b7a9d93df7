"""Tests of calls that run a function on a worker."""

from __future__ import annotations

import asyncio
import functools
import os
import threading

import pytest

import nbfn
from nbfn.exception import AsyncUsageWarning

app = nbfn.App()
OFFSET = 100


@app.function()
def square(x: int) -> int:
    return x * x


def helper(x: int) -> int:
    return x + OFFSET


@app.function()
def shifted(x: int) -> int:
    return helper(x)


def test_a_function_runs_in_another_process() -> None:
    @app.function()
    def where_it_runs() -> int:
        return os.getpid()

    assert where_it_runs.remote() != os.getpid()


def test_arguments_and_result_travel() -> None:
    @app.function()
    def swapped(a: object, /, *more: object, key: object = None) -> tuple[object, ...]:
        return key, *more, a

    assert swapped.remote(1, [2], key={"k": (3, None)}) == ({"k": (3, None)}, [2], 1)


def test_local_runs_here() -> None:
    @app.function()
    def where_here() -> int:
        return os.getpid()

    assert where_here.local() == os.getpid()


def test_it_uses_globals_and_helpers_as_they_are_now(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shifted.remote(1) == 101
    monkeypatch.setitem(globals(), "OFFSET", 1000)
    assert shifted.remote(1) == 1001


def test_a_helper_with_a_cache_travels_and_its_globals_are_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @functools.cache
    def fib(n: int) -> int:
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    @functools.lru_cache(maxsize=5)
    def cached_shift(x: int) -> int:
        return x + OFFSET

    @app.function()
    def both(n: int) -> tuple[int, int, int | None]:
        return fib(n), cached_shift(n), cached_shift.cache_info().maxsize

    assert both.remote(30) == (832040, 130, 5)
    monkeypatch.setitem(globals(), "OFFSET", 200)
    assert both.remote(30) == (832040, 230, 5)


def test_an_async_function_is_awaited_on_the_worker() -> None:
    @app.function()
    async def later(x: int) -> int:
        await asyncio.sleep(0.001)
        return x + 1

    assert later.remote(1) == 2


def test_a_function_runs_on_the_main_thread_without_an_event_loop() -> None:
    @app.function()
    def how_it_runs() -> tuple[bool, int]:
        async def three() -> int:
            return 3

        return threading.current_thread() is threading.main_thread(), asyncio.run(three())

    assert how_it_runs.remote() == (True, 3)


def test_aio_leaves_the_event_loop_free() -> None:
    async def both() -> list[int]:
        return await asyncio.gather(square.remote.aio(3), square.remote.aio(4))

    assert asyncio.run(both()) == [9, 16]


def test_the_blocking_form_works_inside_a_running_loop() -> None:
    async def cell() -> int:
        return square.remote(5)

    with pytest.warns(AsyncUsageWarning, match=r"\.remote\(\.\.\.\) blocks the event loop"):
        assert asyncio.run(cell()) == 25


def test_what_is_printed_there_is_printed_here(capfd: pytest.CaptureFixture[str]) -> None:
    @app.function()
    def greet(name: str) -> None:
        print("hello", name)

    greet.remote("world")
    assert capfd.readouterr().out == "hello world\n"


def test_a_function_can_call_another() -> None:
    @app.function()
    def cube(x: int) -> int:
        return x * square.remote(x)

    assert cube.remote(3) == 27


def test_a_function_can_call_itself() -> None:
    @app.function(max_containers=1)  # each lends its slot to the next
    def factorial(n: int) -> int:
        return 1 if n == 0 else n * factorial.remote(n - 1)

    assert factorial.remote(6) == 720


def test_a_class_from_here_is_the_same_class_there_and_back() -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    @app.function()
    def mirrored(point: Point) -> Point:
        assert isinstance(point, Point)
        return Point(-point.x)

    result = mirrored.remote(Point(3))
    assert isinstance(result, Point)
    assert result.x == -3


def test_threads_may_call_at_once() -> None:
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda i=i: results.append(square.remote(i))) for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [i * i for i in range(8)]


def test_a_large_array_comes_back_as_it_was() -> None:
    numpy = pytest.importorskip("numpy")

    @app.function()
    def doubled(array: object) -> object:
        return array * 2  # type: ignore[operator]

    array = numpy.arange(1_000_000)
    assert (doubled.remote(array) == array * 2).all()
