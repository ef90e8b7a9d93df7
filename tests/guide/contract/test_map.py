"""Tests of `map`, `starmap` and `for_each` (docs/function-api.md#maps)."""

from __future__ import annotations

import asyncio
import gc
import io
import itertools
import logging
import re
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn.client.calls import map_call
from nbfn.runtime import console_output
from tests.conftest import wait_until
from tests.guide.contract.functions import add, count_up, fail_at_2, square

app = nbfn.App()


@app.function()
def nothing(x: object) -> None:
    return None


@app.function(max_containers=2)
def sleep_for(x: float) -> float:
    time.sleep(abs(x))
    if x < 0:
        raise ValueError(x)
    return x


async def ticking(*values: int) -> AsyncIterator[int]:
    for value in values:
        await asyncio.sleep(0)
        yield value


# --- inputs and call shape -----------------------------------------------------------------------


def test_iterables_are_zipped_and_the_shortest_ends_it() -> None:
    assert list(add.map([1, 2, 3], [10, 20])) == [11, 22]


def test_no_iterables_yield_nothing() -> None:
    assert list(square.map()) == []


def test_kwargs_is_one_dict_for_all_and_is_not_changed() -> None:
    kwargs = {"b": 10, "c": 100}
    assert list(add.map([1, 2], kwargs=kwargs)) == [111, 112]
    assert list(add.starmap([(1,), (2,)], kwargs={"c": 5})) == [6, 7]
    assert kwargs == {"b": 10, "c": 100}


def test_starmap_takes_lists_tuples_any_iterable_and_the_characters_of_a_string() -> None:
    assert list(add.starmap([[1, 2], (3, 4), iter((5, 6))])) == [3, 7, 11]
    assert list(add.starmap(["ab"], kwargs={"c": "!"})) == ["ab!"]


def test_starmap_with_an_item_that_is_not_iterable_is_a_type_error_at_the_consumer() -> None:
    results = add.starmap([(1, 2), 7])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="'int' object is not iterable"):
        list(results)


def test_for_each_returns_none_and_the_first_failure_raises_unless_ignored() -> None:
    assert square.for_each(range(5)) is None
    with pytest.raises(ValueError, match="ohno"):
        fail_at_2.for_each(range(5))
    assert fail_at_2.for_each(range(5), ignore_exceptions=True) is None


def test_a_string_gives_characters_and_a_dict_its_keys() -> None:
    assert list(add.map("ab", kwargs={"b": "-", "c": "!"})) == ["a-!", "b-!"]
    assert list(square.map({3: "x", 4: "y"})) == [9, 16]


def test_what_is_no_iterable_is_told_at_the_first_result() -> None:
    results = square.map(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'int' object is not iterable"):
        list(results)


# --- laziness and the result object --------------------------------------------------------------


def test_the_call_pulls_nothing_checks_nothing_and_asks_nobody() -> None:
    pulled: list[int] = []

    def inputs() -> Iterator[int]:
        pulled.append(1)
        yield 1

    unknown = nbfn.Function.from_name("no-such-app", "f")
    results = [square.map(inputs()), unknown.map([1]), count_up.map([1])]
    assert pulled == []
    for result in results:
        result.close()


def test_len_is_not_supported_and_next_is() -> None:
    results = square.map([2, 3])
    with pytest.raises(TypeError):
        len(results)  # type: ignore[arg-type]
    assert next(results) == 4
    assert next(iter(results)) == 9


def test_results_are_single_use() -> None:
    results = square.map([1, 2])
    assert list(results) == [1, 4]
    assert list(results) == []


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: square.map([1]), "Function.map"),
        (lambda: square.map.aio([1]), "Function.map.aio"),
        (lambda: add.starmap([(1, 2)]), "Function.starmap"),
        (lambda: add.starmap.aio([(1, 2)]), "Function.starmap.aio"),
        (lambda: count_up.remote_gen(1), "Function.remote_gen"),
        (lambda: count_up.remote_gen.aio(1), "Function.remote_gen.aio"),
    ],
)
def test_a_result_never_iterated_is_told_to_the_log(
    make: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "nbfn.client"):
        make()
        gc.collect()
    (record,) = caplog.records
    said = f"The result of {name} was not consumed, so the call will never be executed."
    assert record.getMessage().startswith(said)
    assert "list(...)" in record.getMessage()


def test_an_iterated_result_is_not_told_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "nbfn.client"):
        list(square.map([1]))
        square.for_each([1])
        for _ in square.map(range(3)):
            break
        gc.collect()
    assert caplog.records == []


def test_the_repr_does_not_run_it() -> None:
    results = square.map([1])
    assert "Function.map" in repr(results)
    results.close()


