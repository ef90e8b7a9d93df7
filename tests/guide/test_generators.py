"""Tests of generators that run on a worker and yield values one by one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import nbfn
from nbfn.exception import InvalidError
from tests.conftest import wait_until

app = nbfn.App()


@app.function()
def count(n: int) -> Iterator[int]:
    yield from range(n)


@app.function()
def plain() -> int:
    return 1


def test_items_come_in_order() -> None:
    assert list(count.remote_gen(5)) == [0, 1, 2, 3, 4]


def test_many_items() -> None:
    assert list(count.remote_gen(5000)) == list(range(5000))


def test_items_come_while_the_generator_runs(tmp_path: Path) -> None:
    @app.function()
    def stop_and_go(path: Path) -> Iterator[str]:
        yield "first"
        while not path.exists():
            time.sleep(0.005)
        yield "second"

    items = stop_and_go.remote_gen(tmp_path / "go")
    assert next(items) == "first"
    (tmp_path / "go").touch()
    assert list(items) == ["second"]


def test_an_async_generator_looks_the_same() -> None:
    @app.function()
    async def letters() -> AsyncIterator[str]:
        for letter in "abc":
            await asyncio.sleep(0)
            yield letter

    assert list(letters.remote_gen()) == ["a", "b", "c"]


def test_async_for() -> None:
    async def collect() -> list[int]:
        return [x async for x in count.remote_gen.aio(3)]

    assert asyncio.run(collect()) == [0, 1, 2]


def test_an_error_comes_after_the_items_before_it() -> None:
    @app.function()
    def breaking() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("broken")

    items = breaking.remote_gen()
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_leaving_early_runs_its_finally(tmp_path: Path) -> None:
    @app.function()
    def endless(path: Path) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            path.touch()

    for _ in endless.remote_gen(tmp_path / "ended"):
        break
    wait_until((tmp_path / "ended").exists)


def test_a_generator_is_called_with_remote_gen_only() -> None:
    assert count.is_generator
    assert not plain.is_generator
    with pytest.raises(InvalidError, match="Use .remote_gen"):
        count.remote(3)
    with pytest.raises(InvalidError, match="Use .remote_gen"):
        count.spawn(3)
    with pytest.raises(InvalidError, match="cannot be called with .map"):
        list(count.map([1]))
    with pytest.raises(InvalidError, match="not a generator"):
        list(plain.remote_gen())
