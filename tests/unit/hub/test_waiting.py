"""When who waits for a single call is told for what it waits."""

from __future__ import annotations

from nbfn.hub.scheduler.completion import LONG_WAIT
from nbfn.protocol import messages as m
from tests.unit.hub.simulator import Simulator, sent


def _reasons(sim: Simulator, call: str) -> list[str]:
    told = [one for one in sent(sim.told, m.Progress) if one.call == call]
    return [one.waiting_for for one in told]


def _full(sim: Simulator) -> str:
    """Have a Function's only worker be busy with as much as it is given ahead; return the Function."""
    function = sim.register("f", max_containers=1, timeout=3600.0, at_once=(1, 1))
    sim.call("fc-first", function, 1, kind="remote")
    sim.up()
    for number in range(20):
        sim.call(f"fc-{number}", function, 1, kind="remote")
    return function


def test_a_call_that_waits_a_moment_costs_no_word() -> None:
    sim = Simulator()
    _full(sim)
    sim.settle()
    assert not sent(sim.told, m.Progress)


def test_a_call_that_waits_long_is_told_for_what_once_it_has() -> None:
    sim = Simulator()
    _full(sim)
    sim.wait(LONG_WAIT - 0.1)
    assert _reasons(sim, "fc-19") == []
    sim.wait(LONG_WAIT)
    assert "max 1 reached" in _reasons(sim, "fc-19")


def test_a_client_that_asks_is_told_of_a_single_call_that_runs() -> None:
    """As a display does of a call that takes long; other calls cost no message."""
    sim = Simulator()
    f = sim.register(max_containers=1)
    sim.call("fc-1", f, 1, kind="remote")
    sim.call("fc-2", f, 1, kind="remote")
    sim.up()
    assert not sent(sim.told, m.Progress)
    for call in ("fc-1", "fc-2"):
        sim.receive("cl-1", m.Watch(0, call, 0, 0))
    (worker,) = sim.busy()
    told = {one.call: one for one in sent(sim.told, m.Progress)}
    assert (told["fc-1"].state, told["fc-1"].worker) == ("running", worker.name)
    assert (told["fc-2"].state, told["fc-2"].place) == ("queued", 1)
    sim.wait(1.0)
    sim.finish(worker.name)
    sim.wait(1.0)
    assert [one for one in sent(sim.told, m.Progress) if one.call == "fc-2"][-1].state == "running"
