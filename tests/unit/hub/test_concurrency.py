"""Workers that run several inputs at once, or batches: how many they get, and whose a crash is."""

from __future__ import annotations

import pytest

from nbfn.hub.scheduler import events as e
from nbfn.hub.scheduler import status
from nbfn.protocol import messages as m
from nbfn.protocol.messages import Batching, Method
from nbfn.types import InputStatus
from tests.unit.hub.simulator import (
    FAILURE,
    PYTHON,
    FakeWorker,
    Simulator,
    inputs_of,
    results_of,
    sent,
)


def loads(sim: Simulator) -> list[int]:
    return sorted(len(worker.queue) for worker in sim.workers.values() if worker.function)


def only(sim: Simulator) -> FakeWorker:
    (worker,) = sim.busy()
    return worker


def batches(worker: FakeWorker) -> list[list[int]]:
    found: dict[int, list[int]] = {}
    for grant in worker.queue:
        found.setdefault(grant.batch, []).append(grant.index)
    return list(found.values())


# --- at once ---


def test_a_worker_gets_as_many_as_it_runs_at_once_and_no_more() -> None:
    sim = Simulator()
    f = sim.register(at_once=(10, 10), max_containers=1)
    sim.call("fc-1", f, 25)
    sim.up()
    assert len(only(sim).queue) == 10
    sim.finish(only(sim).name, duration=1e-6)  # quick ones are not sent ahead either
    assert len(only(sim).queue) == 10


def test_inputs_are_spread_over_workers() -> None:
    sim = Simulator()
    f = sim.register(at_once=(10, 10), min_containers=2, max_containers=2)
    sim.up()
    sim.call("fc-1", f, 8)
    assert loads(sim) == [4, 4]


def test_the_pool_aims_at_target_inputs_while_bursts_go_to_those_there() -> None:
    sim = Simulator(cores=4)
    f = sim.register(at_once=(10, 2), max_containers=4)
    sim.call("fc-1", f, 8)
    sim.up(1)
    pool = next(iter(sim.state.hub_state.pools.values()))
    assert len(only(sim).queue) == 8
    assert len(pool.workers) + pool.short == 4


def test_a_worker_whose_inputs_wait_for_others_still_takes_more_while_it_has_room() -> None:
    sim = Simulator()
    f = sim.register(at_once=(3, 3), max_containers=1)
    sim.call("fc-1", f, 1)
    sim.up()
    worker = only(sim)
    sim.put(e.ClientJoined("cl-2", worker=worker.name))
    for number in range(2):  # its input calls the same Function, twice
        sim.receive(
            "cl-2", m.PutCall(f"fc-in-{number}", f, 0, "remote", inputs_of([(0, "x")]), closed=True)
        )
    assert len(worker.queue) == 3
    pool = next(iter(sim.state.hub_state.pools.values()))
    assert pool.lent == 1  # it is full, and one of the three only waits
    sim.call("fc-2", f, 1)
    sim.up()
    assert len(sim.busy()) == 2


def test_a_crash_under_several_inputs_has_each_run_again_alone() -> None:
    sim = Simulator()
    f = sim.register(at_once=(3, 3), max_containers=1)
    sim.call("fc-1", f, 3)
    sim.up()
    sim.exit(only(sim).name, signal=11)
    alone = []
    for _ in range(3):
        sim.up()
        while sim.to_stop:
            sim.stop(sim.to_stop[0])
        sim.up()
        worker = only(sim)
        assert len(worker.queue) == 1
        alone.append(worker.queue[0].index)
        if worker.queue[0].index == 1:
            sim.exit(worker.name, signal=11)
        else:
            sim.finish(worker.name)
    assert sorted(alone) == [0, 1, 2]
    statuses = {index: outcome.status for (_, index), outcome in sim.outcomes.items()}
    assert statuses == {0: 1, 1: InputStatus.INTERNAL_FAILURE, 2: 1}


def test_a_crash_between_inputs_is_nobodys() -> None:
    sim = Simulator()
    f = sim.register(at_once=(3, 3), max_containers=1)
    sim.call("fc-1", f, 3)
    sim.up()
    gone = sim.workers.pop(only(sim).name)
    sim.put(e.WorkerExited(gone.name, None, 9, 0))
    sim.settle()
    assert {outcome.status for outcome in sim.outcomes.values()} == {1}
    assert all(item == 1 for item in sim.runs.values())


