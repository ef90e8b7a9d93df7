"""Tests of maps; docs/function-api.md#maps and `contract/test_map.py` have all details."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import nbfn
from tests.guide.contract.functions import add, fail_at_2, square

app = nbfn.App()


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


def test_for_each_runs_for_the_effect(tmp_path: Path) -> None:
    @app.function()
    def touch(name: str) -> None:
        (tmp_path / name).touch()

    assert touch.for_each(["a", "b"]) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_unordered_results_come_as_they_are_ready() -> None:
    list(slow_for.map([0.01, 0.01]))  # both workers are there
    assert list(slow_for.map([0.5, 0.01], order_outputs=False)) == [0.01, 0.5]


def test_a_failure_is_raised() -> None:
    with pytest.raises(ValueError, match="ohno"):
        list(fail_at_2.map(range(5)))


def test_exceptions_can_take_the_place_of_results() -> None:
    results = list(fail_at_2.map(range(4), return_exceptions=True))
    assert results[:2] == [0, 1]
    assert isinstance(results[2], ValueError)
    assert results[3] == 3


def test_the_result_can_be_taken_with_next_and_only_once() -> None:
    results = square.map(range(3))
    assert next(results) == 0
    assert list(results) == [1, 4]
    assert list(results) == []


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


def test_one_map_can_feed_another() -> None:
    assert list(square.map(square.map(range(4)))) == [0, 1, 16, 81]


def test_a_hundred_thousand_inputs() -> None:
    assert sum(no_op.map(range(100_000))) == sum(range(100_000))


def test_what_cannot_be_pickled_is_named_before_anything_is_sent() -> None:
    with pytest.raises(
        nbfn.exception.SerializationError, match=r"'x' of 'square' \(_thread.lock\)"
    ):
        list(square.map([threading.Lock()]))
