"""Results that are not taken hold up their call and no other; payloads on the disk are read when they run."""

from __future__ import annotations

import msgspec

from nbfn.hub.scheduler import back_pressure, fair_queue, payload_cache
from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.hub.scheduler.payloads import Stored
from nbfn.protocol import codec
from nbfn.protocol import messages as m
from nbfn.protocol.messages import Payload, ResultsTaken, Segment
from nbfn.types import InputStatus
from tests.unit.hub.simulator import FakeWorker, Simulator, inputs_of, sends, sent

MiB = 2**20
SUCCESS = int(InputStatus.SUCCESS)


def a_sim(**options: int) -> tuple[Simulator, str]:
    sim = Simulator()
    function = sim.register("f", max_containers=1, **options)
    return sim, function


def finish(sim: Simulator, weight: int, status: int = SUCCESS) -> None:
    """Have the worker end its first input with a result of so many bytes."""
    worker = sim.busy()[0]
    grant = worker.queue.pop(0)
    sim.results(worker, [(grant.lease, status, Payload(bytes(weight)), 1.0, False)])


def run_all(sim: Simulator, weight: int) -> None:
    while sim.busy():
        finish(sim, weight)


def put(
    sim: Simulator, function: str, name: str, sizes: list[int], *, durable: bool = False
) -> None:
    inputs = [(index, Payload(bytes(size))) for index, size in enumerate(sizes)]
    sim.receive(
        "cl-1", m.PutCall(name, function, 0, "map", inputs_of(inputs), closed=True, durable=durable)
    )
    sim.up()


def test_a_call_is_held_until_its_results_are_taken() -> None:
    sim, function = a_sim()
    sim.call("fc-a", function, 100)
    sim.up()
    run_all(sim, 4 * MiB)
    call = sim.state.hub_state.calls["fc-a"]
    assert call.done == back_pressure.MOST // (4 * MiB)
    assert call.pool.backlog == 100 - call.done, "what is held is still to be done"

    sim.call("fc-b", function, 3)
    run_all(sim, 10)
    assert ("fc-b", 2) in sim.outcomes, "others go on"

    sim.receive("cl-1", m.ResultsTaken("fc-a", 8 * MiB))
    assert not sim.busy(), "it goes on when half of them are taken"
    sim.receive("cl-1", m.ResultsTaken("fc-a", 20 * MiB))
    run_all(sim, 4 * MiB)
    assert call.done == (back_pressure.MOST + 28 * MiB) // (4 * MiB)
    sim.receive("cl-1", m.ResultsTaken("fc-a", 10**9))
    while call.done < 100:
        run_all(sim, 4 * MiB)
        sim.receive("cl-1", m.ResultsTaken("fc-a", 10**9))


def test_outcomes_are_forgotten_when_they_are_taken_in_the_order_in_which_they_left() -> None:
    sim, function = a_sim()
    sim.call("fc-a", function, 10)
    sim.up()
    for _ in range(5):
        finish(sim, MiB)
    call = sim.state.hub_state.calls["fc-a"]
    sim.receive("cl-1", m.ResultsTaken("fc-a", 2 * MiB + 2 * m.OUTPUT_BYTES - 1))
    assert [outcome.index for outcome in call.recent] == [1, 2, 3, 4]
    sim.receive("cl-1", m.ResultsTaken("fc-a", 1))
    assert [outcome.index for outcome in call.recent] == [2, 3, 4]


def test_an_input_that_runs_again_does_not_wait() -> None:
    sim, function = a_sim(retries=1)
    sim.call("fc-a", function, 50)
    sim.up()
    finish(sim, 10, int(InputStatus.FAILURE))  # the first one
    run_all(sim, 8 * MiB)
    assert sim.state.hub_state.calls["fc-a"] in sim.state.hub_state.held
    assert ("fc-a", 0) not in sim.outcomes
    sim.wait(2.0)  # it is tried again
    (worker,) = sim.busy()
    assert [grant.index for grant in worker.queue] == [0]


def test_a_held_call_can_be_cancelled_and_its_client_be_lost() -> None:
    sim, function = a_sim()
    for name in ("fc-a", "fc-b"):
        sim.call(name, function, 50)
        sim.up()
        run_all(sim, 16 * MiB)
    sim.receive("cl-1", m.Cancel(0, "fc-a"))
    assert sim.outcomes["fc-a", 49].status == InputStatus.TERMINATED
    sim.put(e.ClientLost("cl-1"))
    sim.wait(100.0)
    assert not sim.state.hub_state.held
    assert not sim.state.hub_state.calls