def test_a_stubborn_input_is_killed_although_its_neighbours_come_and_go() -> None:
    sim = Simulator()
    f = sim.register(at_once=(2, 2), max_containers=1, timeout=10.0)
    sim.call("fc-1", f, 100)
    sim.up()
    worker = only(sim)
    stubborn = worker.queue.pop(0)
    for _ in range(25):
        sim.wait(1.0)
        if worker.name in sim.to_stop:
            break
        if worker.queue:
            sim.finish(worker.name, duration=1.0)
    worker.queue.insert(0, stubborn)
    sim.stop(worker.name)
    outcome = sim.outcomes["fc-1", stubborn.index]
    assert outcome.status == InputStatus.TIMEOUT
    assert sum(o.status == InputStatus.TIMEOUT for o in sim.outcomes.values()) == 1


def test_a_stubborn_input_with_retries_runs_again() -> None:
    sim = Simulator()
    f = sim.register(retries=1, timeout=10.0, max_containers=1)
    sim.call("fc-1", f, 1)
    sim.up()
    sim.wait(30.0)
    sim.stop(sim.to_stop[0])
    assert not sim.outcomes
    sim.wait(1.0)
    sim.settle()
    assert sim.outcomes["fc-1", 0].status == InputStatus.SUCCESS


# --- batches ---


def test_a_full_batch_leaves_at_once_and_a_part_when_it_has_waited() -> None:
    sim = Simulator()
    f = sim.register(batches=(4, 2.0), max_containers=1)
    sim.register("warm")
    sim.call("fc-1", f, 6)
    sim.up()
    assert batches(only(sim)) == [[0, 1, 2, 3]]
    for _ in range(4):
        sim.finish(only(sim).name)
    assert not sim.busy()
    sim.wait(1.9)
    assert not sim.busy()
    sim.wait(0.2)
    assert batches(only(sim)) == [[4, 5]]


def test_a_batch_gathers_inputs_of_several_calls() -> None:
    sim = Simulator()
    f = sim.register(batches=(3, 60.0), max_containers=1)
    for number in range(3):
        sim.call(f"fc-{number}", f, 1, kind="remote")
    sim.up()
    worker = only(sim)
    assert len({grant.batch for grant in worker.queue}) == 1
    assert sorted(grant.call for grant in worker.queue) == ["fc-0", "fc-1", "fc-2"]


def test_a_batch_holds_inputs_of_one_method_only() -> None:
    sim = Simulator()
    methods = tuple(Method(name, batching=Batching(2, 60.0)) for name in ("a", "b"))
    plain = Method("plain")
    f = sim.register(options={"kind": "cls", "methods": (*methods, plain)}, max_containers=1)
    sim.call("fc-1", f, 1, method="a")
    sim.call("fc-2", f, 1, method="b")
    sim.up()
    assert not sim.busy()
    sim.call("fc-3", f, 1, method="plain")
    assert [grant.batch for grant in only(sim).queue] == [0]
    sim.finish(only(sim).name)
    sim.call("fc-4", f, 1, method="b")
    assert [grant.call for grant in only(sim).queue] == ["fc-2", "fc-4"]


def test_batches_run_at_once_where_the_function_is_concurrent() -> None:
    sim = Simulator()
    f = sim.register(batches=(2, 60.0), at_once=(3, 3), max_containers=1)
    sim.call("fc-1", f, 8)
    sim.up()
    assert batches(only(sim)) == [[0, 1], [2, 3], [4, 5]]
    sim.finish(only(sim).name)
    assert len(batches(only(sim))) == 3  # half of the first one still runs
    sim.finish(only(sim).name)
    assert batches(only(sim)) == [[2, 3], [4, 5], [6, 7]]


def test_an_input_that_is_cancelled_leaves_its_batch_while_others_go_on() -> None:
    sim = Simulator()
    f = sim.register(batches=(3, 60.0), max_containers=1)
    sim.call("fc-1", f, 3)
    sim.up()
    sim.told.clear()
    sim.receive("cl-1", m.Cancel(0, "fc-1", [0, 1]))
    assert not sent(sim.told, m.CancelInput)
    assert {i for _, i in sim.outcomes} == {0, 1}
    sim.receive("cl-1", m.Cancel(0, "fc-1", [2]))  # the last one: nobody wants the batch
    assert sent(sim.told, m.CancelInput)
    assert sim.outcomes["fc-1", 2].status == InputStatus.TERMINATED


def test_a_crash_under_a_batch_has_each_input_run_again_alone() -> None:
    sim = Simulator()
    f = sim.register(batches=(3, 60.0), max_containers=1)
    sim.call("fc-1", f, 3)
    sim.up()
    sim.exit(only(sim).name, signal=11)
    sim.settle()
    assert {outcome.status for outcome in sim.outcomes.values()} == {1}
    assert [run.inputs for run in sent(sim.told, m.Run)][1:] != []
    sizes = [len(run.inputs) for run in sent(sim.told, m.Run)]
    assert sizes == [3, 1, 1, 1]


