"""When who waits for a single call is told for what it waits."""

from __future__ import annotations

from nbfn.hub.machine import effects as fx
from nbfn.hub.machine.outcomes import LONG_WAIT
from tests.unit.hub.world import World


def _reasons(world: World, call: str) -> list[str]:
    told = [one for one in world.told if isinstance(one, fx.TellProgress) and one.call == call]
    return [one.waiting_for for one in told]


def _full(world: World) -> str:
    """Have a Function's only worker be busy with as much as it is given ahead; return the Function."""
    function = world.register("f", max_containers=1, timeout=3600.0, at_once=(1, 1))
    world.call("fc-first", function, 1, kind="remote")
    world.up()
    for number in range(20):
        world.call(f"fc-{number}", function, 1, kind="remote")
    return function


def test_a_call_that_waits_a_moment_costs_no_word() -> None:
    world = World()
    _full(world)
    world.settle()
    assert not [one for one in world.told if isinstance(one, fx.TellProgress)]


def test_a_call_that_waits_long_is_told_for_what_once_it_has() -> None:
    world = World()
    _full(world)
    world.wait(LONG_WAIT - 0.1)
    assert _reasons(world, "fc-19") == []
    world.wait(LONG_WAIT)
    assert "max 1 reached" in _reasons(world, "fc-19")