def test_wrong_kinds_of_function_are_told_at_the_first_result() -> None:
    with pytest.raises(nbfn.exception.InvalidError, match=r"generator .* \.map\(\.\.\.\)"):
        list(count_up.map([1]))
    with pytest.raises(nbfn.exception.InvalidError, match=r"generator .* \.starmap\(\.\.\.\)"):
        list(count_up.starmap([(1,)]))
    with pytest.raises(nbfn.exception.InvalidError, match=r"generator .* \.for_each\(\.\.\.\)"):
        count_up.for_each([1])
    with pytest.raises(nbfn.exception.NotFoundError):
        list(nbfn.Function.from_name("no-such-app", "f").map([1]))


# --- threads and event loops ---------------------------------------------------------------------


def test_a_plain_list_of_a_map_works_where_an_event_loop_runs() -> None:
    async def cell() -> list[int]:
        return list(square.map(range(3)))

    assert asyncio.run(cell()) == [0, 1, 4]


def test_async_for_takes_both_forms() -> None:
    async def both() -> list[list[int]]:
        return [
            [x async for x in square.map(range(3))],
            [x async for x in square.map.aio(range(3))],
        ]

    assert asyncio.run(both()) == [[0, 1, 4]] * 2


def test_async_iterables_are_inputs_of_a_plain_map() -> None:
    assert list(square.map(ticking(1, 2, 3))) == [1, 4, 9]


def test_async_iterables_are_inputs_of_a_plain_map_where_an_event_loop_runs() -> None:
    async def cell() -> list[int]:
        return list(square.map(ticking(1, 2, 3)))

    assert asyncio.run(cell()) == [1, 4, 9]


def test_async_and_plain_iterables_mix_in_one_zip_in_both_forms() -> None:
    async def cell() -> list[int]:
        return [x async for x in add.map.aio(ticking(1, 2, 3), [10, 20, 30, 40])]

    assert asyncio.run(cell()) == [11, 22, 33]
    assert list(add.map([10, 20, 30, 40], ticking(1, 2, 3))) == [11, 22, 33]


def test_starmap_for_each_and_spawn_map_take_async_iterables() -> None:
    async def pairs() -> AsyncIterator[tuple[int, int]]:
        yield 1, 2
        yield 3, 4

    async def cell() -> list[int]:
        await square.for_each.aio(ticking(1, 2))
        call = await square.spawn_map.aio(ticking(5, 6))
        return [x async for x in call.iter.aio()]

    assert list(add.starmap(pairs())) == [3, 7]
    assert asyncio.run(cell()) == [25, 36]


def test_an_async_iterable_of_map_aio_runs_on_the_callers_loop() -> None:
    async def cell() -> list[int]:
        queue: asyncio.Queue[int] = asyncio.Queue()
        loops = set()

        async def from_queue() -> AsyncIterator[int]:
            while (value := await queue.get()) >= 0:
                loops.add(asyncio.get_running_loop())
                yield value

        results = aiter(square.map.aio(from_queue()))
        got = []
        for value in (3, 4, 5):  # the next input is available only after the result of this one
            queue.put_nowait(value)
            got.append(await anext(results))
        queue.put_nowait(-1)
        got += [x async for x in results]
        assert loops == {asyncio.get_running_loop()}
        return got

    assert asyncio.run(cell()) == [9, 16, 25]


def test_a_map_feeds_a_map_lazily() -> None:
    go_on = threading.Event()

    def inputs() -> Iterator[int]:
        yield 2
        assert go_on.wait(10)
        yield 3

    results = square.map(square.map(inputs()))
    assert next(results) == 16
    go_on.set()
    assert list(results) == [81]


def test_maps_can_be_zipped_by_a_map() -> None:
    assert list(add.map(square.map([1, 2]), square.map([3, 4]))) == [10, 20]


def test_leaving_a_map_ends_the_map_that_feeds_it() -> None:
    ended = threading.Event()

    def inputs() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            ended.set()

    for value in square.map(square.map(inputs())):
        if value >= 16:
            break
    assert ended.wait(10)


def test_leaving_a_map_ends_the_map_that_it_waits_for(tmp_path: Path) -> None:
    @app.function(name="stuck")
    def stuck(path: Path) -> int:
        try:
            path.joinpath("begun").touch()
            time.sleep(60)
        finally:
            path.joinpath("ended").touch()
        return 1

    results = square.map(stuck.map([tmp_path]))
    taker = threading.Thread(target=lambda: list(results))
    taker.start()
    wait_until((tmp_path / "begun").exists)
    results.close()
    taker.join(10)
    assert not taker.is_alive()
    wait_until((tmp_path / "ended").exists)


