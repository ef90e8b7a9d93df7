"""Tests of the members of a Function other than its calls (docs/function-api.md#functions)."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import nbfn
import nbfn as modal
from nbfn.exception import (
    AsyncUsageWarning,
    ConnectionError,
    ExecutionError,
    InvalidError,
    NotFoundError,
)
from tests.conftest import wait_until

app = modal.App("contract-1")


@app.function()
def square(x: int) -> int:
    """Square a number."""
    return x * x


@app.function()
async def later(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


@app.function()
def counted(upto: int) -> Iterator[int]:
    yield from range(upto)


@app.function()
async def ticks(upto: int) -> AsyncIterator[int]:
    for n in range(upto):
        yield n


@pytest.fixture(scope="module", autouse=True)
def deployed(hub_home: object) -> None:
    app.deploy()


def found(name: str = "square", **more: Any) -> modal.Function[..., Any]:
    return modal.Function.from_name("contract-1", name, **more)


# --- common behaviour ----------------------------------------------------------------------------


def test_every_blocking_method_has_aio_on_the_instance() -> None:
    async def all_of_them() -> None:
        assert await square.remote.aio(3) == 9
        assert [y async for y in square.map.aio([1, 2])] == [1, 4]
        assert [y async for y in square.starmap.aio([(1,), (2,)])] == [1, 4]
        assert [y async for y in counted.remote_gen.aio(2)] == [0, 1]
        assert await (await square.spawn.aio(3)).get.aio() == 9
        assert await square.hydrate.aio() is square
        await square.for_each.aio([1])
        await square.keep_warm.aio(0)
        assert (await square.update_autoscaler.aio()).min_containers == 0
        assert (await square.get_current_stats.aio()).backlog == 0
        assert (await modal.Function.lookup.aio("contract-1", "square")).is_hydrated

    asyncio.run(all_of_them())


def test_aio_resolves_on_the_class_too() -> None:
    assert modal.Function.remote(square, 3) == 9
    assert asyncio.run(modal.Function.remote.aio(square, 3)) == 9
    assert list(modal.Function.map.aio(square, [1])) == [1]


def test_the_blocking_form_works_from_a_coroutine_with_a_warning() -> None:
    async def cell() -> tuple[int, list[int]]:
        return square.remote(2), list(square.map([1, 2]))

    with pytest.warns(AsyncUsageWarning, match=r"await ….remote.aio") as caught:
        assert asyncio.run(cell()) == (4, [1, 4])
    assert Path(caught[0].filename) == Path(__file__)


def test_in_a_notebook_where_a_loop_always_runs_there_is_no_such_warning() -> None:
    code = """
import asyncio, warnings
from IPython.core.interactiveshell import InteractiveShell
import nbfn as modal

shell = InteractiveShell.instance()
warnings.simplefilter("error")

async def cell():
    return modal.Function.from_name("contract-1", "square").remote(3)

