"""Turns, batches and windows."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from nbfn.hub import events as e
from nbfn.hub import schedule
from tests.unit.hub.world import World

durations = st.one_of(st.none(), st.floats(0, 1e4))


@given(durations, st.integers(1, 10**7), st.integers(0, 10_000))
def test_a_batch_is_never_empty_never_more_than_a_fair_share(
    duration: float | None, pending: int, workers: int
) -> None:
    size = schedule.batch_size(duration, pending, workers)
    assert 1 <= size <= schedule.BATCH_MAX
    assert size == 1 or size * 2 * max(workers, 1) < pending + 2 * max(workers, 1)
    assert size == 1 or (duration is not None and size * duration <= schedule.BATCH_SECONDS)


@given(st.integers(0, 5000), durations, st.integers(1, schedule.BATCH_MAX))
def test_slow_functions_are_handed_out_one_by_one(
    leased: int, duration: float | None, batch: int
) -> None:
    room = schedule.room(leased, duration, batch)
    if duration is None or duration > schedule.BATCH_SECONDS:
        assert leased + room <= max(1, leased)
    else:
        assert leased + room <= max(2 * batch, leased)


@given(durations, st.integers(0, 10_000))
def test_a_window_is_bounded(duration: float | None, workers: int) -> None:
    assert schedule.WINDOW_MIN <= schedule.window(duration, workers) <= schedule.WINDOW_MAX


def test_a_long_map_does_not_starve_a_single_call() -> None:
    world = World()
    function = world.register("f", max_containers=1)
    world.call("fc-map", function, 1000)
    world.up()
    for _ in range(5):
        world.finish(world.busy()[0].name, duration=1.0)
    world.call("fc-one", function, 1, kind="remote")
    for _ in range(3):  # what runs, one more of the map, then it
        world.finish(world.busy()[0].name, duration=1.0)
    assert ("fc-one", 0) in world.outcomes


def test_calls_of_one_function_share_its_workers_evenly() -> None:
    world = World()
    function = world.register("f", max_containers=2)
    for name in ("fc-a", "fc-b", "fc-c"):
        world.call(name, function, 300)
    world.up()
    for _ in range(300):
        world.finish(world.busy()[0].name, duration=1e-3)
    done = Counter(call for call, _ in world.outcomes)
    assert max(done.values()) - min(done.values()) <= 100, done  # two batches each way


def test_a_batch_that_is_stuck_behind_a_slow_input_is_shared() -> None:
    world = World()
    function = world.register("f", max_containers=2)
    world.call("fc-a", function, 400)
    world.up()
    while len(world.outcomes) < 300:
        for worker in world.busy():
            world.finish(worker.name, duration=1e-4)
    stuck = max(world.busy(), key=lambda worker: len(worker.queue))
    for worker in world.busy():
        while worker is not stuck and worker.queue:
            world.finish(worker.name, duration=1e-4)
    world.told.clear()
    world.wait(1.0)
    assert e.RecallLeases(stuck.name, 1) in world.told