def test_nested_maps_work_in_workers() -> None:
    @app.function(name="sum_of_squares")
    def sum_of_squares(n: int) -> int:
        return sum(square.map(range(n)))

    assert list(sum_of_squares.map([2, 3, 4])) == [1, 5, 14]


# --- order, None, failures -----------------------------------------------------------------------


def test_a_million_inputs_are_not_pulled_before_they_are_needed() -> None:
    pulled = 0

    def inputs() -> Iterator[int]:
        nonlocal pulled
        while True:
            pulled += 1
            yield pulled

    results = square.map(inputs())
    assert list(itertools.islice(results, 10)) == [n * n for n in range(1, 11)]
    results.close()
    assert pulled <= 10_000


def test_none_results_are_results() -> None:
    assert list(nothing.map(range(3))) == [None] * 3
    assert list(nothing.map(range(3), order_outputs=False)) == [None] * 3


def test_unordered_results_come_as_they_arrive() -> None:
    list(sleep_for.map([0.01, 0.01]))  # both workers have started
    assert list(sleep_for.map([0.6, 0.01], order_outputs=False)) == [0.01, 0.6]


def test_the_first_failure_to_arrive_is_raised_before_earlier_results_are_there() -> None:
    list(sleep_for.map([0.01, 0.01]))
    begun = time.monotonic()
    results = sleep_for.map([20.0, -0.01])
    with pytest.raises(ValueError, match=r"-0\.01"):
        next(results)
    assert time.monotonic() - begun < 10
    with pytest.raises(StopIteration):
        next(results)


def test_results_before_the_failure_are_yielded_first() -> None:
    got: list[float] = []

    def take() -> None:
        for value in sleep_for.map([0.01, 0.01, -0.5]):
            got.append(value)

    with pytest.raises(ValueError, match=r"-0\.5"):
        take()
    assert got == [0.01, 0.01]


def test_a_returned_exception_is_the_plain_one_in_the_place_of_its_result() -> None:
    first, second, third, fourth = fail_at_2.map(
        range(4), return_exceptions=True, wrap_returned_exceptions=False
    )
    assert (first, second, fourth) == (0, 1, 3)
    assert type(third) is ValueError
    assert "ohno" in repr(third)


def test_timeouts_and_crashes_are_returnable() -> None:
    @app.function(name="endless", timeout=1)
    def endless(x: int) -> None:
        time.sleep(60)

    (late,) = endless.map([1], return_exceptions=True)
    assert isinstance(late, nbfn.exception.FunctionTimeoutError)


def test_an_error_of_the_input_is_raised_whatever_is_returned() -> None:
    def inputs() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    async def async_inputs() -> AsyncIterator[int]:
        yield 1
        raise LookupError("no more")

    for broken in (inputs(), async_inputs()):
        begun = time.monotonic()
        with pytest.raises(LookupError, match="no more"):
            list(square.map(broken, return_exceptions=True))
        assert time.monotonic() - begun < 10


def test_an_argument_that_cannot_be_pickled_is_raised_whatever_is_returned() -> None:
    with pytest.raises(nbfn.exception.SerializationError):
        list(square.map([threading.Lock()], return_exceptions=True))  # type: ignore[list-item]


def test_a_failure_of_the_map_that_feeds_is_raised() -> None:
    with pytest.raises(ValueError, match="ohno"):
        list(square.map(fail_at_2.map(range(4))))


def test_a_failing_map_starts_no_more_inputs(tmp_path: Path) -> None:
    @app.function(name="fail_first", max_containers=1)
    def fail_first(x: int) -> None:
        if x == 0:
            raise ValueError(x)
        time.sleep(0.05)
        (tmp_path / str(x)).touch()

    with pytest.raises(ValueError, match="0"):
        list(fail_first.map(range(200)))
    wait_until(lambda: fail_first.get_current_stats().backlog == 0)
    assert len(list(tmp_path.iterdir())) < 100


# --- leaving early -------------------------------------------------------------------------------


