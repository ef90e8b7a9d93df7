"""Cancelled calls, what they wait for, and calls that were never told to their end."""

from __future__ import annotations

import itertools

import pytest

from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.protocol import messages as m
from nbfn.protocol.call_states import InputCounts
from nbfn.protocol.messages import Payload
from nbfn.types import InputStatus
from tests.unit.hub.simulator import PYTHON, FakeWorker, Simulator, inputs_of, sent

TERMINATED = int(InputStatus.TERMINATED)
_numbers = itertools.count(1)


@pytest.fixture
def sim() -> Simulator:
    return Simulator()


def put(
    sim: Simulator,
    name: str,
    function: str,
    count: int = 1,
    *,
    client: str = "cl-1",
    start: int = 0,
    **more: object,
) -> list[fx.Effect]:
    """Begin a call, or tell of it again."""
    inputs = [(index, f"{name}:{index}") for index in range(start, start + count)]
    given = {"kind": "spawn", "closed": True} | more
    put = m.PutCall(name, function, 0, inputs=inputs_of(inputs), **given)  # type: ignore[arg-type]
    return sim.receive(client, put)


def nested(sim: Simulator, *, durable: bool = False) -> tuple[FakeWorker, FakeWorker]:
    """Have the code of a running input call another function; return the workers of both."""
    outer, inner = sim.register("outer"), sim.register("inner")
    put(sim, "fc-outer", outer, durable=True)
    sim.up()
    (upper,) = sim.busy()
    sim.put(e.ClientJoined("cl-2", executable=PYTHON, worker=upper.name))
    put(sim, "fc-inner", inner, client="cl-2", parent="fc-outer:0", durable=durable)
    sim.up()
    (lower,) = [worker for worker in sim.busy() if worker is not upper]
    return upper, lower


def test_a_cancelled_input_takes_along_what_it_waits_for(sim: Simulator) -> None:
    nested(sim)
    sim.receive("cl-1", m.Cancel(next(_numbers), "fc-outer"))
    assert sim.outcomes["fc-outer", 0].status == TERMINATED
    assert sim.outcomes["fc-inner", 0].status == TERMINATED
    assert not sim.state.hub_state.calls


def test_a_cancelled_input_leaves_what_it_spawned(sim: Simulator) -> None:
    _, lower = nested(sim, durable=True)
    sim.receive("cl-1", m.Cancel(next(_numbers), "fc-outer"))
    assert sim.outcomes["fc-outer", 0].status == TERMINATED
    sim.finish(lower.name)
    assert sim.outcomes["fc-inner", 0].status == InputStatus.SUCCESS


def test_what_a_dead_workers_code_waits_for_is_cancelled_at_once(sim: Simulator) -> None:
    upper, _ = nested(sim)
    sim.exit(upper.name, signal=9)
    assert "fc-inner" not in sim.state.hub_state.calls
    assert "cl-2" not in sim.state.hub_state.clients
    assert put(sim, "fc-late", sim.functions["inner"], client="cl-2") == []


def test_terminate_ends_the_worker_and_what_is_beside_runs_elsewhere(sim: Simulator) -> None:
    function = sim.register()
    put(sim, "fc-1", function)
    sim.up()
    (worker,) = sim.busy()
    effects = sim.receive("cl-1", m.Cancel(0, "fc-1", terminate=True))
    assert fx.StopWorker(worker.name, 0.0) in effects
    sim.exit(worker.name, signal=9)
    assert sim.outcomes["fc-1", 0].status == TERMINATED


def test_a_cancel_is_saved_before_it_is_answered(sim: Simulator) -> None:
    function = sim.register()
    put(sim, "fc-1", function, durable=True)
    sim.up()
    effects = sim.receive("cl-1", m.Cancel(7, "fc-1"))
    assert fx.SaveCancelled("fc-1") in effects
    assert fx.Send("cl-1", m.Done(7), after_commit=True) in effects


def test_a_cancel_of_what_memory_does_not_know_is_for_the_store_to_answer(sim: Simulator) -> None:
    effects = sim.receive("cl-1", m.Cancel(7, "fc-1"))
    assert effects == [fx.LoadCall("cl-1", 7, "fc-1", exists=True)]


