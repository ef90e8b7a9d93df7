"""Workers that end before they serve an input: later tries, and an end for those who wait."""

from __future__ import annotations

import pytest

from nbfn.hub.machine import effects as fx
from nbfn.hub.machine import events as e
from nbfn.hub.machine.startup import MOST_FAILURES
from nbfn.types import InputStatus
from nbfn.wire import messages as m

from .world import World


def bound(world: World) -> list[str]:
    """Bring up blank workers, and return those that a pool was given since the last time."""
    for worker in list(world.to_start):
        world.start(worker)
    found, world.to_bind = world.to_bind, []
    return found


def ends(world: World, worker: str, how: str) -> None:
    """A worker that is loading ends, in one of the ways that the hub hears of."""
    if how == "connection":  # what a process does that runs another program, or stops itself
        world.put(e.WorkerLost(worker))
        world.wait(world.state.tables.limits.lease)
    elif how == "goodbye":
        world.receive(worker, m.Goodbye(signal=15))
    else:
        world.put(e.WorkerLost(worker))  # which is usually noticed first
        world.put(e.WorkerExited(worker, exit_code=0 if how == "exit 0" else 9, running=0))
    world.workers.pop(worker)


@pytest.mark.parametrize("how", ["exit 9", "exit 0", "goodbye", "connection"])
def test_each_next_worker_starts_later_and_after_a_few_what_waits_fails(how: str) -> None:
    world = World(blank_workers=1)
    world.call("fc-1", world.register(max_containers=1), 3)
    for pause in (1.0, 2.0, 4.0, 8.0):
        (worker,) = bound(world)
        ends(world, worker, how)
        world.wait(pause - 0.1)
        assert not bound(world), "too early"
        world.wait(0.2)
    (worker,) = bound(world)
    assert not world.outcomes
    ends(world, worker, how)
    assert {outcome.status for outcome in world.outcomes.values()} == {
        int(InputStatus.INIT_FAILURE)
    }
    assert len(world.outcomes) == 3
    code, message, _ = world.outcomes["fc-1", 0].fault or ("", "", {})
    assert code == "worker_crashed"
    assert message.startswith(
        f"{MOST_FAILURES} workers in a row ended while loading 'f', the last one: "
    )
    world.wait(100)
    assert not bound(world), "nothing waits"
    world.call("fc-2", world.functions["f"], 1)
    assert bound(world), "a new call is tried at once"


def test_who_waits_reads_of_each_failure() -> None:
    world = World()
    world.call("fc-1", world.register(max_containers=1), 1)
    (worker,) = bound(world)
    ends(world, worker, "exit 9")
    said = [x.data for x in world.told if isinstance(x, fx.DeliverEmission)]
    assert said == [
        b"A worker ended while loading 'f' (exit code 9); the next one starts in 1 s.\n"
    ]


def test_workers_that_were_bound_together_fail_together() -> None:
    world = World(blank_workers=4)
    world.call("fc-1", world.register(max_containers=2), 10)
    world.wait(1.0)
    first, second = bound(world)
    ends(world, first, "exit 9")
    ends(world, second, "exit 9")
    assert next(iter(world.state.tables.pools.values())).start_failures == 1
    world.wait(1.1)
    assert len(bound(world)) == 1, "one at a time, until one has come up"


def test_a_pool_that_others_serve_goes_on_with_them() -> None:
    world = World(blank_workers=4)
    function = world.register(max_containers=2, timeout=10_000.0)
    world.call("fc-1", function, 1)
    world.up()
    (serving,) = (worker.name for worker in world.busy())
    world.call("fc-2", function, 5)
    world.wait(1.0)
    began = world.now
    tries = 0
    while world.now < began + 600:
        for worker in bound(world):
            tries += 1
            if tries % 2:
                ends(world, worker, "exit 9")
            else:
                world.receive(worker, m.BindFailed("", 0, "pickle", "ValueError: no"))
                world.stop(worker)
        world.wait(1.0)
    assert not world.outcomes, "no input failed"
    assert tries < 20, "and no storm of processes"
    while len(world.outcomes) < 6:
        world.finish(serving)
    assert len(world.outcomes) == 6
    assert all(outcome.status == int(InputStatus.SUCCESS) for outcome in world.outcomes.values())


@pytest.mark.parametrize("how", ["exit", "goodbye"])
def test_a_warm_worker_that_ends_again_and_again_is_replaced_later_each_time(how: str) -> None:
    world = World()
    world.register(min_containers=1, max_containers=1)
    world.wait(1.0)
    starts = 0
    for _ in range(600):
        for worker in bound(world):
            starts += 1
            world.receive(worker, m.Bound("", 0))
            if how == "exit":
                world.exit(worker, exit_code=7)
            else:
                world.receive(worker, m.Goodbye())
                world.workers.pop(worker)
        world.wait(1.0)
    assert 10 < starts < 20


def test_a_worker_that_has_served_is_replaced_at_once() -> None:
    world = World(blank_workers=2)
    world.call("fc-1", world.register(min_containers=1, max_containers=1), 1)
    world.up()
    (worker,) = world.busy()
    world.finish(worker.name)
    world.exit(worker.name, signal=9)
    assert bound(world)


def test_a_python_whose_workers_end_before_they_are_needed_is_tried_later_each_time() -> None:
    world = World(blank_workers=1)
    world.register(max_containers=1)
    starts = 0
    for _ in range(600):
        for worker in list(world.to_start):
            starts += 1
            world.start(worker)
            world.exit(worker, exit_code=1)
        world.wait(1.0)
    assert 10 < starts < 20


def test_what_waits_for_a_python_that_does_not_start_is_told_why() -> None:
    world = World()
    world.call("fc-1", world.register(max_containers=1), 1)
    for _ in range(MOST_FAILURES):
        for worker in list(world.to_start):
            world.to_start.remove(worker)
            world.put(e.WorkerNotStarted(worker, "ImportError: no nbfn"))
        world.wait(60.0)
    fault = world.outcomes["fc-1", 0].fault
    assert fault is not None
    assert fault[1] == "No worker starts under /usr/bin/python: ImportError: no nbfn"