print(asyncio.run(cell()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "9\n", done.stderr


@pytest.mark.filterwarnings("default")  # an error in the caller is an error in the worker too
def test_an_async_function_that_blocks_its_workers_loop_is_warned_of(
    capfd: pytest.CaptureFixture[str],
) -> None:
    @app.function()
    async def blocks() -> int:
        return square.remote(3)

    assert blocks.remote() == 9
    assert "AsyncUsageWarning: .remote(...) blocks the event loop" in capfd.readouterr().err


def test_live_generators_hydrate_at_the_first_item() -> None:
    missing = found("missing")
    items, results = missing.remote_gen(1), missing.map([1])
    with pytest.raises(NotFoundError):
        next(items)
    with pytest.raises(NotFoundError):
        list(results)


def test_hydration_is_idempotent() -> None:
    assert square.hydrate().hydrate() is square


def test_ids_carry_their_type() -> None:
    call = square.spawn(1)
    assert square.object_id.startswith("fu-")
    assert str(app.app_id).startswith("ap-")
    assert call.object_id.startswith("fc-")


def test_a_repr_reads_like_what_made_it() -> None:
    assert repr(square) == "<Function 'square' of App('contract-1')>"
    assert repr(found()) == "Function.from_name('contract-1', 'square')"
    assert repr(found(environment_name="dev")) == (
        "Function.from_name('contract-1', 'square', environment_name='dev')"
    )


def test_equality_is_identity_and_a_function_is_true() -> None:
    one, other = found(), found()
    assert one != other
    assert len({one, other, one}) == 2
    assert bool(one)
    assert square == square


def test_the_docstring_and_the_name_are_those_of_the_def() -> None:
    assert (square.__doc__, square.__name__) == ("Square a number.", "square")
    assert inspect.signature(square.remote)


# --- the constructor and a direct call -----------------------------------------------------------


def test_a_function_has_no_constructor() -> None:
    with pytest.raises(InvalidError, match=r"@app\.function\(\) or Function\.from_name"):
        modal.Function()
    with pytest.raises(InvalidError):
        modal.Function(square.get_raw_f(), name="x")


def test_subscripting_does_not_fail() -> None:
    for parameters in (([int], int), ([int], int, int), (..., Any), (..., Any, Any)):
        assert modal.Function[parameters] is not None  # type: ignore[index]


def test_calling_it_is_a_type_error_that_says_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"'Function' object is not callable.*remote.*local"):
        square(1)  # type: ignore[operator]


def test_a_marked_function_without_an_app_stays_a_partial_object() -> None:
    @modal.method()
    def alone(self: object) -> int:
        return 1

    assert "not registered" in repr(alone)
    with pytest.raises(InvalidError, match=r"@app\.function\(\) or @app\.cls\(\)"):
        alone(None)  # type: ignore[operator]


def test_a_marked_function_that_never_became_a_function_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def forgotten() -> None:
        @modal.concurrent(max_inputs=2)
        def idle() -> None: ...

    def taken() -> None:
        @app.function()
        @modal.concurrent(max_inputs=2)
        def busy() -> None: ...

    with caplog.at_level(logging.WARNING, "nbfn"):
        taken()
        assert not caplog.records
        forgotten()
    (record,) = caplog.records
    assert "'idle' was marked but never became a Function" in record.getMessage()


# --- hydrate -------------------------------------------------------------------------------------


def test_hydrate_returns_the_function_so_that_it_chains() -> None:
    assert found().hydrate().object_id == square.object_id


def test_a_property_of_what_is_not_hydrated_is_an_attribute_error() -> None:
    handle = found()
    assert not handle.is_hydrated
    with pytest.raises(AttributeError, match="hydrate"):
        _ = handle.object_id
    assert handle.hydrate().is_hydrated


def test_an_explicit_client_is_the_one_used() -> None:
    client = modal.Client()
    handle = found().hydrate(client)
    assert handle.remote(3) == 9
    client.close()
    with pytest.raises(ConnectionError, match="was closed"):
        handle.remote(3)
    assert handle.hydrate(modal.Client.attach()).remote(3) == 9


def test_from_name_and_lookup_use_the_client_they_are_given() -> None:
    client = modal.Client()
    assert found(client=client).remote(2) == 4
    assert modal.Function.lookup("contract-1", "square", client=client).remote(2) == 4
    client.close()
    with pytest.raises(ConnectionError):
        modal.Function.lookup("contract-1", "square", client=client)


def test_a_call_is_followed_by_the_client_that_made_it_or_that_it_is_given() -> None:
    client = modal.Client()
    call = found(client=client).spawn(5)
    assert call.get(timeout=30) == 25
    given = modal.FunctionCall.from_id(call.object_id, client)
    assert given.get(timeout=30) == 25
    client.close()
    for handle in (call, given):
        with pytest.raises(ConnectionError, match="was closed"):
            handle.num_inputs()
    assert call.hydrate(modal.Client.attach()).num_inputs() == 1


def test_what_is_no_client_is_refused() -> None:
    with pytest.raises(InvalidError, match=r"must be an nbfn\.Client"):
        found().hydrate("tcp://somewhere")  # type: ignore[arg-type]


# --- keep_warm and update_autoscaler -------------------------------------------------------------


def test_keep_warm_is_a_floor_and_zero_takes_it_away() -> None:
    handle = found("later")
    handle.keep_warm(1)
    wait_until(lambda: handle.get_current_stats().num_total_runners == 1)
    handle.keep_warm(1)  # a total, not an increment
    assert handle.update_autoscaler().min_containers == 1
    handle.keep_warm(0)
    assert handle.update_autoscaler().min_containers == 0


def test_what_update_autoscaler_is_not_told_stays() -> None:
    square.update_autoscaler(max_containers=5, scaledown_window=33)
    settings = square.update_autoscaler(buffer_containers=1)
    assert dataclasses.asdict(settings) == {
        "min_containers": 0,
        "max_containers": 5,
        "buffer_containers": 1,
        "scaledown_window": 33,
    }


def test_a_redeploy_resets_the_settings_to_the_decorators() -> None:
    def deploy(body: int) -> modal.Function[[], int]:
        own = modal.App("resets")

        @own.function(max_containers=4, name="f")
        def f() -> int:
            return body

        own.deploy()
        return f

    deploy(1).update_autoscaler(max_containers=9)
    assert deploy(2).update_autoscaler().max_containers == 4


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"min_containers": 3, "max_containers": 2}, "above"),
        ({"min_containers": -1}, "0 or more"),
        ({"max_containers": 0}, "1 or more"),
        ({"buffer_containers": 1.5}, "whole number"),
        ({"scaledown_window": 0}, "> 0"),
        ({"scaledown_window": 1201}, "1200"),
    ],
)
def test_pool_settings_are_checked(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        square.update_autoscaler(**wrong)


def test_a_floor_above_the_ceiling_in_force_is_refused() -> None:
    square.update_autoscaler(max_containers=5)
    with pytest.raises(InvalidError, match="max_containers"):
        square.keep_warm(6)


# --- from_name and lookup ------------------------------------------------------------------------


def test_from_name_asks_nothing_of_anybody() -> None:
    assert not modal.Function.from_name("no-such-app", "f").is_hydrated


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "🎉"])
def test_only_a_name_that_cannot_be_one_fails_at_once(name: str) -> None:
    with pytest.raises(InvalidError):
        modal.Function.from_name("contract-1", name)
    with pytest.raises(InvalidError):
        modal.Function.from_name(name, "square")


