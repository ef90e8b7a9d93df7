"""Tests of the fair queue, of batches and of windows."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.hub.scheduler import fair_queue
from nbfn.protocol import messages as m
from tests.unit.hub.simulator import PYTHON, Simulator, inputs_of

durations = st.one_of(st.none(), st.floats(0, 1e4))


@given(durations, st.integers(1, 10**7), st.integers(0, 10_000))
def test_a_batch_is_never_empty_never_more_than_a_fair_share(
    duration: float | None, pending: int, workers: int
) -> None:
    size = fair_queue.batch_size(duration, pending, workers)
    assert 1 <= size <= fair_queue.BATCH_MAX
    assert size == 1 or size * 2 * max(workers, 1) < pending + 2 * max(workers, 1)
    assert size == 1 or (duration is not None and size * duration <= fair_queue.BATCH_SECONDS)


@given(st.integers(0, 5000), durations, st.integers(1, fair_queue.BATCH_MAX))
def test_slow_functions_are_handed_out_one_by_one(
    leased: int, duration: float | None, batch: int
) -> None:
    room = fair_queue.room(leased, duration, batch)
    if duration is None or duration > fair_queue.BATCH_SECONDS:
        assert leased + room <= max(1, leased)
    else:
        assert leased + room <= max(2 * batch, leased)


@given(durations, st.integers(0, 10_000))
def test_a_window_is_bounded(duration: float | None, workers: int) -> None:
    assert fair_queue.WINDOW_MIN <= fair_queue.window(duration, workers) <= fair_queue.WINDOW_MAX


def test_a_long_map_does_not_starve_a_single_call() -> None:
    sim = Simulator()
    function = sim.register("f", max_containers=1)
    sim.call("fc-map", function, 1000)
    sim.up()
    for _ in range(5):
        sim.finish(sim.busy()[0].name, duration=1.0)
    sim.call("fc-one", function, 1, kind="remote")
    for _ in range(3):  # what runs, one more of the map, then it
        sim.finish(sim.busy()[0].name, duration=1.0)
    assert ("fc-one", 0) in sim.outcomes


def test_calls_of_one_function_share_its_workers_evenly() -> None:
    sim = Simulator()
    function = sim.register("f", max_containers=2)
    for name in ("fc-a", "fc-b", "fc-c"):
        sim.call(name, function, 300)
    sim.up()
    for _ in range(300):
        sim.finish(sim.busy()[0].name, duration=1e-3)
    done = Counter(call for call, _ in sim.outcomes)
    assert max(done.values()) - min(done.values()) <= 100, done  # two batches each way


def test_a_batch_that_is_stuck_behind_a_slow_input_is_shared() -> None:
    sim = Simulator()
    function = sim.register("f", max_containers=2)
    sim.call("fc-a", function, 400)
    sim.up()
    while len(sim.outcomes) < 300:
        for worker in sim.busy():
            sim.finish(worker.name, duration=1e-4)
    stuck = max(sim.busy(), key=lambda worker: len(worker.queue))
    for worker in sim.busy():
        while worker is not stuck and worker.queue:
            sim.finish(worker.name, duration=1e-4)
    sim.told.clear()
    sim.wait(1.0)
    assert fx.Send(stuck.name, m.Recall()) in sim.told


def test_a_waiting_input_lends_its_slot_and_has_nobody_wait_behind_it() -> None:
    sim = Simulator()
    function = sim.register("f", max_containers=1)
    sim.call("fc-outer", function, 1, kind="remote")
    sim.up()
    outer = sim.busy()[0].name
    sim.put(e.ClientJoined("cl-inner", executable=PYTHON, worker=outer))
    sim.receive(
        "cl-inner", m.PutCall("fc-inner", function, 0, "remote", inputs_of([(0, "x")]), closed=True)
    )
    sim.up()
    (inner,) = [worker for worker in sim.busy() if worker.name != outer]
    sim.finish(inner.name, duration=1.0)
    assert ("fc-inner", 0) in sim.outcomes
    sim.call("fc-next", function, 1, kind="remote")
    assert not sim.workers[inner.name].queue, "the slot is no longer lent"
    sim.finish(outer, duration=2.0)
    sim.settle()
    assert set(sim.outcomes) == {("fc-outer", 0), ("fc-inner", 0), ("fc-next", 0)}


def test_nesting_without_end_is_refused_with_a_reason() -> None:
    sim = Simulator(max_workers=1)
    function = sim.register("f", max_containers=1)
    sim.call("fc-0", function, 1, kind="remote")
    for depth in range(1, 10):
        sim.up()
        sim.up()
        busy = {worker.name for worker in sim.busy()}
        lending = {client.worker for client in sim.state.hub_state.clients.values()}
        if not busy - lending:
            break
        client = f"cl-inner-{depth}"
        sim.put(e.ClientJoined(client, executable=PYTHON, worker=(busy - lending).pop()))
        inputs = [(0, "x")]
        sim.receive(
            client, m.PutCall(f"fc-{depth}", function, 0, "remote", inputs_of(inputs), closed=True)
        )
    refused = [outcome for outcome in sim.outcomes.values() if outcome.fault is not None]
    assert [outcome.fault.code for outcome in refused if outcome.fault] == ["resource_exhausted"]
