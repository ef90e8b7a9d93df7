"""Single cases of what `test_redelivery_fuzzing` tries at random: each was a fault once."""

from __future__ import annotations

import pytest

from nbfn.hub.scheduler import events as e
from nbfn.protocol import messages as m
from tests.unit.hub.redelivery import RedeliverySimulator
from tests.unit.hub.simulator import FAILURE, SUCCESS, inputs_of


def _at_work(
    sim: RedeliverySimulator, count: int = 1, *, durable: bool = False, retries: int = 0
) -> str:
    """Begin a call and have a worker run its first input; return the worker."""
    function = sim.register("f", max_containers=1, retries=retries)
    sim.up()
    sim.give("fc-1", function, count, durable=durable)
    sim.up()
    (busy,) = sim.busy()
    return busy.name


def test_an_adopted_input_that_is_lost_again_at_once_is_queued_once() -> None:
    sim = RedeliverySimulator()
    worker = _at_work(sim, durable=True)
    sim.restart()
    sim.hello(worker)
    sim.exit(worker, signal=9)
    sim.wait(2.0)
    assert sim.state.hub_state.calls["fc-1"].pool.backlog == 1
    sim.client_back()
    sim.settle()
    assert sim.runs["fc-1", 0] == 1


def test_a_worker_that_is_back_before_its_loss_was_noticed_gets_again_what_never_reached_it() -> (
    None
):
    sim = RedeliverySimulator()
    worker = _at_work(sim)
    sim.finish(worker)
    sim.workers[worker].connected = False
    sim.give("fc-2", sim.functions["f"], 1, durable=False)
    assert not sim.workers[worker].queue
    sim.hello(worker)
    sim.check()
    sim.settle()
    assert len(sim.outcomes) == 2


def test_a_lease_is_as_long_the_second_time() -> None:
    sim = RedeliverySimulator()
    worker = _at_work(sim)
    for seconds in (6.0, 6.0):
        sim.workers[worker].connected = False
        sim.put(e.WorkerLost(worker))
        sim.wait(seconds)
        sim.hello(worker)
    sim.settle()
    assert sim.outcomes["fc-1", 0].attempt == 1


def test_a_binding_that_never_arrived_is_said_again() -> None:
    sim = RedeliverySimulator()
    function = sim.register("f", max_containers=1)
    sim.give("fc-1", function, 1, durable=False)
    sim.start(sim.to_start[0])
    (worker,) = sim.to_bind
    sim.to_bind.clear()
    sim.workers[worker].function = ""
    sim.workers[worker].connected = False
    sim.hello(worker)
    sim.settle()
    assert len(sim.outcomes) == 1


def test_a_spawned_call_that_is_told_again_after_its_end_does_not_run_again() -> None:
    sim = RedeliverySimulator()
    worker = _at_work(sim, durable=True)
    sim.unaccepted.add("fc-1")  # the word that it is safe was lost
    sim.finish(worker)
    sim.client_back()
    sim.settle()
    assert sim.runs["fc-1", 0] == 1
    assert not sim.unaccepted


def test_nor_after_a_new_hub_began() -> None:
    sim = RedeliverySimulator()
    worker = _at_work(sim, 3, durable=True)
    sim.unaccepted.add("fc-1")
    for _ in range(3):
        sim.finish(worker)
    sim.restart()
    sim.client_back()
    sim.settle()
    assert max(sim.runs.values()) == 1
    assert not sim.unaccepted


def test_nor_that_part_of_it_that_has_its_outcome() -> None:
    sim = RedeliverySimulator()
    function = sim.register("f", max_containers=2)
    sim.give("fc-1", function, 2, durable=True)
    sim.unaccepted.add("fc-1")
    sim.up()
    first, second = sorted(sim.busy(), key=lambda fake: fake.queue[0].index)
    sim.finish(second.name)
    sim.restart()
    sim.exit(first.name, signal=9)
    sim.client_back()
    sim.settle()
    assert max(sim.runs.values()) == 1
    assert sim.state.hub_state.calls == {}


def test_a_worker_may_say_hello_twice() -> None:
    sim = RedeliverySimulator()
    worker = _at_work(sim, 2)
    fake = sim.workers[worker]
    running = [(g.lease, g.call, g.index, g.attempt) for g in fake.queue]
    for _ in range(2):
        sim.put(e.WorkerJoined(worker, 1, "/usr/bin/python", fake.function, 1, running))
        sim.check()
    sim.settle()
    assert set(sim.runs.values()) == {1}


def test_inputs_of_a_broken_connection_that_are_read_late_do_not_run_twice() -> None:
    sim = RedeliverySimulator()
    sim.wait(5.0)  # no input waits for a worker of the hub before
    function = sim.register()
    first, second = [(0, "a"), (1, "b")], [(2, "c"), (3, "d")]
    sim.receive("cl-1", m.PutCall("map", function, 0, "map", inputs_of(first), closed=False))
    again = e.Received(
        "cl-1",
        m.PutCall("map", function, 0, "map", inputs_of(first + second), closed=True, resent=True),
    )
    sim.put(again)
    sim.receive("cl-1", m.PutInputs("map", inputs_of(second), closed=True))
    sim.settle()
    assert sim.runs == {("map", index): 1 for index in range(4)}


def test_a_new_call_after_a_restart_takes_no_place_of_a_worker_that_is_still_to_come_back() -> None:
    sim = RedeliverySimulator()
    worker = _at_work(sim, durable=True)
    sim.restart()
    sim.client_back()
    sim.give("fc-2", sim.functions["f"], 1, durable=False)
    for blank in list(sim.to_start):
        sim.start(blank)
    assert not sim.to_bind
    sim.hello(worker)
    sim.check()  # no pool has more than its most
    sim.settle()
    assert sim.runs["fc-1", 0] == sim.runs["fc-2", 0] == 1


@pytest.mark.parametrize(("durable", "runs", "lost"), [(False, 3, 2), (True, 2, 0)])
def test_what_only_a_hub_knew_that_was_killed_is_run_again_unless_it_is_on_disk(
    durable: bool, runs: int, lost: int
) -> None:
    sim = RedeliverySimulator()
    worker = _at_work(sim, durable=durable, retries=1)
    sim.finish(worker, FAILURE)
    sim.wait(1.0)
    sim.deaf = True
    sim.finish(worker, SUCCESS)
    sim.wait(1.0)  # the worker is told that the hub has the result; the client does not get it
    sim.restart()
    sim.hello(worker)
    sim.client_back()
    sim.settle()
    assert sim.outcomes["fc-1", 0].status == SUCCESS
    assert (sim.runs["fc-1", 0], sim.lost["fc-1", 0]) == (runs, lost)


def test_a_result_that_its_worker_still_has_when_the_hub_is_killed_is_not_run_again() -> None:
    sim = RedeliverySimulator()
    worker = _at_work(sim, retries=1)
    sim.finish(worker, FAILURE)
    sim.wait(1.0)
    sim.workers[worker].connected = False
    sim.finish(worker, SUCCESS)
    sim.restart()
    sim.hello(worker)
    sim.client_back()
    sim.settle()
    assert sim.outcomes["fc-1", 0].status == SUCCESS
    assert (sim.runs["fc-1", 0], sim.lost["fc-1", 0]) == (2, 1)
