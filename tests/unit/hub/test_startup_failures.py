"""Workers that end before they serve an input: later tries, and an end for those who wait."""

from __future__ import annotations

import pytest

from nbfn.hub.scheduler import events as e
from nbfn.hub.scheduler.startup_failures import MOST_FAILURES
from nbfn.protocol import messages as m
from nbfn.types import InputStatus

from .simulator import Simulator, sent


def bound(sim: Simulator) -> list[str]:
    """Bring up blank workers, and return those that a pool was given since the last time."""
    for worker in list(sim.to_start):
        sim.start(worker)
    found, sim.to_bind = sim.to_bind, []
    return found


def ends(sim: Simulator, worker: str, how: str) -> None:
    """A worker that is loading ends, in one of the ways that the hub hears of."""
    if how == "connection":  # what a process does that runs another program, or stops itself
        sim.put(e.WorkerLost(worker))
        sim.wait(sim.state.hub_state.limits.lease)
    elif how == "goodbye":
        sim.receive(worker, m.Goodbye(signal=15))
    else:
        sim.put(e.WorkerLost(worker))  # which is usually noticed first
        sim.put(e.WorkerExited(worker, exit_code=0 if how == "exit 0" else 9, running=0))
    sim.workers.pop(worker)


@pytest.mark.parametrize("how", ["exit 9", "exit 0", "goodbye", "connection"])
def test_each_next_worker_starts_later_and_after_a_few_what_waits_fails(how: str) -> None:
    sim = Simulator(blank_workers=1)
    sim.call("fc-1", sim.register(max_containers=1), 3)
    for pause in (1.0, 2.0, 4.0, 8.0):
        (worker,) = bound(sim)
        ends(sim, worker, how)
        sim.wait(pause - 0.1)
        assert not bound(sim), "too early"
        sim.wait(0.2)
    (worker,) = bound(sim)
    assert not sim.outcomes
    ends(sim, worker, how)
    assert {outcome.status for outcome in sim.outcomes.values()} == {int(InputStatus.INIT_FAILURE)}
    assert len(sim.outcomes) == 3
    fault = sim.outcomes["fc-1", 0].fault
    assert fault is not None
    assert fault.code == "worker_crashed"
    assert fault.message.startswith(
        f"{MOST_FAILURES} workers in a row ended while loading 'f', the last one: "
    )
    sim.wait(100)
    assert not bound(sim), "nothing waits"
    sim.call("fc-2", sim.functions["f"], 1)
    assert bound(sim), "a new call is tried at once"


def test_who_waits_reads_of_each_failure() -> None:
    sim = Simulator()
    sim.call("fc-1", sim.register(max_containers=1), 1)
    (worker,) = bound(sim)
    ends(sim, worker, "exit 9")
    said = [x.data for x in sent(sim.told, m.Emission)]
    assert said == [
        b"A worker ended while loading 'f' (exit code 9); the next one starts in 1 s.\n"
    ]


def test_workers_that_were_bound_together_fail_together() -> None:
    sim = Simulator(blank_workers=4)
    sim.call("fc-1", sim.register(max_containers=2), 10)
    sim.wait(1.0)
    first, second = bound(sim)
    ends(sim, first, "exit 9")
    ends(sim, second, "exit 9")
    assert next(iter(sim.state.hub_state.pools.values())).start_failures == 1
    sim.wait(1.1)
    assert len(bound(sim)) == 1, "one at a time, until one has come up"


def test_a_pool_that_others_serve_goes_on_with_them() -> None:
    sim = Simulator(blank_workers=4)
    function = sim.register(max_containers=2, timeout=10_000.0)
    sim.call("fc-1", function, 1)
    sim.up()
    (serving,) = (worker.name for worker in sim.busy())
    sim.call("fc-2", function, 5)
    sim.wait(1.0)
    began = sim.now
    tries = 0
    while sim.now < began + 600:
        for worker in bound(sim):
            tries += 1
            if tries % 2:
                ends(sim, worker, "exit 9")
            else:
                sim.receive(worker, m.BindFailed("", 0, m.Payload(b"pickle"), "ValueError: no"))
                sim.stop(worker)
        sim.wait(1.0)
    assert not sim.outcomes, "no input failed"
    assert tries < 20, "and no storm of processes"
    while len(sim.outcomes) < 6:
        sim.finish(serving)
    assert len(sim.outcomes) == 6
    assert all(outcome.status == int(InputStatus.SUCCESS) for outcome in sim.outcomes.values())


@pytest.mark.parametrize("how", ["exit", "goodbye"])
def test_a_warm_worker_that_ends_again_and_again_is_replaced_later_each_time(how: str) -> None:
    sim = Simulator()
    sim.register(min_containers=1, max_containers=1)
    sim.wait(1.0)
    starts = 0
    for _ in range(600):
        for worker in bound(sim):
            starts += 1
            sim.receive(worker, m.Bound("", 0))
            if how == "exit":
                sim.exit(worker, exit_code=7)
            else:
                sim.receive(worker, m.Goodbye())
                sim.workers.pop(worker)
        sim.wait(1.0)
    assert 10 < starts < 20


def test_a_worker_that_has_served_is_replaced_at_once() -> None:
    sim = Simulator(blank_workers=2)
    sim.call("fc-1", sim.register(min_containers=1, max_containers=1), 1)
    sim.up()
    (worker,) = sim.busy()
    sim.finish(worker.name)
    sim.exit(worker.name, signal=9)
    assert bound(sim)


def test_a_python_whose_workers_end_before_they_are_needed_is_tried_later_each_time() -> None:
    sim = Simulator(blank_workers=1)
    sim.register(max_containers=1)
    starts = 0
    for _ in range(600):
        for worker in list(sim.to_start):
            starts += 1
            sim.start(worker)
            sim.exit(worker, exit_code=1)
        sim.wait(1.0)
    assert 10 < starts < 20


def test_what_waits_for_a_python_that_does_not_start_is_told_why() -> None:
    sim = Simulator()
    sim.call("fc-1", sim.register(max_containers=1), 1)
    for _ in range(MOST_FAILURES):
        for worker in list(sim.to_start):
            sim.to_start.remove(worker)
            sim.put(e.WorkerNotStarted(worker, "ImportError: no nbfn"))
        sim.wait(60.0)
    fault = sim.outcomes["fc-1", 0].fault
    assert fault is not None
    assert fault.message == "No worker starts under /usr/bin/python: ImportError: no nbfn"
