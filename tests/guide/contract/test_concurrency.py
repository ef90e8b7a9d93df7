"""Tests of `@concurrent` and `@batched` (docs/function-api.md#concurrent-inputs-and-batches)."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn.exception import InvalidError, WorkerCrashed
from tests.conftest import wait_until

app = nbfn.App()


def add_dot(path: str) -> None:
    with Path(path).open("a") as file:
        file.write(".")


@app.function(max_containers=1)
@nbfn.concurrent(max_inputs=10)
async def meet(mark: str, count: int) -> tuple[int, bool]:
    """Wait until this many inputs run it at the same time."""
    import asyncio

    add_dot(mark)
    while Path(mark).stat().st_size < count:
        await asyncio.sleep(0.005)
    return os.getpid(), threading.current_thread() is threading.main_thread()


@app.function(max_containers=1)
@nbfn.concurrent(max_inputs=10)
def meet_in_threads(mark: str, count: int) -> tuple[int, bool]:
    add_dot(mark)
    while Path(mark).stat().st_size < count:
        time.sleep(0.005)
    return os.getpid(), threading.current_thread() is threading.main_thread()


def together(function: Any, *calls: tuple[Any, ...]) -> list[Any]:
    """Call a Function from as many threads at once; return results and exceptions in order."""

    def call(args: tuple[Any, ...]) -> Any:
        try:
            return function.remote(*args)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


# --- @concurrent ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "on_main"), [(meet, True), (meet_in_threads, False)])
def test_a_worker_runs_max_inputs_at_once(function: Any, on_main: bool, tmp_path: Path) -> None:
    found = list(function.starmap([(str(tmp_path / "mark"), 10)] * 10))
    assert len({pid for pid, _ in found}) == 1
    assert {main for _, main in found} == {on_main}


def test_never_more_than_max_inputs_run_at_once() -> None:
    @nbfn.App().function(max_containers=1)
    @nbfn.concurrent(max_inputs=3)
    async def most_at_once(_: int) -> int:
        import asyncio

        globals()["now"] = globals().get("now", 0) + 1
        seen = globals()["now"]
        await asyncio.sleep(0.01)
        globals()["now"] -= 1
        return seen

    assert max(most_at_once.map(range(30))) == 3


def test_the_pool_aims_at_target_inputs(tmp_path: Path) -> None:
    @nbfn.App().function(max_containers=2)
    @nbfn.concurrent(max_inputs=8, target_inputs=2)
    async def spread(mark: str) -> int:
        import asyncio

        while not Path(mark).exists():
            await asyncio.sleep(0.005)
        return os.getpid()

    mark = tmp_path / "go"
    calls = [spread.spawn(str(mark)) for _ in range(4)]
    wait_until(lambda: spread.get_current_stats().num_total_runners == 2)
    mark.touch()
    assert all(call.get(10) for call in calls)


def test_input_headroom_counts_places_of_all_workers() -> None:
    @nbfn.App().function(max_containers=2)
    @nbfn.concurrent(max_inputs=5)
    def f() -> None: ...

    assert f.get_current_stats().input_headroom == 10


def test_current_input_id_is_right_per_input() -> None:
    @nbfn.App().function(max_containers=1)
    @nbfn.concurrent(max_inputs=10)
    async def ids(_: int) -> list[str | None]:
        import asyncio

        async def inner() -> str | None:
            await asyncio.sleep(0.01)
            return nbfn.current_input_id()

        return [nbfn.current_input_id(), *await asyncio.gather(inner(), inner())]

    found = list(ids.map(range(10)))
    assert len({i for i, *_ in found}) == 10
    assert all(i is not None and len(set(each)) == 1 for each in found for i in each)


def test_prints_of_ten_at_once_are_never_mixed_within_a_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    @nbfn.App().function(max_containers=1)
    @nbfn.concurrent(max_inputs=10)
    async def talk(x: int) -> None:
        import asyncio

        for _ in range(10):
            print(x, end="")
            await asyncio.sleep(0)
            print(x)

    list(talk.map(range(10)))
    wait_until(lambda: True)
    lines = capfd.readouterr().out.split()
    assert sorted(lines) == sorted([f"{x}{x}" for x in range(10)] * 10)


def test_a_cancelled_coroutine_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    mark = str(tmp_path / "mark")
    stuck, other = meet.spawn(mark, 3), meet.spawn(mark, 3)
    wait_until(lambda: Path(mark).exists() and Path(mark).stat().st_size == 2)
    stuck.cancel()
    with pytest.raises(nbfn.exception.RemoteError, match="cancelled"):
        stuck.get(10)
    add_dot(mark)
    assert other.get(10)[1]


def test_cancelling_a_thread_shuts_the_worker_down_and_its_other_inputs_run_elsewhere(
    tmp_path: Path,
) -> None:
    mark = str(tmp_path / "mark")
    stuck, other = meet_in_threads.spawn(mark, 9), meet_in_threads.spawn(mark, 3)
    wait_until(lambda: Path(mark).exists() and Path(mark).stat().st_size == 2)
    stuck.cancel()
    with pytest.raises(nbfn.exception.RemoteError, match="cancelled"):
        stuck.get(10)
    assert other.get(10)  # its second run writes the third mark


@pytest.mark.timeout(60)
def test_a_crash_fails_only_the_input_that_crashes_alone_again(tmp_path: Path) -> None:
    mark = str(tmp_path / "mark")

    @nbfn.App().function(max_containers=2)
    @nbfn.concurrent(max_inputs=10)
    def poisoned(x: int) -> int:
        add_dot(mark)
        while Path(mark).stat().st_size < 5:
            time.sleep(0.005)
        if x == 3:
            os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(0.2)
        return x

    found = list(poisoned.map(range(5), return_exceptions=True))
    assert found[:3] + found[4:] == [0, 1, 2, 4]
    assert isinstance(found[3], WorkerCrashed)


def test_timeouts_count_per_input_and_leave_neighbours_alone() -> None:
    @nbfn.App().function(timeout=1, max_containers=1)
    @nbfn.concurrent(max_inputs=10)
    async def wait(seconds: float) -> float:
        import asyncio

        await asyncio.sleep(seconds)
        return seconds

    late, fine = list(wait.map([30.0, 0.5], return_exceptions=True))
    assert isinstance(late, nbfn.exception.FunctionTimeoutError)
    assert fine == 0.5


# --- @batched ------------------------------------------------------------------------------------


@app.function(max_containers=1)
@nbfn.batched(max_batch_size=4, wait_ms=60_000)
def add(xs: list[int], ys: list[int]) -> list[tuple[int, int]]:
    assert isinstance(xs, list)
    assert isinstance(ys, list)
    return [(len(xs), x + y) for x, y in zip(xs, ys, strict=True)]


def test_callers_give_single_values_and_the_body_gets_lists() -> None:
    assert together(add, (1, 10), (2, 20), (3, 30), (4, 40)) == [(4, 11), (4, 22), (4, 33), (4, 44)]


def test_a_batch_that_is_not_full_leaves_after_wait_ms() -> None:
    @nbfn.App().function(max_containers=1)
    @nbfn.batched(max_batch_size=100, wait_ms=100)
    def sizes(xs: list[int]) -> list[int]:
        return [len(xs)] * len(xs)

    assert list(sizes.map(range(3))) == [3, 3, 3]


def test_a_map_fills_batches() -> None:
    assert [size for size, _ in add.map(range(8), range(8))] == [4] * 8


def test_keyword_arguments_become_lists_too() -> None:
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(add.remote, x, ys=x) for x in range(4)]
        assert [f.result() for f in futures] == [(4, 0), (4, 2), (4, 4), (4, 6)]


def test_async_bodies_are_batched_as_well() -> None:
    @nbfn.App().function(max_containers=1)
    @nbfn.batched(max_batch_size=2, wait_ms=60_000)
    async def double(xs: list[int]) -> list[int]:
        return [2 * x for x in xs]

    assert list(double.map([1, 2])) == [2, 4]


def test_local_calls_the_raw_function_with_lists() -> None:
    assert add.local([1, 2], [3, 4]) == [(2, 4), (2, 6)]


def test_an_exception_goes_to_all_callers_of_the_batch() -> None:
    @nbfn.App().function(max_containers=1)
    @nbfn.batched(max_batch_size=3, wait_ms=60_000)
    def broken(xs: list[int]) -> list[int]:
        raise KeyError(len(xs))

    found = list(broken.map(range(3), return_exceptions=True))
    assert [(type(e), e.args) for e in found] == [(KeyError, (3,))] * 3


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (
            "tuple(xs)",
            "must return a list with a value for each of its 2 inputs; it returned .* tuple",
        ),
        ("xs[1:]", "got 2 inputs and returned a list of 1"),
        ("[*xs, 1]", "got 2 inputs and returned a list of 3"),
    ],
)
def test_a_body_that_returns_something_else_fails_all_callers(returned: str, said: str) -> None:
    @nbfn.App().function(max_containers=1, name=f"wrong-{abs(hash(returned))}")
    @nbfn.batched(max_batch_size=2, wait_ms=60_000)
    def wrong(xs: list[int]) -> Any:
        return eval(returned, {"xs": xs})

    for error in wrong.map(range(2), return_exceptions=True):
        with pytest.raises(InvalidError, match=said):
            raise error


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (((1, 2), {}), ((1,), {}), "different arguments: 'ys' was passed by 1 of 2 callers"),
        (((1, 2), {}), ((1, 2, 3), {}), "takes 2 positional arguments; a caller gave 3"),
        (((1, 2), {}), ((1, 2), {"zs": 3}), "unexpected keyword argument 'zs'"),
        (((1, 2), {}), ((1, 2), {"xs": 3}), "multiple values for argument 'xs'"),
    ],
)
def test_arguments_that_do_not_fit_fail_all_callers(one: Any, other: Any, said: str) -> None:
    @nbfn.App().function(max_containers=1)
    @nbfn.batched(max_batch_size=2, wait_ms=60_000)
    def pair(xs: list[int], ys: list[int]) -> list[int]:
        return xs

    calls = [pair.spawn(*args, **kwargs) for args, kwargs in (one, other)]
    for call in calls:
        with pytest.raises(InvalidError, match=said):
            call.get(20)


def test_one_result_that_cannot_be_pickled_fails_its_own_caller() -> None:
    @nbfn.App().function(max_containers=1)
    @nbfn.batched(max_batch_size=2, wait_ms=60_000)
    def locks(xs: list[int]) -> list[object]:
        return [threading.Lock() if x else x for x in xs]

    good, bad = locks.map(range(2), return_exceptions=True)
    assert good == 0
    assert isinstance(bad, nbfn.exception.SerializationError)


def test_an_input_of_a_batch_that_is_cancelled_leaves_the_others_alone(tmp_path: Path) -> None:
    mark = tmp_path / "go"

    @nbfn.App().function(max_containers=1)
    @nbfn.batched(max_batch_size=2, wait_ms=60_000)
    def wait(marks: list[str]) -> list[str]:
        Path(marks[0] + ".begun").touch()
        while not Path(marks[0]).exists():
            time.sleep(0.005)
        return marks

    calls = [wait.spawn(str(mark)) for _ in range(2)]
    wait_until(lambda: Path(f"{mark}.begun").exists())
    calls[0].cancel()
    with pytest.raises(nbfn.exception.RemoteError, match="cancelled"):
        calls[0].get(10)
    mark.touch()
    assert calls[1].get(10) == str(mark)


def test_batches_run_at_once_with_concurrent(tmp_path: Path) -> None:
    @nbfn.App().function(max_containers=1)
    @nbfn.concurrent(max_inputs=3)
    @nbfn.batched(max_batch_size=2, wait_ms=60_000)
    async def both(marks: list[str]) -> list[int]:
        import asyncio

        add_dot(marks[0])
        while Path(marks[0]).stat().st_size < 3:
            await asyncio.sleep(0.005)
        return [len(marks)] * len(marks)

    assert list(both.map([str(tmp_path / "mark")] * 6)) == [2] * 6


# --- classes -------------------------------------------------------------------------------------


def test_the_methods_of_a_concurrent_class_share_one_object(tmp_path: Path) -> None:
    @nbfn.App().cls(max_containers=1)
    @nbfn.concurrent(max_inputs=4)
    class Meeting:
        @nbfn.enter()
        def begin(self) -> None:
            self.there = 0

        async def _meet(self) -> int:
            import asyncio

            self.there += 1
            while self.there < 4:
                await asyncio.sleep(0.005)
            return self.there

        @nbfn.method()
        async def one(self) -> int:
            return await self._meet()

        @nbfn.method()
        async def other(self) -> int:
            return await self._meet()

    meeting = Meeting()
    calls = [f.spawn() for f in (meeting.one, meeting.other) * 2]
    assert [call.get(20) for call in calls] == [4] * 4


def test_batched_methods_gather_their_own_inputs_only() -> None:
    @nbfn.App().cls(max_containers=1)
    class Sums:
        @nbfn.batched(max_batch_size=2, wait_ms=60_000)
        def doubled(self, xs: list[int]) -> list[tuple[int, int]]:
            return [(len(xs), 2 * x) for x in xs]

        @nbfn.batched(max_batch_size=3, wait_ms=60_000)
        async def squared(self, xs: list[int]) -> list[tuple[int, int]]:
            return [(len(xs), x * x) for x in xs]

        @nbfn.method()
        def plain(self, x: int) -> int:
            return x

    sums = Sums()
    squares = [sums.squared.spawn(x) for x in range(2)]
    assert list(sums.doubled.map(range(4))) == [(2, 0), (2, 2), (2, 4), (2, 6)]
    assert sums.plain.remote(5) == 5
    squares.append(sums.squared.spawn(2))
    assert [call.get(20) for call in squares] == [(3, 0), (3, 1), (3, 4)]
