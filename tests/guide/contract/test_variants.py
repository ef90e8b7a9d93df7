"""Tests of variants of a Function: `with_options` and similar methods (docs/function-api.md#variants)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

import nbfn
from nbfn.exception import InvalidError
from nbfn.protocol.messages import FunctionRow
from tests.conftest import wait_until

app = nbfn.App("variants")


@app.function(max_containers=3, env={"WHO": "base"}, scaledown_window=200)
def who() -> tuple[int, str | None, str | None]:
    return os.getpid(), os.environ.get("WHO"), os.environ.get("WHERE")


@app.function()
def fails(path: str) -> str:
    with open(path, "a") as file:  # noqa: PTH123 - what a user writes
        file.write("x")
    if os.path.getsize(path) < 3:  # noqa: PTH202
        raise ValueError("again")
    return "done"


@app.function()
def count(upto: int) -> object:
    yield from range(upto)


@app.function()
def double(x: int) -> int:
    return 2 * x


@app.function()
def through(x: int) -> int:
    return double.with_options(max_containers=1).remote(x)


def row(function: nbfn.Function) -> FunctionRow:
    wanted = function.hydrate().object_id
    return next(one for one in nbfn.Client.attach().overview().functions if one.id == wanted)


def test_with_options_gives_a_new_lazy_function_and_leaves_the_original_untouched() -> None:
    variant = who.with_options(max_containers=1)
    assert isinstance(variant, nbfn.Function)
    assert not variant.is_hydrated
    with pytest.raises(AttributeError):
        _ = variant.object_id
    assert variant.remote()[1] == "base"
    assert variant.object_id != who.hydrate().object_id
    assert (row(variant).max_containers, row(who).max_containers) == (1, 3)
    assert row(variant).scaledown_window == 200  # what is not given stays


def test_a_variant_has_workers_of_its_own() -> None:
    assert who.with_options(timeout=100).remote()[0] != who.remote()[0]


def test_variants_stack_and_the_later_value_overrides() -> None:
    variant = who.with_options(max_containers=1, buffer_containers=1).with_options(max_containers=2)
    now = row(variant)
    assert (now.max_containers, now.buffer_containers) == (2, 1)


def test_resource_fields_merge_one_by_one() -> None:
    variant = who.with_options(memory=64).with_options(cpu=0.5)._ref.changes
    assert (variant.resources.cpu, variant.resources.memory) == (0.5, 64 * 2**20)


def test_variables_are_replaced_as_a_whole() -> None:
    assert who.with_options(env={"WHERE": "here"}).remote()[1:] == (None, "here")


def test_secrets_are_replaced_as_a_whole() -> None:
    first = nbfn.Secret.from_dict({"WHERE": "first"})
    second = nbfn.Secret.from_dict({"WHO": "second"})
    variant = who.with_options(env={"A": "b"}, secrets=[first]).with_options(secrets=[second])
    assert variant.remote()[1:] == ("second", None)


def test_retries_of_a_variant(tmp_path: object) -> None:
    path = f"{tmp_path}/tries"
    quick = nbfn.Retries(max_retries=2, initial_delay=0.0)
    assert fails.with_options(retries=quick).remote(path) == "done"


def test_the_timeout_of_a_variant() -> None:
    @app.function()
    def sleep() -> None:
        import time

        time.sleep(30)

    with pytest.raises(nbfn.exception.FunctionTimeoutError, match=r"timeout of 0\.2 s"):
        sleep.with_options(timeout=0.2).remote()


def test_two_variants_with_the_same_options_share_a_pool() -> None:
    first, second = who.with_options(max_containers=1), who.with_options(max_containers=1)
    assert first is not second
    assert first.remote()[0] == second.remote()[0]
    assert first.object_id == second.object_id


def test_a_binding_is_remembered_so_that_it_costs_one_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    double.with_options(timeout=33).remote(1)
    client = nbfn.Client.attach()
    asked: list[object] = []
    request = type(client).request

    async def counted(self: object, make: object) -> object:
        asked.append(make)
        return await request(self, make)  # type: ignore[arg-type]

    monkeypatch.setattr(type(client), "request", counted)
    assert double.with_options(timeout=33).remote(2) == 4
    assert asked == []


def test_a_variant_can_be_called_in_every_way() -> None:
    variant = double.with_options(timeout=44)
    assert list(variant.map([1, 2])) == [2, 4]
    assert list(variant.starmap([(3,)])) == [6]
    variant.for_each([1])
    assert variant.spawn(4).get() == 8
    assert variant.local(5) == 10
    assert variant.get_raw_f() is double.get_raw_f()
    assert list(count.with_options(timeout=44).remote_gen(3)) == [0, 1, 2]
    assert double.with_options(timeout=44).is_generator is False


def test_a_variant_can_be_awaited() -> None:
    assert asyncio.run(double.with_options(timeout=44).remote.aio(1)) == 2


def test_a_new_version_of_the_function_is_one_of_its_variants() -> None:
    namespace = {"app": app, "by": 2}
    code = "def times(x): return by * x\ntimes = app.function()(times)"
    exec(code, namespace)
    variant = namespace["times"].with_options(max_containers=1)  # type: ignore[attr-defined]
    assert variant.remote(2) == 4
    before = variant.object_id
    namespace["by"] = 3
    assert variant.remote(2) == 6
    assert variant.object_id == before


def test_with_concurrency() -> None:
    variant = double.with_concurrency(max_inputs=3, target_inputs=2)
    assert variant.remote(3) == 6
    assert variant._ref.changes.concurrency.max_inputs == 3
    again = variant.with_concurrency(max_inputs=1)
    assert again._ref.changes.concurrency.target_inputs == 1
    assert again.remote(3) == 6


def test_with_batching() -> None:
    @app.function()
    def doubled(xs: list[int]) -> list[int]:
        return [2 * x for x in xs]

    variant = doubled.with_batching(max_batch_size=4, wait_ms=50)
    assert sorted(variant.map([1, 2, 3, 4])) == [2, 4, 6, 8]
    assert doubled.remote([1, 2]) == [2, 4]


def test_what_cannot_be_batched() -> None:
    with pytest.raises(InvalidError, match="yields"):
        count.with_batching(max_batch_size=2, wait_ms=1)
    with pytest.raises(InvalidError, match="max_batch_size"):
        double.with_batching(max_batch_size=0, wait_ms=1)


def test_min_containers_is_not_in_the_list() -> None:
    with pytest.raises(InvalidError, match="no min_containers.*keep_warm"):
        double.with_options(min_containers=1)
    with pytest.raises(InvalidError, match="no 'schedule'"):
        double.with_options(schedule=nbfn.Period(days=1))
    with pytest.raises(InvalidError, match="Unknown option 'max_container'"):
        double.with_options(max_container=1)


def test_older_names_are_understood() -> None:
    assert row(double.with_options(concurrency_limit=1)).max_containers == 1


def test_values_are_checked_at_once_and_together_at_the_first_use() -> None:
    with pytest.raises(InvalidError, match="max_containers"):
        double.with_options(max_containers=0)

    @app.function(min_containers=2)
    def warm() -> None: ...

    with pytest.raises(InvalidError, match=r"min_containers \(2\) is above max_containers \(1\)"):
        warm.with_options(max_containers=1).remote()
    warm.keep_warm(0)


def test_a_variant_can_be_kept_warm_and_its_function_is_not() -> None:
    variant = double.with_options(timeout=55)
    variant.keep_warm(1)
    wait_until(lambda: variant.get_current_stats().num_total_runners == 1)
    assert (row(variant).min_containers, row(double).min_containers) == (1, 0)
    assert variant.update_autoscaler(min_containers=0, max_containers=1).max_containers == 1


def test_variants_of_what_was_found_by_name() -> None:
    app.deploy()
    found = nbfn.Function.from_name("variants", "who").with_options(max_containers=2)
    assert repr(found) == "Function.from_name('variants', 'who').with_options(max_containers=2)"
    assert not found.is_hydrated
    assert row(found).max_containers == 2
    code = (
        "import nbfn; f = nbfn.Function.from_name('variants', 'who').with_options(max_containers=2);"
        "f.remote(); print(f.object_id)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == found.object_id


def test_variants_inside_of_workers_and_as_arguments() -> None:
    @app.function()
    def apply(function: nbfn.Function, x: int) -> int:
        return function.remote(x)

    assert through.remote(3) == 6
    assert apply.remote(double.hydrate().with_options(timeout=66), 4) == 8


def test_in_lists_a_variant_is_told_from_its_function() -> None:
    assert row(double.with_options(env={"TOKEN": "hush"}, timeout=77)).name == (
        "double.with_options(env=…, timeout=77)"
    )
