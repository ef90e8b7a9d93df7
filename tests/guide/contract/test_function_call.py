"""Tests of `spawn`, `spawn_map` and `FunctionCall` (docs/function-api.md#spawned-calls)."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn import FunctionCall, InputStatus
from nbfn.exception import (
    FunctionTimeoutError,
    InvalidError,
    NotFoundError,
    RemoteError,
    SerializationError,
)
from tests.conftest import wait_until
from tests.guide.contract import functions
from tests.guide.contract.functions import add, count_up, fail_at_2, square

app = nbfn.App()

UNKNOWN = "fc-" + "0" * 22


@app.function(max_containers=4)
def wait_for(path: Path) -> str:
    while not (path.exists() and path.read_text()):
        time.sleep(0.005)
    return path.read_text()


@app.function()
def stay(path: Path) -> None:
    """Record that the call began and that it ended."""
    try:
        path.joinpath("begun").touch()
        time.sleep(60)
    finally:
        path.joinpath("ended").touch()


@app.function()
async def stay_async(path: Path) -> None:
    try:
        path.joinpath("begun").touch()
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        path.joinpath("ended").touch()
        raise


@app.function()
def call_and_wait(path: Path) -> None:
    stay.remote(path)


@app.function()
def map_and_wait(path: Path) -> None:
    list(stay.map([path]))


@app.function()
def spawn_and_wait(path: Path) -> None:
    stay_after = wait_for.spawn(path / "go")
    path.joinpath("spawned").write_text(stay_after.object_id)
    stay.remote(path)


@app.function()
def fetch(call: FunctionCall[Any]) -> Any:
    return call.get()


@app.function()
def apply(function: nbfn.Function[..., Any], x: int) -> FunctionCall[Any]:
    return function.spawn(x)


def pid_of(name: str) -> list[int]:
    return [
        w.pid
        for w in nbfn.Client.attach().overview().workers
        if w.function == name and w.state == "busy"
    ]


# --- spawn ---------------------------------------------------------------------------------------


def test_spawn_does_not_wait_for_a_worker(tmp_path: Path) -> None:
    square.spawn(1).get()
    begun = time.monotonic()
    call = wait_for.spawn(tmp_path / "go")
    assert time.monotonic() - begun < 5
    assert call.object_id.startswith("fc-")
    (tmp_path / "go").write_text("went")
    assert call.get() == "went"


def test_a_generator_cannot_be_spawned() -> None:
    with pytest.raises(InvalidError, match="Cannot spawn a generator"):
        count_up.spawn(3)
    with pytest.raises(InvalidError, match="spawn_map"):
        count_up.spawn_map([3])


def test_retries_of_a_spawned_input_are_the_hubs_business(tmp_path: Path) -> None:
    @app.function(name="third_time", retries=nbfn.Retries(max_retries=2, initial_delay=0.0))
    def third_time() -> int:
        with (tmp_path / "tries").open("a") as file:
            file.write(".")
        if len((tmp_path / "tries").read_text()) < 3:
            raise ValueError("again")
        return 3

    assert third_time.spawn().get(timeout=30) == 3


def test_a_spawned_call_outlives_its_process_and_its_ephemeral_app(tmp_path: Path) -> None:
    code = f"""
import time, pathlib, nbfn
app = nbfn.App()
@app.function(serialized=True)
def wait_for(path):
    while not (path.exists() and path.read_text()):
        time.sleep(0.005)
    return path.read_text()
with app.run():
    print(wait_for.spawn(pathlib.Path({str(tmp_path / "go")!r})).object_id)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    call = FunctionCall.from_id(done.stdout.strip())
    (tmp_path / "go").write_text("still here")
    assert call.get(timeout=30) == "still here"


def test_a_spawned_call_goes_on_after_its_parent(tmp_path: Path) -> None:
    @app.function(name="begin")
    def begin(path: Path) -> FunctionCall[str]:
        return wait_for.spawn(path)

    call = begin.remote(tmp_path / "go")
    (tmp_path / "go").write_text("went on")
    assert call.get(timeout=30) == "went on"


# --- spawn_map -----------------------------------------------------------------------------------


