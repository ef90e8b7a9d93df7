"""Results that are not taken hold up their call and no other; payloads on the disk are read when they run."""

from __future__ import annotations

import msgspec

from nbfn.hub.machine import effects as fx
from nbfn.hub.machine import events as e
from nbfn.hub.machine import pressure, residence, schedule
from nbfn.hub.machine.payloads import Stored
from nbfn.types import InputStatus
from nbfn.wire import frames
from nbfn.wire import messages as m
from nbfn.wire.messages import Payload, ResultsTaken, Segment
from tests.unit.hub.world import FakeWorker, World, inputs_of

MiB = 2**20
SUCCESS = int(InputStatus.SUCCESS)


def a_world(**options: int) -> tuple[World, str]:
    world = World()
    function = world.register("f", max_containers=1, **options)
    return world, function


def finish(world: World, weight: int, status: int = SUCCESS) -> None:
    """Have the worker end its first input with a result of so many bytes."""
    worker = world.busy()[0]
    grant = worker.queue.pop(0)
    world.results(worker, [(grant.lease, status, Payload(bytes(weight)), 1.0, False)])


def run_all(world: World, weight: int) -> None:
    while world.busy():
        finish(world, weight)


def put(world: World, function: str, name: str, sizes: list[int], *, durable: bool = False) -> None:
    inputs = [(index, Payload(bytes(size))) for index, size in enumerate(sizes)]
    world.receive(
        "cl-1", m.PutCall(name, function, 0, "map", inputs_of(inputs), closed=True, durable=durable)
    )
    world.up()


def test_a_call_is_held_until_its_results_are_taken() -> None:
    world, function = a_world()
    world.call("fc-a", function, 100)
    world.up()
    run_all(world, 4 * MiB)
    call = world.state.tables.calls["fc-a"]
    assert call.done == pressure.MOST // (4 * MiB)
    assert call.pool.backlog == 100 - call.done, "what is held is still to be done"

    world.call("fc-b", function, 3)
    run_all(world, 10)
    assert ("fc-b", 2) in world.outcomes, "others go on"

    world.receive("cl-1", m.ResultsTaken("fc-a", 8 * MiB))
    assert not world.busy(), "it goes on when half of them are taken"
    world.receive("cl-1", m.ResultsTaken("fc-a", 20 * MiB))
    run_all(world, 4 * MiB)
    assert call.done == (pressure.MOST + 28 * MiB) // (4 * MiB)
    world.receive("cl-1", m.ResultsTaken("fc-a", 10**9))
    while call.done < 100:
        run_all(world, 4 * MiB)
        world.receive("cl-1", m.ResultsTaken("fc-a", 10**9))


def test_outcomes_are_forgotten_when_they_are_taken_in_the_order_in_which_they_left() -> None:
    world, function = a_world()
    world.call("fc-a", function, 10)
    world.up()
    for _ in range(5):
        finish(world, MiB)
    call = world.state.tables.calls["fc-a"]
    world.receive("cl-1", m.ResultsTaken("fc-a", 2 * MiB + 2 * fx.OUTCOME_BYTES - 1))
    assert [outcome.index for outcome in call.recent] == [1, 2, 3, 4]
    world.receive("cl-1", m.ResultsTaken("fc-a", 1))
    assert [outcome.index for outcome in call.recent] == [2, 3, 4]


def test_an_input_that_runs_again_does_not_wait() -> None:
    world, function = a_world(retries=1)
    world.call("fc-a", function, 50)
    world.up()
    finish(world, 10, int(InputStatus.FAILURE))  # the first one
    run_all(world, 8 * MiB)
    assert world.state.tables.calls["fc-a"] in world.state.tables.held
    assert ("fc-a", 0) not in world.outcomes
    world.wait(2.0)  # it is tried again
    (worker,) = world.busy()
    assert [grant.index for grant in worker.queue] == [0]


def test_a_held_call_can_be_cancelled_and_its_client_be_lost() -> None:
    world, function = a_world()
    for name in ("fc-a", "fc-b"):
        world.call(name, function, 50)
        world.up()
        run_all(world, 16 * MiB)
    world.receive("cl-1", m.Cancel(0, "fc-a"))
    assert world.outcomes["fc-a", 49].status == InputStatus.TERMINATED
    world.put(e.ClientLost("cl-1"))
    world.wait(100.0)
    assert not world.state.tables.held
    assert not world.state.tables.calls


