"""Stopping a Function, and removing it from its App."""

from __future__ import annotations

from nbfn.hub.scheduler import effects as fx
from nbfn.protocol import messages as m
from tests.unit.hub.simulator import Simulator, definition, function_rows, sent


def state_of(sim: Simulator, name: str) -> str:
    (row,) = [row for row in function_rows(sim.state.hub_state) if row["name"] == name]
    state: str = row["state"]
    return state


def test_a_stopped_function_has_no_calls_no_workers_and_none_warm() -> None:
    sim = Simulator()
    function = sim.register("f", min_containers=1)
    sim.call("fc-1", function, 5)
    sim.up()
    told = sim.receive("cl-1", m.StopFunction(7, function))
    [answer] = sent(told, m.FunctionStopped)
    assert (answer.request, answer.calls) == (7, 1)
    assert answer.workers >= 1
    sim.settle()
    assert state_of(sim, "f") == "stopped"
    assert sim.state.hub_state.calls == {}
    [row] = function_rows(sim.state.hub_state)
    assert (row["workers"], row["min_containers"]) == (0, 0)
    [saved] = [effect for effect in told if isinstance(effect, fx.SaveSettings)]
    assert saved.settings["min_containers"] == 0


def test_a_stopped_function_can_be_called_again() -> None:
    sim = Simulator()
    function = sim.register("f")
    sim.receive("cl-1", m.StopFunction(1, function))
    sim.settle()
    assert state_of(sim, "f") == "stopped"
    sim.now += 1
    sim.call("fc-1", function, 1)
    sim.settle()
    assert sim.outcomes["fc-1", 0].status == 1
    assert state_of(sim, "f") == "idle"


def test_warm_workers_end_the_stop() -> None:
    sim = Simulator()
    function = sim.register("f")
    sim.receive("cl-1", m.StopFunction(1, function))
    sim.receive("cl-1", m.SetAutoscaler(2, function, m.PoolSettings(min_containers=1)))
    assert state_of(sim, "f") != "stopped"


def test_a_function_that_is_removed_is_not_found_and_the_others_stay() -> None:
    sim = Simulator()
    for number, name in enumerate(("f", "g")):
        sim.receive("cl-1", m.Register(number, "app", definition(name)))
    function = sim.functions["f"]
    sim.call("fc-1", function, 3)
    told = sim.receive("cl-1", m.RemoveFunction(5, function))
    assert sent(told, m.Done)[0].request == 5
    sim.settle()
    assert [row["name"] for row in function_rows(sim.state.hub_state)] == ["g"]
    assert sim.outcomes["fc-1", 0].status != 1
    (app,) = sim.state.hub_state.registry.apps.values()
    newest = app.deployments[app.version]
    assert (newest.functions, newest.tag) == ({"g": 1}, "without f")
    again = sim.receive("cl-1", m.RemoveFunction(6, function))
    assert [(one.request, one.code) for one in sent(again, m.Failed)] == [(6, "not_found")]


def test_an_unknown_function_is_not_found() -> None:
    sim = Simulator()
    for message in (m.StopFunction(1, "fu-none"), m.RemoveFunction(1, "fu-none")):
        [failed] = sent(sim.receive("cl-1", message), m.Failed)
        assert failed.code == "not_found"
