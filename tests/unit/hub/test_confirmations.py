"""When a worker is told that its results are safe."""

from __future__ import annotations

from nbfn.hub.machine import effects as fx
from nbfn.hub.machine.leases import CONFIRM_AFTER
from tests.unit.hub.world import World


def _words(world: World) -> list[fx.Effect]:
    """Return the confirmations that were messages of their own."""
    return [effect for effect in world.told if isinstance(effect, fx.ConfirmResults)]


def _calls_one_after_the_other(world: World, count: int, pause: float) -> None:
    function = world.register("f", max_containers=1)
    for number in range(count):
        world.call(f"fc-{number}", function, 1, kind="remote")
        world.up()
        (worker,) = world.busy()
        world.finish(worker.name)
        world.wait(pause)


def test_calls_in_quick_succession_carry_the_word_themselves() -> None:
    world = World()
    calls, pause = 1000, 0.001
    _calls_one_after_the_other(world, calls, pause)
    assert len(_words(world)) <= calls * pause / CONFIRM_AFTER + 1


def test_a_worker_that_gets_nothing_more_is_told_by_a_timer() -> None:
    world = World()
    _calls_one_after_the_other(world, 3, pause=CONFIRM_AFTER)
    world.wait(2 * CONFIRM_AFTER)
    (worker,) = (worker for worker in world.workers.values() if worker.seq)
    assert _words(world)[-1] == fx.ConfirmResults(worker.name, worker.seq)
