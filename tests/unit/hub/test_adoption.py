"""Inputs that a worker says it has: whatever it says, each of them ends once, and none is lost."""

from __future__ import annotations

from nbfn.hub.machine import events as e
from nbfn.wire import messages as m
from tests.unit.hub.world import FAILURE, PYTHON, SUCCESS, World, inputs_of, results_of

OLD = "wk-old"


def world_with_claim(**options: int) -> tuple[World, str]:
    """Return a world in which a worker claims an input of a call that no client has sent yet."""
    world = World()
    function = world.register("f", **options)
    world.put(e.WorkerJoined(OLD, 1, PYTHON, function, 1, [(7, "fc-old", 0, 1)]))
    return world, function


def send_again(world: World, function: str) -> None:
    """Have the client send the call of the claimed input."""
    inputs = [(0, "fc-old:0")]
    world.receive(
        "cl-1", m.PutCall("fc-old", function, 0, "map", inputs_of(inputs), closed=True, resent=True)
    )
    world.check()


def test_a_claimed_input_runs_elsewhere_when_its_worker_is_lost_before_the_client_sends_it() -> (
    None
):
    world, function = world_with_claim()
    world.put(e.WorkerLost(OLD))
    send_again(world, function)
    world.wait(world.state.tables.limits.lease + 1)
    assert OLD not in world.state.tables.workers
    world.settle()
    assert world.runs["fc-old", 0] == 1


def test_a_lost_worker_that_comes_back_keeps_the_input_that_it_claimed() -> None:
    world, function = world_with_claim()
    world.put(e.WorkerLost(OLD))
    send_again(world, function)
    world.put(e.WorkerJoined(OLD, 1, PYTHON, function, 1, [(7, "fc-old", 0, 1)]))
    world.check()
    world.receive(OLD, m.Results(1, results_of([(7, SUCCESS, "result", 0.1, False)])))
    world.check()
    assert world.outcomes["fc-old", 0].payload == "result"
    assert not world.runs


def test_a_draining_worker_ends_the_input_that_it_claimed_and_gets_no_other() -> None:
    world, function = world_with_claim()
    world.receive("cl-1", m.StopWorker(1, OLD, graceful=True))
    send_again(world, function)
    world.receive(OLD, m.Results(1, results_of([(7, SUCCESS, "result", 0.1, False)])))
    world.check()
    assert world.outcomes["fc-old", 0].payload == "result"
    world.call("fc-new", function, 1)
    assert not world.state.tables.workers[OLD].leases
    world.receive(OLD, m.Goodbye())
    world.settle()
    assert world.runs["fc-new", 0] == 1


def test_a_claim_ends_with_its_worker_although_one_with_the_same_id_joins() -> None:
    world, function = world_with_claim()
    world.receive(OLD, m.Goodbye())
    assert not world.state.tables.claims
    world.put(e.WorkerJoined(OLD, 1, PYTHON, function, 1, [(7, "fc-old", 0, 1)]))
    send_again(world, function)
    world.receive(OLD, m.Results(1, results_of([(7, SUCCESS, "result", 0.1, False)])))
    assert world.outcomes["fc-old", 0].payload == "result"


def test_only_the_worker_that_claimed_an_input_can_end_it() -> None:
    world, function = world_with_claim()
    world.put(e.WorkerJoined("wk-other", 1, PYTHON, function, 1))
    world.receive("wk-other", m.Results(1, results_of([(7, SUCCESS, "not mine", 0.1, False)])))
    tables = world.state.tables
    assert (tables.workers[OLD].claimed, tables.workers["wk-other"].claimed) == (1, 0)
    send_again(world, function)
    world.receive(OLD, m.Results(1, results_of([(7, SUCCESS, "mine", 0.1, False)])))
    assert world.outcomes["fc-old", 0].payload == "mine"


def test_an_input_that_waits_for_its_retry_is_not_handed_to_a_worker_that_claims_it() -> None:
    world = World()
    function = world.register("f", retries=9, max_containers=1)
    world.call("fc-1", function, 1)
    world.up()
    world.finish(world.busy()[0].name, FAILURE)
    world.put(e.WorkerJoined(OLD, 1, PYTHON, function, 1, [(7, "fc-1", 0, 1)]))
    world.receive(OLD, m.Results(1, results_of([(7, FAILURE, "error", 0.1, False)])))
    call = world.state.tables.calls["fc-1"]
    assert call.retrying == 1
    world.wait(1.5)
    world.check()
    assert call.running + call.pool.backlog == 1


def test_a_worker_that_says_it_has_no_function_gives_its_inputs_back() -> None:
    world = World()
    function = world.register("f", max_containers=1)
    world.call("fc-1", function, 2)
    world.up()
    (worker,) = world.busy()
    running = [(grant.lease, grant.call, grant.index, grant.attempt) for grant in worker.queue]
    world.put(e.WorkerJoined(worker.name, 1, PYTHON, "", 0, running))
    world.check()
    assert world.state.tables.calls["fc-1"].running == 0
    worker.queue.clear()
    world.bind(worker.name)
    world.settle()
    assert world.runs["fc-1", 0] == world.runs["fc-1", 1] == 1