def test_workers_are_handed_bytes_and_at_least_one_input() -> None:
    sim, function = a_sim()
    put(sim, function, "fc-a", [MiB] * 100 + [10 * MiB] * 5)
    most = 0
    while sim.busy():
        worker = sim.busy()[0]
        grants = worker.queue
        most = max(most, sum(grant.payload.weight for grant in grants))
        results = [(g.lease, SUCCESS, Payload(b""), 1e-6, False) for g in grants]
        worker.queue = []
        sim.results(worker, results)
    assert len(sim.outcomes) == 105
    assert fair_queue.LEASE_BYTES <= most <= 20 * MiB


def test_batches_are_full_by_bytes() -> None:
    sim = Simulator()
    function = sim.register("f", max_containers=1, batches=(100, 60.0))
    put(sim, function, "fc-a", [2 * MiB] * 100)
    (worker,) = sim.busy()
    assert len(worker.queue) == fair_queue.BATCH_BYTES // (2 * MiB)


def test_payloads_of_durable_inputs_that_do_not_fit_are_read_when_they_run() -> None:
    sim, function = a_sim()
    put(sim, function, "fc-a", [8 * MiB] * 10, durable=True)
    hub_state = sim.state.hub_state
    fits = payload_cache.MOST // (8 * MiB)
    kept = [item for item in hub_state.calls["fc-a"].inputs.values() if not item.stored]
    assert len(kept) == fits
    assert hub_state.loaded_bytes == fits * 8 * MiB
    for index in range(10):
        (worker,) = sim.busy()
        runs = sends(sim.told, m.Run)
        last = [x for x in sim.told if x in runs or isinstance(x, fx.LoadInputs)][-1]
        assert isinstance(last, fx.LoadInputs) == (index >= fits)
        assert isinstance(first(worker).payload, Stored) == (index >= fits)
        finish(sim, 10)
    assert hub_state.loaded_bytes == 0


def first(worker: FakeWorker) -> m.LeasedInput:
    return worker.queue[0]


def test_a_cancelled_input_that_is_being_read_is_stopped_after_that() -> None:
    sim, function = a_sim()
    put(sim, function, "fc-a", [64 * MiB], durable=True)
    effects = sim.receive("cl-1", m.Cancel(0, "fc-a"))
    (cancel,) = sends(effects, m.CancelInput)
    assert cancel.after_commit


def test_a_result_of_any_size_holds_its_call_until_it_is_taken_and_loses_no_input() -> None:
    sim, function = a_sim()
    sim.call("fc-a", function, 5)
    sim.up()
    huge = Payload(b"", (Segment("spill", "fc-a", 2**53),) * 8, spilled=True)
    worker = sim.busy()[0]
    grant = worker.queue.pop(0)
    sim.results(worker, [(grant.lease, SUCCESS, huge, 1.0, False)])
    call = sim.state.hub_state.calls["fc-a"]
    assert not sim.busy()
    assert call.pool.backlog == 4
    taken = ResultsTaken("fc-a", sim.outcomes["fc-a", 0].weight)
    heard = codec.decode(codec.encode(taken), codec.TO_HUB)
    assert isinstance(heard, ResultsTaken), "the client can say that it has taken it"
    sim.receive("cl-1", m.ResultsTaken(heard.call, heard.weight))
    run_all(sim, 10)
    assert len(sim.outcomes) == 5


def test_a_call_that_has_ended_is_not_held_when_its_client_asks_again() -> None:
    sim, function = a_sim()
    put = m.PutCall("fc-a", function, 0, "map", inputs_of([(0, "fc-a:0")]))
    sim.receive("cl-1", put)
    sim.up()
    finish(sim, 64 * MiB)
    sim.receive("cl-1", msgspec.structs.replace(put, resent=True))
    delivered = sent(sim.told, m.Outputs)
    assert len(delivered) == 2
    assert not sim.state.hub_state.held


def test_a_call_that_has_ended_takes_no_more_inputs() -> None:
    sim, function = a_sim()
    inputs = [(0, "fc-a:0")]
    sim.receive("cl-1", m.PutCall("fc-a", function, 0, "map", inputs_of(inputs), closed=True))
    sim.up()
    sim.settle()
    more = [*inputs, (1, "fc-a:1")]
    sim.wait(2.0)  # the hub is no longer new: inputs that are sent again need not wait
    sim.receive(
        "cl-1", m.PutCall("fc-a", function, 0, "map", inputs_of(more), closed=True, resent=True)
    )
    assert not sim.busy()
    sim.check()
