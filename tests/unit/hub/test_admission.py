"""What is set aside for workers, and what waits for it; workers that take too long to load."""

from __future__ import annotations

from typing import Any

import pytest

from nbfn.hub.scheduler import admission
from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.protocol import messages as m
from nbfn.protocol.messages import Resources
from nbfn.types import InputStatus
from tests.unit.hub.simulator import Simulator, inputs_of, sends, sent


def needs(**resources: Any) -> dict[str, Any]:
    return {"options": {"resources": Resources(**resources)}}


def pool(sim: Simulator, name: str = "f") -> Any:
    return next(p for p in sim.state.hub_state.pools.values() if p.record.name == name)


def test_no_more_workers_than_there_is_memory_for() -> None:
    sim = Simulator(memory=100, cores=5)
    f = sim.register(max_containers=5, **needs(memory=40))
    sim.call("fc-1", f, 5)
    for _ in range(3):
        sim.up()
    assert len(pool(sim).workers) == 2
    assert pool(sim).short == 0  # no worker is started that could not be bound
    assert "memory" in pool(sim).waiting_for
    sim.settle()
    assert {o.status for o in sim.outcomes.values()} == {1}


def test_workers_that_ask_for_nothing_are_not_counted() -> None:
    sim = Simulator(memory=100)
    f = sim.register(max_containers=2, **needs(memory=100))
    g = sim.register("g", max_containers=2)
    sim.call("fc-1", f, 1)
    sim.call("fc-2", g, 2)
    sim.up()
    assert len(sim.busy()) == 3


def test_memory_is_set_aside_until_the_process_is_gone() -> None:
    sim = Simulator(memory=100)
    f = sim.register(max_containers=1, **needs(memory=60))
    sim.call("fc-1", f, 1)
    sim.up()
    sim.finish(sim.busy()[0].name)
    g = sim.register("g", max_containers=1, **needs(memory=60))
    sim.call("fc-2", g, 1)
    sim.up()
    assert not sim.busy()
    assert len(sim.to_stop) == 1  # the idle one makes room
    sim.stop(sim.to_stop[0])
    sim.up()
    assert sim.busy()[0].queue[0].call == "fc-2"


def test_fractions_of_processors_add_up() -> None:
    sim = Simulator(cpu=1.0)
    f = sim.register(max_containers=20, **needs(cpu=0.1))
    assert admission.fitting(sim.state.hub_state, pool(sim), 99) == 10
    assert f


def test_what_asks_for_more_than_there_is_fails_at_once() -> None:
    sim = Simulator(memory=100, cpu=2.0, gpus=("0",))
    for number, asked in enumerate(({"memory": 101}, {"cpu": 2.1}, {"gpus": 2})):
        f = sim.register(f"f{number}", **needs(**asked))
        sim.call(f"fc-{number}", f, 2)
    assert len(sim.outcomes) == 6
    assert {o.fault.code for o in sim.outcomes.values() if o.fault} == {"resource_exhausted"}


def test_gpus_are_each_one_workers() -> None:
    sim = Simulator(gpus=("3", "5", "7"), cores=5)
    f = sim.register(max_containers=3, **needs(gpu="any", gpus=1))
    sim.call("fc-1", f, 4)
    sim.up()
    sim.up()
    bound = {w.id: w.gpus for w in sim.state.hub_state.workers.values() if w.gpus}
    assert sorted(bound.values()) == [("3",), ("5",), ("7",)]
    told = [x.variables["CUDA_VISIBLE_DEVICES"] for x in sent(sim.told, m.Bind)]
    assert sorted(told) == ["3", "5", "7"]
    gone = next(worker for worker, gpus in bound.items() if gpus == ("5",))
    sim.exit(gone, signal=9)
    sim.up()
    sim.up()
    assert sorted(w.gpus for w in sim.state.hub_state.workers.values() if w.gpus) == [
        ("3",),
        ("5",),
        ("7",),
    ]