def test_spawn_map_returns_a_call_with_all_inputs() -> None:
    call = add.spawn_map([1, 2, 3], [10, 20], kwargs={"c": 100})
    assert isinstance(call, FunctionCall)
    assert call.num_inputs() == 2
    assert [call.get(index=0), call.get(index=1)] == [111, 122]
    assert list(call.iter()) == [111, 122]


def test_spawn_map_has_its_experimental_name_and_aio() -> None:
    async def both() -> list[list[int]]:
        first = await square.spawn_map.aio([1, 2])
        second = await square.experimental_spawn_map.aio([3])
        return [[x async for x in call.iter.aio()] for call in (first, second)]

    assert asyncio.run(both()) == [[1, 4], [9]]
    assert list(square.experimental_spawn_map([4]).iter()) == [16]


def test_spawn_map_of_nothing_is_a_call_without_inputs() -> None:
    call = square.spawn_map([])
    assert call.num_inputs() == 0
    assert list(call.iter()) == []
    with pytest.raises(InvalidError, match="has 0 inputs; there is no index 0"):
        call.get()


def test_spawn_map_takes_more_inputs_than_are_kept_in_memory() -> None:
    begun = time.monotonic()
    call = square.spawn_map(range(10_000))
    took = time.monotonic() - begun
    assert call.num_inputs() == 10_000
    assert list(call.iter(start=9_990)) == [n * n for n in range(9_990, 10_000)]
    assert took < 10_000 / 1000, "at least 2000 a second, with a machine's noise allowed for"


def test_an_error_of_the_iterable_is_raised_and_the_half_spawned_call_cancelled(
    tmp_path: Path,
) -> None:
    ids: list[str] = []

    @app.function(name="tell_id", max_containers=1)
    def tell_id(path: Path) -> None:
        (path / "id").write_text(nbfn.current_function_call_id() or "")
        time.sleep(60)

    def inputs() -> Iterator[Path]:
        yield tmp_path
        yield tmp_path
        wait_until(lambda: (tmp_path / "id").exists() and (tmp_path / "id").read_text())
        ids.append((tmp_path / "id").read_text())
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        tell_id.spawn_map(inputs())
    call = FunctionCall.from_id(ids[0])
    for index in range(2):
        with pytest.raises(RemoteError, match="cancelled"):
            call.get(timeout=30, index=index)


def test_spawn_map_with_an_argument_that_cannot_be_pickled() -> None:
    with pytest.raises(SerializationError):
        square.spawn_map([1, threading.Lock()])


def test_an_interrupt_of_spawn_map_closes_the_iterable() -> None:
    ended = threading.Event()

    def inputs() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            ended.set()

    async def main() -> None:
        task = asyncio.ensure_future(square.spawn_map.aio(inputs()))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended.wait(10)
    wait_until(lambda: square.get_current_stats().backlog == 0)


# --- get -----------------------------------------------------------------------------------------


def test_get_in_time_or_the_builtin_timeout_error(tmp_path: Path) -> None:
    call = wait_for.spawn(tmp_path / "go")
    for timeout in (0, 0.05):
        with pytest.raises(TimeoutError) as caught:
            call.get(timeout)
        assert not isinstance(caught.value, nbfn.exception.TimeoutError)
    (tmp_path / "go").write_text("done")  # the timeout did not cancel it
    assert call.get(timeout=30) == "done"
    assert call.get(0) == "done"


def test_get_is_repeatable_by_many_readers_at_once(tmp_path: Path) -> None:
    call = wait_for.spawn(tmp_path / "go")
    results: list[str] = []
    handles = [call, call, FunctionCall.from_id(call.object_id)]
    threads = [
        threading.Thread(target=lambda h=h: results.append(h.get(timeout=30)))  # type: ignore[misc]
        for h in handles
    ]
    for thread in threads:
        thread.start()
    (tmp_path / "go").write_text("!")
    for thread in threads:
        thread.join()
    assert results == ["!"] * 3


def test_another_process_gets_it_too() -> None:
    call = square.spawn(5)
    code = f"import nbfn; print(nbfn.FunctionCall.from_id({call.object_id!r}).get(timeout=30))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert found.stdout == "25\n"
    assert call.get() == 25