def test_a_dotted_name_points_at_the_class() -> None:
    with pytest.raises(InvalidError, match=r"Cls\.from_name\('contract-1', 'Model'\)\(\)\.predict"):
        modal.Function.from_name("contract-1", "Model.predict")


def test_the_older_names_of_the_parameters_are_taken() -> None:
    assert found().remote(2) == 4
    assert modal.Function.from_name("contract-1", tag="square").remote(2) == 4
    assert modal.Function.lookup("contract-1", tag="square").remote(2) == 4
    assert modal.Function.from_name("contract-1", "square", None, "").remote(2) == 4
    with pytest.raises(InvalidError, match="once"):
        modal.Function.from_name("contract-1", "square", tag="square")
    with pytest.raises(InvalidError, match="once"):
        modal.Function.from_name("contract-1")


def test_a_missing_name_fails_at_the_first_use_and_is_told() -> None:
    with pytest.raises(NotFoundError, match=r"'squate' is not in app 'contract-1'.*square"):
        found("squate").remote(1)
    with pytest.raises(NotFoundError, match="No app 'contract-2' is deployed"):
        modal.Function.from_name("contract-2", "square").hydrate()


def test_an_environment_of_its_own_does_not_see_it() -> None:
    with pytest.raises(NotFoundError, match="elsewhere"):
        found(environment_name="elsewhere").remote(1)