def test_a_worker_of_the_hub_before_keeps_its_gpus() -> None:
    sim = Simulator(gpus=("3", "5"))
    f = sim.register(max_containers=2, **needs(gpu="any", gpus=1))
    sim.put(e.WorkerJoined("wk-old", 1, "/usr/bin/python", f, 1, (), ("3",)))
    sim.call("fc-1", f, 2)
    sim.up()
    assert sorted(w.gpus for w in sim.state.hub_state.workers.values() if w.gpus) == [
        ("3",),
        ("5",),
    ]


def test_a_nested_call_that_needs_what_its_caller_holds_is_told() -> None:
    sim = Simulator(memory=100)
    f = sim.register(max_containers=1, **needs(memory=60))
    g = sim.register("g", max_containers=1, **needs(memory=60))
    sim.call("fc-1", f, 1)
    sim.up()
    sim.put(e.ClientJoined("cl-2", worker=sim.busy()[0].name))
    sim.receive("cl-2", m.PutCall("fc-in", g, 0, "remote", inputs_of([(0, "x")]), closed=True))
    outcome = sim.outcomes["fc-in", 0]
    assert outcome.fault is not None
    assert "wait for other calls" in outcome.fault.message


# --- loading -------------------------------------------------------------------------------------


def test_a_worker_that_loads_for_too_long_is_killed_and_what_waits_fails() -> None:
    sim = Simulator()
    f = sim.register(options={"startup_timeout": 3.0}, max_containers=1)
    sim.call("fc-1", f, 2)
    sim.start(sim.to_start[0])
    worker = sim.to_bind[0]
    sim.wait(2.9)
    assert not sim.outcomes
    sim.wait(0.2)
    assert fx.StopWorker(worker, 0.0) in sim.told
    assert {o.status for o in sim.outcomes.values()} == {InputStatus.INIT_FAILURE}
    assert all(
        o.fault and "startup_timeout of 3 s" in o.fault.message for o in sim.outcomes.values()
    )


def test_while_another_worker_serves_a_slow_one_fails_nobody() -> None:
    sim = Simulator()
    f = sim.register(options={"startup_timeout": 3.0}, max_containers=2)
    sim.call("fc-1", f, 2)
    for worker in list(sim.to_start):
        sim.start(worker)
    sim.bind(sim.to_bind[0])
    sim.wait(3.1)
    assert not sim.outcomes
    sim.to_bind.clear()
    sim.settle()
    assert {o.status for o in sim.outcomes.values()} == {1}


def test_a_worker_to_stand_by_that_cannot_load_is_tried_again_later_and_later() -> None:
    sim = Simulator()
    sim.register(min_containers=1, max_containers=1)
    tries = 0
    for _ in range(60):
        for worker in list(sim.to_start):
            sim.start(worker)
        for worker in list(sim.to_bind):
            tries += 1
            sim.to_bind.remove(worker)
            sim.receive(worker, m.BindFailed("", 0, m.Payload(b"error"), "text"))
        for worker in list(sim.to_stop):
            sim.stop(worker)
        sim.wait(1.0)
    assert 4 <= tries <= 7


# --- at most once --------------------------------------------------------------------------------


def once(sim: Simulator, **pool: float) -> str:
    return sim.register(options={"at_most_once": True}, max_containers=1, **pool)


def test_an_input_begins_only_once_that_is_on_disk() -> None:
    sim = Simulator()
    sim.call("fc-1", once(sim), 2)
    sim.up()
    run = sends(sim.told, m.Run)[0]
    assert run.after_commit
    assert len(sent([run], m.Run)[0].inputs) == 1  # none is sent ahead
    assert fx.SaveStarted("fc-1", [0]) in sim.told


def test_an_input_that_lost_its_worker_is_lost() -> None:
    sim = Simulator()
    sim.call("fc-1", once(sim), 2)
    sim.up()
    sim.exit(sim.busy()[0].name, signal=9)
    outcome = sim.outcomes["fc-1", 0]
    assert outcome.fault is not None
    assert (outcome.fault.code, "SIGKILL" in outcome.fault.message) == ("worker_lost", True)
    sim.settle()
    assert sim.outcomes["fc-1", 1].status == InputStatus.SUCCESS
    assert sim.runs["fc-1", 0] == 0