def test_a_failure_is_raised_every_time() -> None:
    call = fail_at_2.spawn(2)
    for _ in range(3):
        with pytest.raises(ValueError, match="ohno"):
            call.get()


def test_a_function_that_ran_too_long_is_no_builtin_timeout_error() -> None:
    @app.function(name="late", timeout=1)
    def late() -> None:
        time.sleep(60)

    with pytest.raises(FunctionTimeoutError) as caught:
        late.spawn().get()
    assert not isinstance(caught.value, TimeoutError)


def test_unknown_and_malformed_ids() -> None:
    unknown = FunctionCall.from_id(UNKNOWN)  # sends no request
    for use in (unknown.get, unknown.cancel, unknown.num_inputs, unknown.get_call_graph):
        with pytest.raises(NotFoundError, match=UNKNOWN):
            use()
    with pytest.raises(NotFoundError):
        unknown.hydrate()
    with pytest.raises(NotFoundError):
        list(unknown.iter())
    with pytest.raises(InvalidError, match="not the id of a call"):
        FunctionCall.from_id("42")


# --- cancel --------------------------------------------------------------------------------------


def test_a_cancelled_pending_input_never_runs(tmp_path: Path) -> None:
    @app.function(name="one_at_a_time", max_containers=1)
    def one_at_a_time(path: Path, name: str) -> None:
        path.joinpath(name).touch()
        while not path.joinpath("go").exists():
            time.sleep(0.005)

    first = one_at_a_time.spawn(tmp_path, "first")
    wait_until((tmp_path / "first").exists)
    second = one_at_a_time.spawn(tmp_path, "second")
    second.cancel()
    with pytest.raises(RemoteError, match="cancelled"):
        second.get(timeout=30)
    (tmp_path / "go").touch()
    first.get(timeout=30)
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize("function", [stay, stay_async], ids=["sync", "async"])
def test_a_cancelled_running_input_is_interrupted_and_its_worker_goes_on(
    function: Any, tmp_path: Path
) -> None:
    call = function.spawn(tmp_path)
    wait_until((tmp_path / "begun").exists)
    before = pid_of("stay" if function is stay else "stay_async")
    call.cancel()
    with pytest.raises(RemoteError, match="cancelled"):
        call.get(timeout=30)
    assert (tmp_path / "ended").exists()
    living = {w.pid for w in nbfn.Client.attach().overview().workers}
    assert set(before) <= living


def test_cancelling_a_finished_call_changes_nothing() -> None:
    call = square.spawn(7)
    assert call.get() == 49
    call.cancel()
    call.cancel(terminate_containers=True)
    assert FunctionCall.from_id(call.object_id).get() == 49


def test_terminate_containers_kills_the_worker_and_runs_what_else_it_had_elsewhere(
    tmp_path: Path,
) -> None:
    @app.function(name="company", max_containers=1)
    @nbfn.concurrent(max_inputs=2)
    async def company(path: Path, name: str) -> int:
        path.joinpath(f"{name}-{os.getpid()}").touch()
        while not path.joinpath("go").exists():
            await asyncio.sleep(0.005)
        return os.getpid()

    doomed = company.spawn(tmp_path, "doomed")
    beside = company.spawn(tmp_path, "beside")
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    (killed,) = {int(path.name.partition("-")[2]) for path in tmp_path.iterdir()}
    doomed.cancel(terminate_containers=True)
    with pytest.raises(RemoteError, match="cancelled"):
        doomed.get(timeout=30)
    wait_until(lambda: not Path(f"/proc/{killed}").exists())
    (tmp_path / "go").touch()
    assert beside.get(timeout=30) != killed


def test_retries_never_follow_a_cancel(tmp_path: Path) -> None:
    @app.function(name="retried", retries=nbfn.Retries(max_retries=5, initial_delay=0.0))
    def retried(path: Path) -> None:
        with path.joinpath("tries").open("a") as file:
            file.write(".")
        time.sleep(60)

    call = retried.spawn(tmp_path)
    wait_until(lambda: (tmp_path / "tries").exists() and (tmp_path / "tries").read_text())
    call.cancel()
    with pytest.raises(RemoteError, match="cancelled"):
        call.get(timeout=30)
    square.remote(1)
    assert (tmp_path / "tries").read_text() == "."