def test_workers_are_handed_bytes_and_at_least_one_input() -> None:
    world, function = a_world()
    put(world, function, "fc-a", [MiB] * 100 + [10 * MiB] * 5)
    most = 0
    while world.busy():
        worker = world.busy()[0]
        grants = worker.queue
        most = max(most, sum(grant.payload.weight for grant in grants))
        results = [(g.lease, SUCCESS, Payload(b""), 1e-6, False) for g in grants]
        worker.queue = []
        world.results(worker, results)
    assert len(world.outcomes) == 105
    assert schedule.LEASE_BYTES <= most <= 20 * MiB


def test_batches_are_full_by_bytes() -> None:
    world = World()
    function = world.register("f", max_containers=1, batches=(100, 60.0))
    put(world, function, "fc-a", [2 * MiB] * 100)
    (worker,) = world.busy()
    assert len(worker.queue) == schedule.BATCH_BYTES // (2 * MiB)


def test_payloads_of_durable_inputs_that_do_not_fit_are_read_when_they_run() -> None:
    world, function = a_world()
    put(world, function, "fc-a", [8 * MiB] * 10, durable=True)
    tables = world.state.tables
    fits = residence.MOST // (8 * MiB)
    kept = [item for item in tables.calls["fc-a"].inputs.values() if not item.stored]
    assert len(kept) == fits
    assert tables.loaded == fits * 8 * MiB
    for index in range(10):
        (worker,) = world.busy()
        last = [x for x in world.told if isinstance(x, fx.RunInputs | fx.LoadInputs)][-1]
        assert isinstance(last, fx.LoadInputs) == (index >= fits)
        assert isinstance(first(worker).payload, Stored) == (index >= fits)
        finish(world, 10)
    assert tables.loaded == 0


def first(worker: FakeWorker) -> fx.Grant:
    return worker.queue[0]


def test_a_cancelled_input_that_is_being_read_is_stopped_after_that() -> None:
    world, function = a_world()
    put(world, function, "fc-a", [64 * MiB], durable=True)
    effects = world.receive("cl-1", m.Cancel(0, "fc-a"))
    (cancel,) = [effect for effect in effects if isinstance(effect, fx.CancelLease)]
    assert cancel.after_commit


def test_a_result_of_any_size_holds_its_call_until_it_is_taken_and_loses_no_input() -> None:
    world, function = a_world()
    world.call("fc-a", function, 5)
    world.up()
    huge = Payload(b"", (Segment("spill", "fc-a", 2**53),) * 8, spilled=True)
    worker = world.busy()[0]
    grant = worker.queue.pop(0)
    world.results(worker, [(grant.lease, SUCCESS, huge, 1.0, False)])
    call = world.state.tables.calls["fc-a"]
    assert not world.busy()
    assert call.pool.backlog == 4
    taken = ResultsTaken("fc-a", world.outcomes["fc-a", 0].weight)
    heard = frames.decode(frames.encode(taken), frames.TO_HUB)
    assert isinstance(heard, ResultsTaken), "the client can say that it has taken it"
    world.receive("cl-1", m.ResultsTaken(heard.call, heard.weight))
    run_all(world, 10)
    assert len(world.outcomes) == 5


def test_a_call_that_has_ended_is_not_held_when_its_client_asks_again() -> None:
    world, function = a_world()
    put = m.PutCall("fc-a", function, 0, "map", inputs_of([(0, "fc-a:0")]))
    world.receive("cl-1", put)
    world.up()
    finish(world, 64 * MiB)
    world.receive("cl-1", msgspec.structs.replace(put, resent=True))
    delivered = [effect for effect in world.told if isinstance(effect, fx.Deliver)]
    assert len(delivered) == 2
    assert not world.state.tables.held


def test_a_call_that_has_ended_takes_no_more_inputs() -> None:
    world, function = a_world()
    inputs = [(0, "fc-a:0")]
    world.receive("cl-1", m.PutCall("fc-a", function, 0, "map", inputs_of(inputs), closed=True))
    world.up()
    world.settle()
    more = [*inputs, (1, "fc-a:1")]
    world.wait(2.0)  # the hub is no longer new: inputs that are sent again need not wait
    world.receive(
        "cl-1", m.PutCall("fc-a", function, 0, "map", inputs_of(more), closed=True, resent=True)
    )
    assert not world.busy()
    world.check()