def test_accepted_inputs_are_counted_and_the_end_is_told(sim: Simulator) -> None:
    function = sim.register()
    effects = put(sim, "fc-1", function, 3, durable=True, closed=False)
    assert fx.Send("cl-1", m.Accepted("fc-1", 3, closed=False), after_commit=True) in effects
    effects = sim.receive("cl-1", m.PutInputs("fc-1", inputs_of([(3, "x")]), closed=False))
    assert fx.Send("cl-1", m.Accepted("fc-1", 4, closed=False), after_commit=True) in effects
    effects = sim.receive("cl-1", m.PutInputs("fc-1", inputs_of([]), closed=True))
    assert fx.Send("cl-1", m.Accepted("fc-1", 4, closed=True), after_commit=True) in effects
    assert [x.closed for x in sim.told if isinstance(x, fx.SaveCall)] == [False, False, True]


def test_a_half_told_call_whose_client_is_gone_is_cancelled(sim: Simulator) -> None:
    function = sim.register()
    put(sim, "fc-1", function, 2, durable=True, closed=False)
    sim.put(e.ClientLost("cl-1"))
    sim.wait(sim.state.hub_state.limits.client_grace + 1)
    sim.settle()
    saved = [x for x in sim.told if isinstance(x, fx.SaveOutcomes)]
    assert {o.status for x in saved for o in x.outcomes} == {TERMINATED}
    assert not sim.state.hub_state.calls
    sim.put(e.ClientJoined("cl-1", executable=PYTHON))  # late, and it goes on to tell
    (effect,) = put(sim, "fc-1", function, 3, durable=True, resent=True)
    (refused,) = sent([effect], m.CallRefused)
    assert "client_grace" in refused.message


ONE_DONE = InputCounts(succeeded=1)


@pytest.mark.parametrize("back", [True, False])
def test_a_half_told_call_of_the_hub_before_waits_for_its_client(
    sim: Simulator, back: bool
) -> None:
    function = sim.register()
    sim.put(e.CallRestored("fc-1", function, 1, "spawn", [(1, "x")], 2, ONE_DONE, closed=False))
    if back:
        effects = put(sim, "fc-1", function, 1, start=2, durable=True, resent=True)
        assert fx.Send("cl-1", m.Accepted("fc-1", 3, closed=True), after_commit=True) in effects
    sim.wait(sim.state.hub_state.limits.client_grace + 1)
    sim.settle()
    assert not sim.state.hub_state.calls
    saved = [x for x in sim.told if isinstance(x, fx.SaveOutcomes)]
    found = {o.index: o.status for x in saved for o in x.outcomes}
    assert found == ({1: 1, 2: 1} if back else {1: TERMINATED})


def test_a_cancelled_call_of_the_hub_before_does_not_run_again(sim: Simulator) -> None:
    function = sim.register()
    sim.put(
        e.CallRestored("fc-1", function, 1, "spawn", [(0, "x")], 1, InputCounts(), cancelled=True)
    )
    sim.settle()
    assert not sim.runs
    (saved,) = [x for x in sim.told if isinstance(x, fx.SaveOutcomes)]
    assert [o.status for o in saved.outcomes] == [TERMINATED]


def test_no_more_inputs_of_spawned_calls_are_kept_than_the_setting_says() -> None:
    sim = Simulator(max_spawned=3)
    f = sim.register()
    put(sim, "fc-1", f, 2, durable=True)
    refused = put(sim, "fc-2", f, 2, durable=True)
    assert [x.code for x in sent(refused, m.CallRefused)] == ["resource_exhausted"]
    assert not sent(refused, m.Accepted)
    assert not any(isinstance(x, fx.SaveCall) for x in refused)
    put(sim, "fc-3", f, 9)  # what lives with its client does not count
    sim.settle()
    assert sent(put(sim, "fc-2", f, 2, durable=True), m.Accepted)
    sim.check()