def test_its_metadata_is_known_once_it_is_hydrated() -> None:
    assert found("counted").is_generator
    assert not found("later").is_generator
    with pytest.raises(InvalidError, match="remote_gen"):
        found("counted").remote(1)
    with pytest.raises(InvalidError, match=r"\.remote\("):
        next(found().remote_gen(1))


def test_what_is_defined_elsewhere_is_only_callable_remotely() -> None:
    handle = found()
    for use in (
        lambda: handle.local(1),
        handle.get_raw_f,
        lambda: handle.info,
        lambda: handle.spec,
        lambda: handle.app,
    ):
        with pytest.raises(ExecutionError, match="no definition in this process"):
            use()


def test_a_handle_keeps_its_id_over_a_redeploy_and_runs_the_new_code() -> None:
    def deploy(*names: str, body: int) -> None:
        own = modal.App("redeployed")
        for name in names:
            own.function(name=name)(lambda body=body: body)
        own.deploy()

    deploy("f", "g", body=1)
    handle = modal.Function.from_name("redeployed", "f").hydrate()
    before = handle.object_id
    assert handle.remote() == 1
    deploy("f", "g", body=2)
    assert handle.remote() == 2
    assert handle.object_id == before
    assert modal.Function.from_name("redeployed", "f").hydrate().object_id == before


def test_a_version_is_pinned() -> None:
    def deploy(body: int) -> None:
        own = modal.App("pinned")
        own.function(name="f")(lambda: body)
        own.deploy()

    deploy(1)
    deploy(2)
    assert modal.Function.from_name("pinned", "f", version=1).remote() == 1
    assert modal.Function.from_name("pinned", "f", version=2).remote() == 2
    with pytest.raises(NotFoundError):
        modal.Function.from_name("pinned", "f", version=99).remote()


def test_lookup_is_from_name_hydrated() -> None:
    handle = modal.Function.lookup("contract-1", "square")
    assert handle.is_hydrated
    assert handle.object_id == square.object_id
    with pytest.raises(NotFoundError):
        modal.Function.lookup("contract-1", "nothing")


# --- web_url -------------------------------------------------------------------------------------


def test_a_function_that_is_no_web_endpoint_has_no_url() -> None:
    assert square.web_url is None
    assert square.get_web_url() is None
    assert found().web_url is None


# --- local ---------------------------------------------------------------------------------------


def test_local_runs_in_this_thread_on_the_very_objects() -> None:
    @app.function()
    def same(value: object) -> tuple[object, int, int]:
        return value, os.getpid(), threading.get_ident()

    value = object()
    assert same.local(value) == (value, os.getpid(), threading.get_ident())


def test_local_of_an_async_def_is_a_coroutine() -> None:
    coroutine = later.local(1)
    assert inspect.iscoroutine(coroutine)
    assert asyncio.run(coroutine) == 2


def test_local_of_a_generator_is_a_generator() -> None:
    assert inspect.isgenerator(counted.local(3))
    assert list(counted.local(3)) == [0, 1, 2]


def test_local_of_an_async_generator_is_an_async_generator() -> None:
    async def all_of_them() -> list[int]:
        items = ticks.local(3)
        assert inspect.isasyncgen(items)
        return [n async for n in items]

    assert asyncio.run(all_of_them()) == [0, 1, 2]


def test_local_needs_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nbfn.client.client.Client, "attach", None)
    never_run = modal.App()

    @never_run.function()
    def twice(x: int) -> int:
        return 2 * x

    assert twice.local(4) == 8
    assert not twice.is_hydrated


def test_local_of_a_batched_function_takes_lists() -> None:
    @app.function()
    @modal.batched(max_batch_size=3, wait_ms=10)
    def doubled(xs: list[int]) -> list[int]:
        return [2 * x for x in xs]

    assert doubled.local([1, 2]) == [2, 4]


