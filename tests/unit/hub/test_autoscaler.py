"""The size of a pool is a function of its load and its settings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbfn.hub.scheduler.autoscaler import Load, Settings, wanted
from tests.unit.hub.simulator import Simulator


@st.composite
def situations(draw: st.DrawFn) -> tuple[Load, Settings, int]:
    least = draw(st.integers(0, 20))
    most = draw(st.integers(max(1, least), 40))
    busy = draw(st.integers(0, most))
    load = Load(
        backlog=draw(st.integers(0, 10**6)),
        running=busy * draw(st.integers(0, 50)),
        busy_workers=busy,
        duration=draw(st.one_of(st.none(), st.floats(0, 1e4))),
    )
    return load, Settings(least, most, draw(st.integers(0, 5))), draw(st.integers(1, 64))


@given(situations())
def test_never_under_min_never_over_max(situation: tuple[Load, Settings, int]) -> None:
    load, settings, cores = situation
    assert settings.min_containers <= wanted(load, settings, cores) <= settings.max_containers


@given(situations())
def test_what_waits_always_gets_somebody(situation: tuple[Load, Settings, int]) -> None:
    load, settings, cores = situation
    if load.backlog:
        assert wanted(load, settings, cores) >= 1


@given(situations())
def test_workers_with_inputs_are_always_wanted(situation: tuple[Load, Settings, int]) -> None:
    load, settings, cores = situation
    assert wanted(load, settings, cores) >= min(load.busy_workers, settings.max_containers)


@pytest.mark.parametrize(
    ("load", "settings", "workers"),
    [
        (Load(0, 0, 0, None), Settings(0, 4), 0),
        (Load(0, 0, 0, None), Settings(2, 4), 2),
        (Load(10, 0, 0, None), Settings(0, 8), 2),  # as many as cores, then see
        (Load(10, 2, 2, 1.0), Settings(0, 8), 8),  # long inputs: a worker each
        (Load(10_000, 2, 2, 1e-6), Settings(0, 8), 3),  # 10 ms of work are not worth more
        (Load(10, 2, 2, 1.0), Settings(0, 4, buffer_containers=2), 4),
        (Load(0, 1, 1, 1.0), Settings(0, 4, buffer_containers=2), 3),
    ],
)
def test_examples(load: Load, settings: Settings, workers: int) -> None:
    assert wanted(load, settings, cores=2) == workers


def test_idle_workers_go_when_their_window_is_over_but_not_the_warm_ones() -> None:
    sim = Simulator(blank_workers=0)
    function = sim.register("f", min_containers=1, max_containers=3, scaledown_window=60)
    sim.call("fc-1", function, 3)
    sim.up()
    for _ in range(3):
        sim.up()
        if sim.busy():
            sim.finish(sim.busy()[0].name, duration=5.0)
    sim.settle()
    pool = next(iter(sim.state.hub_state.pools.values()))
    assert len(pool.workers) > 1
    sim.wait(59)
    assert len(pool.workers) > 1
    sim.wait(2)
    sim.settle()
    assert len(pool.workers) == 1


def test_a_full_machine_gives_up_idle_workers_least_recently_used_first() -> None:
    sim = Simulator(max_workers=2, blank_workers=0)
    first, second, third = (sim.register(name, max_containers=1) for name in "abc")
    for name, function in (("fc-1", first), ("fc-2", second)):
        sim.call(name, function, 1)
        sim.settle()
        sim.wait(1)
    sim.call("fc-3", third, 1)
    sim.settle()
    left = [p.record.name for p in sim.state.hub_state.pools.values() if p.workers]
    assert left == ["b", "c"]


def test_a_call_without_any_worker_comes_before_somebodys_warm_ones() -> None:
    sim = Simulator(max_workers=2, blank_workers=0)
    sim.register("warm", min_containers=2, max_containers=2)
    sim.settle()
    function = sim.register("cold", max_containers=2)
    sim.call("fc-1", function, 3)
    sim.settle()
    assert len(sim.outcomes) == 3