def test_failed_inputs_of_a_batch_are_retried_one_by_one() -> None:
    sim = Simulator()
    f = sim.register(batches=(2, 5.0), retries=1, max_containers=1)
    sim.call("fc-1", f, 2)
    sim.up()
    sim.finish(only(sim).name, FAILURE)
    sim.finish(only(sim).name)
    sim.settle()
    assert {outcome.status for outcome in sim.outcomes.values()} == {1}


# --- single use ---


def test_each_input_gets_a_fresh_worker() -> None:
    sim = Simulator()
    f = sim.register(options={"single_use": True}, max_containers=2)
    sim.call("fc-1", f, 5)
    sim.settle()
    workers = [outcome.worker for outcome in sim.outcomes.values()]
    assert len(set(workers)) == 5


@pytest.mark.parametrize("at_once", [None, (10, 10)])
def test_a_worker_of_single_use_gets_one_input(at_once: tuple[int, int] | None) -> None:
    sim = Simulator()
    f = sim.register(options={"single_use": True}, at_once=at_once, max_containers=1)
    sim.call("fc-1", f, 5)
    sim.up()
    assert len(only(sim).queue) == 1


def test_inputs_that_gather_say_so() -> None:
    sim = Simulator()
    f = sim.register(batches=(4, 60.0), max_containers=1)
    sim.call("fc-1", f, 3)
    sim.up()
    (pool,) = sim.state.hub_state.pools.values()
    assert pool.waiting_for == "a batch of 4 gathers"
    sim.call("fc-2", f, 1)
    assert pool.waiting_for == ""


def test_plain_methods_beside_batched_ones_get_workers_of_their_own() -> None:
    sim = Simulator(cores=4)
    methods = (Method("batched", batching=Batching(50, 60.0)), Method("plain"))
    f = sim.register(options={"kind": "cls", "methods": methods}, max_containers=4)
    sim.call("fc-1", f, 4, method="plain")
    for _ in range(4):
        sim.up()
    assert len(sim.busy()) == 4


def test_a_batch_wants_one_worker() -> None:
    sim = Simulator(cores=4)
    f = sim.register(batches=(50, 60.0), max_containers=4)
    sim.call("fc-1", f, 50)
    sim.up()
    assert len(next(iter(sim.state.hub_state.pools.values())).workers) == 1


def test_looking_at_a_function_makes_no_pool() -> None:
    sim = Simulator()
    f = sim.register(at_once=(5, 5), batches=(4, 1.0), max_containers=3)
    hub_state = sim.state.hub_state
    hub_state.pools.clear()
    assert status.counters(hub_state, hub_state.registry.functions[f]).headroom == 60
    assert not hub_state.pools


def test_what_a_worker_runs_since_the_hub_before_takes_its_room() -> None:
    sim = Simulator()
    f = sim.register(at_once=(3, 3), max_containers=1)
    running = [(lease, "fc-old", index, 1) for index, lease in enumerate((7, 8))]
    sim.put(e.WorkerJoined("wk-old", 1, PYTHON, f, 1, running))
    hub_state = sim.state.hub_state
    sim.call("fc-new", f, 5)
    assert len(hub_state.workers["wk-old"].leases) == 1
    old = [(0, "fc-old:0"), (1, "fc-old:1")]
    sim.receive("cl-1", m.PutCall("fc-old", f, 0, "map", inputs_of(old), closed=True, resent=True))
    assert len(hub_state.workers["wk-old"].leases) == 3
    sim.receive("wk-old", m.Results(1, results_of([(7, 1, "fc-old:0", 0.1, False)])))
    assert sim.outcomes["fc-old", 0].payload == "fc-old:0"
    assert len(hub_state.workers["wk-old"].leases) == 3


def test_a_claim_that_nobody_tells_of_gives_its_room_back() -> None:
    sim = Simulator()
    f = sim.register(at_once=(2, 2), max_containers=1)
    sim.put(e.WorkerJoined("wk-old", 1, PYTHON, f, 1, [(7, "fc-old", 0, 1), (8, "fc-old", 1, 1)]))
    sim.call("fc-new", f, 5)
    worker = sim.state.hub_state.workers["wk-old"]
    assert not worker.leases
    sim.receive("wk-old", m.Results(1, results_of([(7, 1, "x", 0.1, False)])))
    assert len(worker.leases) == 1
    sim.wait(61.0)
    assert len(worker.leases) == 2