def test_an_input_whose_worker_is_unreachable_is_lost_and_its_late_result_dropped() -> None:
    sim = Simulator()
    sim.call("fc-1", once(sim), 1)
    sim.up()
    worker = sim.busy()[0]
    worker.connected = False
    sim.put(e.WorkerLost(worker.name))
    sim.wait(11.0)
    assert sim.outcomes["fc-1", 0].status == InputStatus.INTERNAL_FAILURE
    sim.finish(worker.name)
    assert sim.outcomes["fc-1", 0].status == InputStatus.INTERNAL_FAILURE


def test_what_a_worker_gives_back_has_not_begun() -> None:
    sim = Simulator()
    sim.call("fc-1", once(sim), 1)
    sim.up()
    worker = sim.busy()[0]
    (grant,) = worker.queue
    worker.queue.clear()
    sim.receive(worker.name, m.Returned([grant.lease]))
    sim.settle()
    assert sim.outcomes["fc-1", 0].status == InputStatus.SUCCESS


def test_what_had_begun_under_the_hub_before_does_not_begin_again() -> None:
    sim = Simulator()
    f = once(sim)
    sim.state.hub_state.started_inputs = {("fc-1", 0)}
    inputs = [(0, "fc-1:0"), (1, "fc-1:1")]
    sim.receive("cl-1", m.PutCall("fc-1", f, 0, "map", inputs_of(inputs), closed=True, resent=True))
    sim.settle()
    statuses = [sim.outcomes["fc-1", n].status for n in range(2)]
    assert statuses == [InputStatus.INTERNAL_FAILURE, InputStatus.SUCCESS]
    assert sim.runs["fc-1", 0] == 0


@pytest.mark.parametrize(
    ("limits", "asked"), [({"max_workers": 1}, {}), ({"memory": 100}, needs(memory=60))]
)
def test_a_worker_that_becomes_idle_makes_room_for_a_pool_that_waits(
    limits: dict[str, Any], asked: dict[str, Any]
) -> None:
    sim = Simulator(**limits)
    f = sim.register(max_containers=1, **asked)
    g = sim.register("g", max_containers=1, **asked)
    sim.call("fc-1", f, 1)
    sim.up()
    sim.call("fc-2", g, 1)
    assert not sim.to_stop
    sim.finish(sim.busy()[0].name)
    sim.stop(sim.to_stop[0])  # long before its scaledown_window is over
    sim.up()
    assert sim.busy()[0].queue[0].call == "fc-2"


def test_workers_that_die_together_while_they_start_are_one_failure() -> None:
    sim = Simulator(cores=5)
    f = sim.register(max_containers=5)
    sim.call("fc-1", f, 5)
    starting = list(sim.to_start)
    assert len(starting) > 3
    for worker in starting:  # their fork server was killed, say
        sim.to_start.remove(worker)
        sim.put(e.WorkerExited(worker, None, 9, 0))
    assert not sim.outcomes
    sim.wait(1.1)
    sim.settle()
    assert {o.status for o in sim.outcomes.values()} == {InputStatus.SUCCESS}


def test_who_waits_is_told_for_what_when_that_comes_to_be_known() -> None:
    sim = Simulator(memory=100)
    f = sim.register(max_containers=1, **needs(memory=60))
    g = sim.register("g", max_containers=1, **needs(memory=60))
    sim.call("fc-1", f, 1, durable=True)
    sim.up()
    sim.call("fc-2", g, 1, durable=True)
    sim.call("fc-3", g, 1, kind="remote")
    sim.wait(1.0)
    told = sent(sim.told, m.Progress)
    for call in ("fc-2", "fc-3"):
        assert "memory" in [x for x in told if x.call == call][-1].waiting_for


def test_a_single_call_that_waits_hears_so_and_that_it_began_and_others_nothing() -> None:
    sim = Simulator()
    f = sim.register(max_containers=1)
    sim.call("fc-1", f, 1, kind="remote")
    sim.up()
    sim.call("fc-2", f, 1, kind="remote")
    sim.wait(1.0)
    sim.finish(sim.busy()[0].name)
    sim.wait(1.0)
    told = sent(sim.told, m.Progress)
    assert {x.call for x in told} == {"fc-2"}
    assert "max 1 reached" in [x.waiting_for for x in told]
    assert told[-1].counts.running