def test_a_cancel_during_the_back_off_ends_it(tmp_path: Path) -> None:
    @app.function(name="backing_off", retries=nbfn.Retries(max_retries=5, initial_delay=60.0))
    def backing_off(path: Path) -> None:
        with path.joinpath("tries").open("a") as file:
            file.write(".")
        raise ValueError("again")

    call = backing_off.spawn(tmp_path)
    wait_until((tmp_path / "tries").exists)
    wait_until(lambda: backing_off.get_current_stats().num_running_inputs == 0)
    call.cancel()
    with pytest.raises(RemoteError, match="cancelled"):
        call.get(timeout=30)
    assert (tmp_path / "tries").read_text() == "."


@pytest.mark.parametrize("function", [call_and_wait, map_and_wait], ids=["remote", "map"])
def test_what_a_cancelled_input_waits_for_is_cancelled(function: Any, tmp_path: Path) -> None:
    call = function.spawn(tmp_path)
    wait_until((tmp_path / "begun").exists)
    call.cancel()
    with pytest.raises(RemoteError, match="cancelled"):
        call.get(timeout=30)
    wait_until((tmp_path / "ended").exists)


def test_what_a_killed_workers_input_waited_for_is_cancelled_at_once(tmp_path: Path) -> None:
    call = call_and_wait.spawn(tmp_path)
    wait_until((tmp_path / "begun").exists)
    begun = time.monotonic()
    call.cancel(terminate_containers=True)
    with pytest.raises(RemoteError, match="cancelled"):
        call.get(timeout=30)
    wait_until((tmp_path / "ended").exists)
    assert time.monotonic() - begun < 20, "not only after client_grace"


def test_what_a_cancelled_input_spawned_goes_on(tmp_path: Path) -> None:
    call = spawn_and_wait.spawn(tmp_path)
    wait_until((tmp_path / "begun").exists)
    spawned = FunctionCall.from_id((tmp_path / "spawned").read_text())
    call.cancel()
    with pytest.raises(RemoteError, match="cancelled"):
        call.get(timeout=30)
    (tmp_path / "go").write_text("went on")
    assert spawned.get(timeout=30) == "went on"


# --- gather --------------------------------------------------------------------------------------


def test_gather_gives_results_in_the_order_of_its_arguments() -> None:
    first, second = square.spawn(2), square.spawn(3)
    assert FunctionCall.gather(first, second, first) == [4, 9, 4]
    assert FunctionCall.gather() == []

    async def both() -> list[int]:
        return await FunctionCall.gather.aio(first, second)  # type: ignore[no-any-return]

    assert asyncio.run(both()) == [4, 9]


def test_gather_raises_the_first_failure_at_once_and_the_others_go_on(tmp_path: Path) -> None:
    waiting = wait_for.spawn(tmp_path / "go")
    with pytest.raises(ValueError, match="ohno"):
        FunctionCall.gather(waiting, fail_at_2.spawn(2))
    (tmp_path / "go").write_text("went on")
    assert waiting.get(timeout=30) == "went on"


def test_gather_can_return_exceptions() -> None:
    unknown: FunctionCall[int] = FunctionCall.from_id(UNKNOWN)
    good, bad, lost = FunctionCall.gather(
        square.spawn(2), fail_at_2.spawn(2), unknown, return_exceptions=True
    )
    assert good == 4
    assert isinstance(bad, ValueError)
    assert isinstance(lost, NotFoundError)
    with pytest.raises(NotFoundError):
        FunctionCall.gather(square.spawn(2), unknown)


def test_gather_takes_calls_only() -> None:
    with pytest.raises(InvalidError, match="FunctionCalls"):
        FunctionCall.gather([square.spawn(1)])


def test_gather_has_its_older_place() -> None:
    from nbfn.functions import gather

    assert gather(square.spawn(2)) == [4]


# --- handles -------------------------------------------------------------------------------------


def test_handles_are_arguments_and_results() -> None:
    call = square.spawn(6)
    assert fetch.remote(call) == 36
    assert pickle.loads(pickle.dumps(call)).get() == 36
    square.hydrate()
    assert apply.remote(square, 3).get() == 9


