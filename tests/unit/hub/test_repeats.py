"""Single cases of what `test_noise` tries at random: each was a fault once."""

from __future__ import annotations

import pytest

from nbfn.hub.machine import events as e
from nbfn.wire import messages as m
from tests.unit.hub.noise import NoisyWorld
from tests.unit.hub.world import FAILURE, SUCCESS, inputs_of


def _at_work(world: NoisyWorld, count: int = 1, *, durable: bool = False, retries: int = 0) -> str:
    """Begin a call and have a worker run its first input; return the worker."""
    function = world.register("f", max_containers=1, retries=retries)
    world.up()
    world.give("fc-1", function, count, durable=durable)
    world.up()
    (busy,) = world.busy()
    return busy.name


def test_an_adopted_input_that_is_lost_again_at_once_is_queued_once() -> None:
    world = NoisyWorld()
    worker = _at_work(world, durable=True)
    world.restart()
    world.hello(worker)
    world.exit(worker, signal=9)
    world.wait(2.0)
    assert world.state.tables.calls["fc-1"].pool.backlog == 1
    world.client_back()
    world.settle()
    assert world.runs["fc-1", 0] == 1


def test_a_worker_that_is_back_before_its_loss_was_noticed_gets_again_what_never_reached_it() -> (
    None
):
    world = NoisyWorld()
    worker = _at_work(world)
    world.finish(worker)
    world.workers[worker].connected = False
    world.give("fc-2", world.functions["f"], 1, durable=False)
    assert not world.workers[worker].queue
    world.hello(worker)
    world.check()
    world.settle()
    assert len(world.outcomes) == 2


def test_a_lease_is_as_long_the_second_time() -> None:
    world = NoisyWorld()
    worker = _at_work(world)
    for seconds in (6.0, 6.0):
        world.workers[worker].connected = False
        world.put(e.WorkerLost(worker))
        world.wait(seconds)
        world.hello(worker)
    world.settle()
    assert world.outcomes["fc-1", 0].attempt == 1


def test_a_binding_that_never_arrived_is_said_again() -> None:
    world = NoisyWorld()
    function = world.register("f", max_containers=1)
    world.give("fc-1", function, 1, durable=False)
    world.start(world.to_start[0])
    (worker,) = world.to_bind
    world.to_bind.clear()
    world.workers[worker].function = ""
    world.workers[worker].connected = False
    world.hello(worker)
    world.settle()
    assert len(world.outcomes) == 1


def test_a_spawned_call_that_is_told_again_after_its_end_does_not_run_again() -> None:
    world = NoisyWorld()
    worker = _at_work(world, durable=True)
    world.unaccepted.add("fc-1")  # the word that it is safe was lost
    world.finish(worker)
    world.client_back()
    world.settle()
    assert world.runs["fc-1", 0] == 1
    assert not world.unaccepted


def test_nor_after_a_new_hub_began() -> None:
    world = NoisyWorld()
    worker = _at_work(world, 3, durable=True)
    world.unaccepted.add("fc-1")
    for _ in range(3):
        world.finish(worker)
    world.restart()
    world.client_back()
    world.settle()
    assert max(world.runs.values()) == 1
    assert not world.unaccepted


def test_nor_that_part_of_it_that_has_its_outcome() -> None:
    world = NoisyWorld()
    function = world.register("f", max_containers=2)
    world.give("fc-1", function, 2, durable=True)
    world.unaccepted.add("fc-1")
    world.up()
    first, second = sorted(world.busy(), key=lambda fake: fake.queue[0].index)
    world.finish(second.name)
    world.restart()
    world.exit(first.name, signal=9)
    world.client_back()
    world.settle()
    assert max(world.runs.values()) == 1
    assert world.state.tables.calls == {}


def test_a_worker_may_say_hello_twice() -> None:
    world = NoisyWorld()
    worker = _at_work(world, 2)
    fake = world.workers[worker]
    running = [(g.lease, g.call, g.index, g.attempt) for g in fake.queue]
    for _ in range(2):
        world.put(e.WorkerJoined(worker, 1, "/usr/bin/python", fake.function, 1, running))
        world.check()
    world.settle()
    assert set(world.runs.values()) == {1}


def test_inputs_of_a_broken_connection_that_are_read_late_do_not_run_twice() -> None:
    world = NoisyWorld()
    world.wait(5.0)  # no input waits for a worker of the hub before
    function = world.register()
    first, second = [(0, "a"), (1, "b")], [(2, "c"), (3, "d")]
    world.receive("cl-1", m.PutCall("map", function, 0, "map", inputs_of(first), closed=False))
    again = e.Received(
        "cl-1",
        m.PutCall("map", function, 0, "map", inputs_of(first + second), closed=True, resent=True),
    )
    world.put(again)
    world.receive("cl-1", m.PutInputs("map", inputs_of(second), closed=True))
    world.settle()
    assert world.runs == {("map", index): 1 for index in range(4)}


def test_a_new_call_after_a_restart_takes_no_place_of_a_worker_that_is_still_to_come_back() -> None:
    world = NoisyWorld()
    worker = _at_work(world, durable=True)
    world.restart()
    world.client_back()
    world.give("fc-2", world.functions["f"], 1, durable=False)
    for blank in list(world.to_start):
        world.start(blank)
    assert not world.to_bind
    world.hello(worker)
    world.check()  # no pool has more than its most
    world.settle()
    assert world.runs["fc-1", 0] == world.runs["fc-2", 0] == 1


@pytest.mark.parametrize(("durable", "runs", "lost"), [(False, 3, 2), (True, 2, 0)])
def test_what_only_a_hub_knew_that_was_killed_is_run_again_unless_it_is_on_disk(
    durable: bool, runs: int, lost: int
) -> None:
    world = NoisyWorld()
    worker = _at_work(world, durable=durable, retries=1)
    world.finish(worker, FAILURE)
    world.wait(1.0)
    world.deaf = True
    world.finish(worker, SUCCESS)
    world.wait(1.0)  # the worker is told that the hub has the result; the client does not get it
    world.restart()
    world.hello(worker)
    world.client_back()
    world.settle()
    assert world.outcomes["fc-1", 0].status == SUCCESS
    assert (world.runs["fc-1", 0], world.lost["fc-1", 0]) == (runs, lost)


def test_a_result_that_its_worker_still_has_when_the_hub_is_killed_is_not_run_again() -> None:
    world = NoisyWorld()
    worker = _at_work(world, retries=1)
    world.finish(worker, FAILURE)
    world.wait(1.0)
    world.workers[worker].connected = False
    world.finish(worker, SUCCESS)
    world.restart()
    world.hello(worker)
    world.client_back()
    world.settle()
    assert world.outcomes["fc-1", 0].status == SUCCESS
    assert (world.runs["fc-1", 0], world.lost["fc-1", 0]) == (2, 1)