def test_no_spawned_call_is_accepted_while_the_disk_is_almost_full() -> None:
    sim = Simulator(disk_reserve=64 * 2**20)
    f = sim.register()
    put(sim, "fc-1", f, 2, durable=True)
    sim.put(e.DiskMeasured("/home", 12 * 2**20))
    (refused,) = sent(put(sim, "fc-2", f, 2, durable=True), m.CallRefused)
    assert refused.code == "resource_exhausted"
    assert refused.message.startswith("12 MB are free on the disk of /home")
    put(sim, "fc-3", f, 2)  # this one is not kept
    sim.settle()
    assert {call for call, _ in sim.outcomes} == {"fc-1", "fc-3"}  # what was accepted goes on
    sim.put(e.DiskMeasured("/home", 2**30))
    assert sent(put(sim, "fc-2", f, 2, durable=True), m.Accepted)


def test_a_spawned_call_that_grows_too_large_is_cancelled_whole() -> None:
    sim = Simulator(max_spawned=3)
    f = sim.register()
    put(sim, "fc-1", f, 2, durable=True, closed=False)
    inputs = [(index, f"fc-1:{index}") for index in (2, 3)]
    told = sim.receive("cl-1", m.PutInputs("fc-1", inputs_of(inputs), closed=True))
    assert [x.code for x in sent(told, m.CallRefused)] == ["resource_exhausted"]
    assert not sent(told, m.Accepted)
    sim.settle()
    assert {outcome.status for outcome in sim.outcomes.values()} == {TERMINATED}
    sim.check()


def test_inputs_count_against_the_disk_from_when_they_are_accepted() -> None:
    sim = Simulator(disk_reserve=2 * 2**20)
    f = sim.register()
    sim.put(e.DiskMeasured("/home", 4 * 2**20))
    told = []
    for number in range(20):
        inputs = [(0, Payload(b"x" * 100_000))]
        told += sim.receive(
            "cl-1",
            m.PutCall(f"fc-{number}", f, 0, "spawn", inputs_of(inputs), closed=True, durable=True),
        )
    accepted = sent(told, m.Accepted)
    refused = sent(told, m.CallRefused)
    assert (len(accepted), len(refused)) == (10, 10), "each takes up twice its size"
    assert "0.2 MB are needed" in refused[0].message
    sim.put(e.DiskMeasured("/home", 2**30, "database or disk is full"))
    (refusal,) = sent(put(sim, "fc-z", f, 2, durable=True), m.CallRefused)
    assert "It cannot be written now (database or disk is full)" in refusal.message


def test_a_call_that_was_not_stored_is_dropped_whole() -> None:
    sim = Simulator()
    f = sim.register()
    told = put(sim, "fc-1", f, 3, durable=True)
    put(sim, "fc-2", f, 2, durable=True)
    sim.up()
    (save,) = [x for x in told if isinstance(x, fx.SaveCall)]
    told = sim.put(e.SaveFailed(save, "resource_exhausted", "no room"))
    told += [effect for _ in range(5) for effect in sim.put(e.Tick())]
    sim.settle()
    sim.check()
    assert {call for call, _ in sim.outcomes} == {"fc-2"}
    assert not [x for x in sim.told if isinstance(x, fx.SaveOutcomes) and x.call == "fc-1"]
    again = put(sim, "fc-1", f, 3, durable=True)
    assert sent(again, m.Accepted), "it may be spawned again"
    sim.settle()
    sim.check()


def test_more_of_a_call_that_was_not_stored_ends_the_call() -> None:
    sim = Simulator()
    f = sim.register()
    put(sim, "fc-1", f, 2, durable=True, closed=False)
    inputs = [(index, f"fc-1:{index}") for index in (2, 3)]
    told = sim.receive("cl-1", m.PutInputs("fc-1", inputs_of(inputs), closed=True))
    (save,) = [x for x in told if isinstance(x, fx.SaveCall)]
    sim.put(e.SaveFailed(save, "resource_exhausted", "no room"))
    sim.settle()
    sim.check()
    assert {outcome.status for outcome in sim.outcomes.values()} == {TERMINATED}