def test_a_function_that_the_hub_does_not_know_cannot_be_sent() -> None:
    @app.function(name="never_called")
    def never_called() -> None:
        """Never called."""

    with pytest.raises((InvalidError, SerializationError), match="hydrate"):
        apply.remote(never_called, 3)


def test_a_call_is_hydrated_always_and_prints_its_id() -> None:
    call = square.spawn(1)
    assert call.is_hydrated
    assert call.hydrate() is call
    assert repr(call) == f"<FunctionCall {call.object_id} of square>"
    with pytest.raises(InvalidError, match=r"FunctionCall\.from_id"):
        FunctionCall()


# --- call graph ----------------------------------------------------------------------------------


@app.function()
def inner(x: int) -> int:
    if x < 0:
        raise ValueError(x)
    return x


@app.function()
def outer(x: int) -> int:
    inner.remote(x)
    return inner.remote(x + 1)


@app.function()
def family(path: Path) -> str:
    grown_up = inner.spawn(7)
    path.joinpath("spawned").write_text(grown_up.object_id)
    outer.remote(1)
    return wait_for.remote(path / "go")


def test_a_call_without_family_is_its_own_root() -> None:
    call = square.spawn_map([1, 2])
    list(call.iter())
    graph = call.get_call_graph()
    assert [(i.function_name, i.status, i.children) for i in graph] == [
        ("square", InputStatus.SUCCESS, [])
    ] * 2
    assert {i.function_call_id for i in graph} == {call.object_id}
    assert all(i.input_id.startswith("in-") and i.task_id.startswith("wk-") for i in graph)
    assert {i.module_name for i in graph} == {functions.__name__}


def test_the_graph_is_the_whole_tree_from_its_root_whoever_asks(tmp_path: Path) -> None:
    call = family.spawn(tmp_path)
    wait_until(lambda: pid_of("wait_for"))
    (root,) = call.get_call_graph()
    assert (root.function_name, root.status) == ("family", InputStatus.PENDING)
    named = {child.function_name: child for child in root.children}
    assert set(named) == {"inner", "outer", "wait_for"}
    assert named["wait_for"].status == InputStatus.PENDING
    assert named["outer"].status == InputStatus.SUCCESS
    assert [grand.function_name for grand in named["outer"].children] == ["inner", "inner"]
    spawned = FunctionCall.from_id((tmp_path / "spawned").read_text())
    assert spawned.get() == 7
    (same,) = spawned.get_call_graph()
    assert same.input_id == root.input_id
    (tmp_path / "go").write_text("done")
    assert call.get() == "done"
    (root,) = call.get_call_graph()
    assert root.status == InputStatus.SUCCESS
    assert {child.status for child in root.children} == {InputStatus.SUCCESS}


def test_the_graph_tells_failures_and_cancellations(tmp_path: Path) -> None:
    failed, cancelled = fail_at_2.spawn(2), call_and_wait.spawn(tmp_path)
    wait_until((tmp_path / "begun").exists)
    cancelled.cancel()
    for call in (failed, cancelled):
        with pytest.raises((ValueError, RemoteError)):
            call.get()
    assert failed.get_call_graph()[0].status == InputStatus.FAILURE
    (root,) = cancelled.get_call_graph()
    assert root.status == InputStatus.TERMINATED
    wait_until(
        lambda: (
            [child.status for child in cancelled.get_call_graph()[0].children]
            == [InputStatus.TERMINATED]
        )
    )


def test_get_call_graph_has_aio() -> None:
    async def main() -> list[nbfn.InputInfo]:
        call = await square.spawn.aio(3)
        await call
        return await call.get_call_graph.aio()

    (root,) = asyncio.run(main())
    assert root.function_name == "square"


# --- iter ----------------------------------------------------------------------------------------


def test_iter_is_in_order_and_waits_for_what_is_not_ready(tmp_path: Path) -> None:
    call = wait_for.spawn_map([tmp_path / "a", tmp_path / "b"])
    (tmp_path / "b").write_text("b")
    results = iter(call.iter())
    taken: list[str] = []
    taker = threading.Thread(target=lambda: taken.append(next(results)))
    taker.start()
    assert call.get(index=1, timeout=30) == "b"
    assert taken == []
    (tmp_path / "a").write_text("a")
    taker.join()
    assert [*taken, *results] == ["a", "b"]


