"""When a worker is told that its results are safe."""

from __future__ import annotations

from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler.results import CONFIRM_AFTER
from nbfn.protocol import messages as m
from tests.unit.hub.simulator import Simulator, sends


def _words(sim: Simulator) -> list[fx.Send]:
    """Return the confirmations that were messages of their own."""
    return sends(sim.told, m.Confirm)


def _calls_one_after_the_other(sim: Simulator, count: int, pause: float) -> None:
    function = sim.register("f", max_containers=1)
    for number in range(count):
        sim.call(f"fc-{number}", function, 1, kind="remote")
        sim.up()
        (worker,) = sim.busy()
        sim.finish(worker.name)
        sim.wait(pause)


def test_calls_in_quick_succession_carry_the_word_themselves() -> None:
    sim = Simulator()
    calls, pause = 1000, 0.001
    _calls_one_after_the_other(sim, calls, pause)
    assert len(_words(sim)) <= calls * pause / CONFIRM_AFTER + 1


def test_a_worker_that_gets_nothing_more_is_told_by_a_timer() -> None:
    sim = Simulator()
    _calls_one_after_the_other(sim, 3, pause=CONFIRM_AFTER)
    sim.wait(2 * CONFIRM_AFTER)
    (worker,) = (worker for worker in sim.workers.values() if worker.seq)
    assert _words(sim)[-1] == fx.Send(worker.name, m.Confirm(worker.seq))