def test_local_in_a_worker_runs_in_that_worker() -> None:
    @app.function()
    def pid(extra: int) -> tuple[int, int]:
        return os.getpid(), extra

    @app.function()
    def both(depth: int) -> tuple[int, tuple[int, int], int]:
        inner = both.local(depth - 1)[2] if depth else 0  # type: ignore[has-type]
        return os.getpid(), pid.local(7), inner + 1

    here, (there, extra), depth = both.remote(2)
    assert (there, extra, depth) == (here, 7, 3)
    assert here != os.getpid()


def test_what_a_worker_found_by_name_it_cannot_run_itself() -> None:
    @app.function()
    def tries() -> int:
        return modal.Function.from_name("contract-1", "square").local(3)  # type: ignore[no-any-return]

    with pytest.raises(ExecutionError, match="no definition in this process"):
        tries.remote()


def test_is_local_tells_here_from_there() -> None:
    @app.function()
    def here() -> bool:
        return modal.is_local()

    @app.function()
    def there() -> tuple[bool, bool]:
        return modal.is_local(), here.local()

    assert modal.is_local()
    assert here.local()
    assert there.remote() == (False, False)


# --- get_raw_f -----------------------------------------------------------------------------------


def test_get_raw_f_is_the_very_object_that_was_decorated() -> None:
    def raw() -> None: ...

    raw.note = "kept"  # type: ignore[attr-defined]
    function = app.function()(raw)
    assert function.get_raw_f() is raw
    assert function.get_raw_f().note == "kept"  # type: ignore[attr-defined]


def test_get_raw_f_of_a_marked_function_is_the_unmarked_one() -> None:
    def raw() -> None: ...

    assert modal.App().function()(modal.concurrent(max_inputs=2)(raw)).get_raw_f() is raw


# --- get_current_stats ---------------------------------------------------------------------------


def test_stats_are_frozen_and_have_the_fields_of_both_generations() -> None:
    stats = square.get_current_stats()
    assert isinstance(stats, modal.FunctionStats)
    assert [field.name for field in dataclasses.fields(stats)] == [
        "backlog",
        "num_total_runners",
        "num_running_inputs",
        "input_headroom",
    ]
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.backlog = 3  # type: ignore[misc]
    with pytest.raises(AttributeError):
        _ = stats.unknown  # type: ignore[attr-defined]


def test_the_removed_field_says_its_new_name() -> None:
    stats = modal.FunctionStats(backlog=0, num_total_runners=2)
    with pytest.warns(UserWarning, match="num_total_runners"):
        assert stats.num_active_runners == 2


# --- other members -------------------------------------------------------------------------------


def test_a_function_knows_its_app_its_tag_and_where_it_is_defined() -> None:
    assert square.app is app
    assert square.tag == "square"
    assert square.info.raw_f is square.get_raw_f()
    assert square.info.function_name == "square"
    assert square.info.file == __file__
    assert square.info.module_name == __name__


def test_the_spec_is_what_the_decorator_was_told() -> None:
    @app.function(timeout=17, max_containers=3)
    def told() -> None: ...

    assert (told.spec.timeout, told.spec.max_containers) == (17, 3)


def test_a_methods_spec_and_info_are_those_of_its_class_and_its_def() -> None:
    @app.cls(timeout=18, max_containers=2)
    class Told:
        @modal.method()
        def it(self) -> int:
            return 1

    it = Told().it
    assert (it.spec.timeout, it.spec.max_containers) == (18, 2)
    assert (it.app, it.tag, it.info.function_name) == (app, "it", "it")
    assert it.info.file == __file__


def test_is_generator_is_seen_or_said() -> None:
    @app.function(is_generator=True)
    def said() -> Iterator[int]:
        return iter([1, 2])

    assert (square.is_generator, counted.is_generator, ticks.is_generator) == (False, True, True)
    assert said.is_generator
    assert list(said.remote_gen()) == [1, 2]


def test_there_is_no_dashboard_to_link_to() -> None:
    assert square.get_dashboard_url() is None  # type: ignore[func-returns-value]
    assert square.spawn(1).get_dashboard_url() is None  # type: ignore[func-returns-value]