def test_iter_takes_a_range_and_spans_pages() -> None:
    call = square.spawn_map(range(200))
    assert list(call.iter()) == [n * n for n in range(200)]
    assert list(call.iter(start=60, end=70)) == [n * n for n in range(60, 70)]
    assert list(call.iter(start=200)) == []


def test_iter_raises_a_failure_at_its_index() -> None:
    results = fail_at_2.spawn_map(range(4)).iter()
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="ohno"):
        next(results)


@pytest.mark.parametrize("wrong", [{"start": -1}, {"end": 4}, {"start": 3, "end": 2}])
def test_iter_over_a_wrong_range_is_a_value_error(wrong: dict[str, int]) -> None:
    call = square.spawn_map(range(3))
    with pytest.raises(ValueError, match="Invalid index range"):
        list(call.iter(**wrong))


# --- context -------------------------------------------------------------------------------------


def test_a_worker_knows_its_input_and_its_call_and_the_client_none() -> None:
    @app.function(name="where")
    def where() -> tuple[Any, ...]:
        return (
            nbfn.current_input_id(),
            nbfn.current_function_call_id(),
            {name: value for name, value in os.environ.items() if name.startswith("MODAL_")},
        )

    call = where.spawn()
    input_id, call_id, env = call.get()
    (root,) = call.get_call_graph()
    assert (input_id, call_id) == (root.input_id, call.object_id)
    assert env["MODAL_IS_REMOTE"] == "1"
    assert env["MODAL_ENVIRONMENT"] == "main"
    assert env["MODAL_TASK_ID"] == root.task_id
    assert {"MODAL_CLOUD_PROVIDER", "MODAL_REGION"} <= set(env)
    assert nbfn.current_input_id() is None
    assert nbfn.current_function_call_id() is None


def test_the_input_is_known_per_input_in_concurrent_tasks_too() -> None:
    @app.function(name="who", max_containers=1)
    @nbfn.concurrent(max_inputs=4)
    async def who(x: int) -> tuple[str | None, str | None]:
        async def inside() -> str | None:
            await asyncio.sleep(0.05)
            return nbfn.current_input_id()

        first = nbfn.current_input_id()
        return first, await asyncio.create_task(inside())

    pairs = list(who.map(range(4)))
    assert all(first == second for first, second in pairs)
    assert len(set(pairs)) == 4


async def _numbers() -> AsyncIterator[int]:
    for number in range(3):
        yield number


def test_spawn_map_pulls_async_iterables() -> None:
    assert list(square.spawn_map(_numbers()).iter()) == [0, 1, 4]


def test_calls_lists_what_runs_and_ran_of_this_script(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    call = wait_for.spawn(gate)
    (row,) = [row for row in nbfn.calls() if row.id == call.object_id]
    assert (row.function, row.kind, row.state) == ("wait_for", "spawn", "running")
    gate.write_text("now")
    assert call.get() == "now"
    wait_until(lambda: [r.state for r in nbfn.calls() if r.id == row.id] == ["succeeded"])
    assert {found.origin for found in nbfn.calls()} == {row.origin}
    assert len(nbfn.calls(all=True)) >= len(nbfn.calls())


def test_too_many_queued_is_resource_exhausted(tmp_path: Path) -> None:
    program = """
        import nbfn, nbfn.exception
        app = nbfn.App()

        @app.function(max_containers=1)
        def slow(x):
            import time
            time.sleep(60)

        calls = [slow.spawn(x) for x in range(3)]
        for attempt in (lambda: slow.spawn(3), lambda: slow.spawn_map(range(5))):
            try:
                attempt()
            except nbfn.exception.ResourceExhaustedError as error:
                print(error)
        for call in calls:
            call.cancel()
        nbfn.Client.attach().stop_hub()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "NBFN_HOME": str(tmp_path / "home"), "NBFN_MAX_SPAWNED": "3"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.count("no more than 3 are kept (setting max_spawned)") == 2, done.stderr