class Watched:
    """An endless iterator of inputs that records when it is closed."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def plain(self) -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            self.ended.set()

    async def asynchronous(self) -> AsyncIterator[int]:
        try:
            for value in itertools.count():
                yield value
        finally:
            self.ended.set()


@pytest.mark.parametrize("kind", ["plain", "asynchronous"])
def test_break_close_and_garbage_collection_close_the_input_generator(kind: str) -> None:
    broken, closed, collected = Watched(), Watched(), Watched()
    for _ in square.map(getattr(broken, kind)()):
        break
    results = square.map(getattr(closed, kind)())
    next(results)
    results.close()
    results = square.map(getattr(collected, kind)())
    next(results)
    del results
    gc.collect()
    for watched in (broken, closed, collected):
        assert watched.ended.wait(10)


@pytest.mark.parametrize("kind", ["plain", "asynchronous"])
def test_leaving_an_async_loop_closes_the_input_generator(kind: str) -> None:
    async def cell() -> Watched:
        watched = Watched()
        async for _ in square.map.aio(getattr(watched, kind)()):
            break
        while not watched.ended.is_set():
            await asyncio.sleep(0.005)
        return watched

    assert asyncio.run(asyncio.wait_for(cell(), 10)).ended.is_set()


def test_an_input_generator_that_fails_when_closed_is_told_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def inputs() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            raise LookupError("cannot close")

    with caplog.at_level(logging.ERROR, "nbfn.client"):
        for _ in square.map(inputs()):
            break
        wait_until(lambda: "could not be closed" in caplog.text)
    assert "cannot close" in caplog.text


def test_leaving_while_an_async_input_is_awaited_does_not_hang() -> None:
    ended = threading.Event()

    async def never() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(3600)
            yield 2
        finally:
            ended.set()

    results = square.map(never())
    assert next(results) == 1
    results.close()
    assert ended.wait(10)


def test_an_interrupt_closes_the_input_and_cancels_the_call(tmp_path: Path) -> None:
    watched = Watched()

    @app.function(name="long")
    def long(x: int) -> None:
        try:
            (tmp_path / "begun").touch()
            time.sleep(60)
        finally:
            (tmp_path / "ended").touch()

    def interrupt() -> None:
        wait_until((tmp_path / "begun").exists)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        list(long.map(watched.plain()))
    thread.join()
    assert watched.ended.wait(10)
    wait_until((tmp_path / "ended").exists)


def test_a_map_that_somebody_else_cancels_comes_to_its_end() -> None:
    @app.function(name="cancel_all", max_containers=1)
    def cancel_all(x: int) -> int:
        if x == 3:
            nbfn.FunctionCall.from_id(nbfn.current_function_call_id() or "").cancel()
        return x

    results = list(
        itertools.islice(cancel_all.map(itertools.count(), return_exceptions=True), 10_000)
    )
    assert results[:3] == [0, 1, 2]
    assert len(results) < 10_000
    assert isinstance(results[-1], nbfn.exception.RemoteError)
    with pytest.raises(nbfn.exception.RemoteError, match="cancelled"):
        list(cancel_all.map(itertools.count()))


# --- retries, empty and tiny inputs --------------------------------------------------------------


def test_a_failure_surfaces_only_when_retries_are_used_up(tmp_path: Path) -> None:
    @app.function(name="third_time", retries=nbfn.Retries(max_retries=2, initial_delay=0.0))
    def third_time(x: int) -> int:
        tried = tmp_path / str(x)
        with tried.open("a") as file:
            file.write(".")
        if len(tried.read_text()) < 3:
            raise ValueError("again")
        return x

    assert list(third_time.map([1, 2, 3])) == [1, 2, 3]


def test_an_empty_iterable_ends_at_once() -> None:
    square.remote(1)
    begun = time.monotonic()
    assert list(square.map([])) == []
    assert list(square.map(x for x in ())) == []
    square.for_each([])
    assert time.monotonic() - begun < 1


def test_one_element_is_a_list_of_one() -> None:
    assert list(square.map([7])) == [49]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_map_has_a_row_of_progress_where_output_is_enabled(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)

    @nbfn.App().function()
    def rowed(x: int) -> int:
        if x == 7:
            raise ValueError(x)
        return x

    assert list(rowed.map(range(3))) == [0, 1, 2]  # prints no progress
    with console_output.redirected_to(console_output.Output(stream)):
        list(rowed.map(range(20), return_exceptions=True))
    *_, last = stream.getvalue().replace("\r", "\n").splitlines()
    assert re.search(r"rowed  20/20  1 failed  \d+\.\d s", last)
    assert ("\x1b[2K" in stream.getvalue()) is terminal


def test_the_debug_log_counts_what_a_map_has_done(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(map_call, "LOG_EVERY", 0.0)
    with caplog.at_level(logging.DEBUG, "nbfn.client"):
        assert list(square.map(range(5))) == [0, 1, 4, 9, 16]

        def last() -> str:
            said = [r.getMessage() for r in caplog.records]
            return next((text for text in reversed(said) if "map of 'square'" in text), "")

        # The loop may get the last result before the thread of the client has logged its arrival.
        wait_until(
            lambda: "5 inputs pulled, 0 of them not sent, 5 received, 0 of them failed" in last()
        )
