"""Inputs that a worker says it has: whatever it says, each of them ends once, and none is lost."""

from __future__ import annotations

from nbfn.hub.scheduler import events as e
from nbfn.protocol import messages as m
from tests.unit.hub.simulator import FAILURE, PYTHON, SUCCESS, Simulator, inputs_of, results_of

OLD = "wk-old"


def sim_with_claim(**options: int) -> tuple[Simulator, str]:
    """Return a simulator in which a worker claims an input of a call that no client has sent yet."""
    sim = Simulator()
    function = sim.register("f", **options)
    sim.put(e.WorkerJoined(OLD, 1, PYTHON, function, 1, [(7, "fc-old", 0, 1)]))
    return sim, function


def send_again(sim: Simulator, function: str) -> None:
    """Have the client send the call of the claimed input."""
    inputs = [(0, "fc-old:0")]
    sim.receive(
        "cl-1", m.PutCall("fc-old", function, 0, "map", inputs_of(inputs), closed=True, resent=True)
    )
    sim.check()


def test_a_claimed_input_runs_elsewhere_when_its_worker_is_lost_before_the_client_sends_it() -> (
    None
):
    sim, function = sim_with_claim()
    sim.put(e.WorkerLost(OLD))
    send_again(sim, function)
    sim.wait(sim.state.hub_state.limits.lease + 1)
    assert OLD not in sim.state.hub_state.workers
    sim.settle()
    assert sim.runs["fc-old", 0] == 1


def test_a_lost_worker_that_comes_back_keeps_the_input_that_it_claimed() -> None:
    sim, function = sim_with_claim()
    sim.put(e.WorkerLost(OLD))
    send_again(sim, function)
    sim.put(e.WorkerJoined(OLD, 1, PYTHON, function, 1, [(7, "fc-old", 0, 1)]))
    sim.check()
    sim.receive(OLD, m.Results(1, results_of([(7, SUCCESS, "result", 0.1, False)])))
    sim.check()
    assert sim.outcomes["fc-old", 0].payload == "result"
    assert not sim.runs


def test_a_draining_worker_ends_the_input_that_it_claimed_and_gets_no_other() -> None:
    sim, function = sim_with_claim()
    sim.receive("cl-1", m.StopWorker(1, OLD, graceful=True))
    send_again(sim, function)
    sim.receive(OLD, m.Results(1, results_of([(7, SUCCESS, "result", 0.1, False)])))
    sim.check()
    assert sim.outcomes["fc-old", 0].payload == "result"
    sim.call("fc-new", function, 1)
    assert not sim.state.hub_state.workers[OLD].leases
    sim.receive(OLD, m.Goodbye())
    sim.settle()
    assert sim.runs["fc-new", 0] == 1


def test_a_claim_ends_with_its_worker_although_one_with_the_same_id_joins() -> None:
    sim, function = sim_with_claim()
    sim.receive(OLD, m.Goodbye())
    assert not sim.state.hub_state.claims
    sim.put(e.WorkerJoined(OLD, 1, PYTHON, function, 1, [(7, "fc-old", 0, 1)]))
    send_again(sim, function)
    sim.receive(OLD, m.Results(1, results_of([(7, SUCCESS, "result", 0.1, False)])))
    assert sim.outcomes["fc-old", 0].payload == "result"


def test_only_the_worker_that_claimed_an_input_can_end_it() -> None:
    sim, function = sim_with_claim()
    sim.put(e.WorkerJoined("wk-other", 1, PYTHON, function, 1))
    sim.receive("wk-other", m.Results(1, results_of([(7, SUCCESS, "not mine", 0.1, False)])))
    hub_state = sim.state.hub_state
    assert (hub_state.workers[OLD].claimed, hub_state.workers["wk-other"].claimed) == (1, 0)
    send_again(sim, function)
    sim.receive(OLD, m.Results(1, results_of([(7, SUCCESS, "mine", 0.1, False)])))
    assert sim.outcomes["fc-old", 0].payload == "mine"


def test_an_input_that_waits_for_its_retry_is_not_handed_to_a_worker_that_claims_it() -> None:
    sim = Simulator()
    function = sim.register("f", retries=9, max_containers=1)
    sim.call("fc-1", function, 1)
    sim.up()
    sim.finish(sim.busy()[0].name, FAILURE)
    sim.put(e.WorkerJoined(OLD, 1, PYTHON, function, 1, [(7, "fc-1", 0, 1)]))
    sim.receive(OLD, m.Results(1, results_of([(7, FAILURE, "error", 0.1, False)])))
    call = sim.state.hub_state.calls["fc-1"]
    assert call.retrying == 1
    sim.wait(1.5)
    sim.check()
    assert call.leased + call.pool.backlog == 1


def test_a_worker_that_says_it_has_no_function_gives_its_inputs_back() -> None:
    sim = Simulator()
    function = sim.register("f", max_containers=1)
    sim.call("fc-1", function, 2)
    sim.up()
    (worker,) = sim.busy()
    running = [(grant.lease, grant.call, grant.index, grant.attempt) for grant in worker.queue]
    sim.put(e.WorkerJoined(worker.name, 1, PYTHON, "", 0, running))
    sim.check()
    assert sim.state.hub_state.calls["fc-1"].leased == 0
    worker.queue.clear()
    sim.bind(worker.name)
    sim.settle()
    assert sim.runs["fc-1", 0] == sim.runs["fc-1", 1] == 1
