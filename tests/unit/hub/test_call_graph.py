"""Who called whom: remembered as far as there is room, and put together with what is on disk."""

from __future__ import annotations

import pytest

from nbfn.hub.scheduler import call_graph, call_graph_query
from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler.call_graph import CallGraph, CallNode
from nbfn.protocol import messages as m
from nbfn.types import InputStatus
from tests.unit.hub.simulator import Simulator, inputs_of


def chain(forest: CallGraph, *names: str) -> None:
    """Add calls of which each was made by the first input of the one before."""
    for above, name in zip(("", *names), names, strict=False):
        forest.add(CallNode(name, f"{above}:0" if above else "", name, "module"))


def test_relatives_are_the_whole_family_whoever_is_asked() -> None:
    forest = CallGraph()
    chain(forest, "a", "b", "c")
    forest.add(CallNode("d", "a:7", "d", "module"))
    for name in "abcd":
        assert set(forest.relatives(name)) == {"a", "b", "c", "d"}
    assert forest.relatives("e") == ["e"]


def test_a_call_that_says_it_made_itself_does_no_harm() -> None:
    forest = CallGraph()
    forest.add(CallNode("a", "b:0", "f", ""))
    forest.add(CallNode("b", "a:0", "f", ""))
    forest.add(CallNode("c", "c:0", "f", ""))
    assert set(forest.relatives("a")) == {"a", "b"}
    assert forest.relatives("c") == ["c"]


def test_the_oldest_are_forgotten_but_a_parent_with_new_children_is_not_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call_graph, "MEMBERS", 10)
    forest = CallGraph()
    chain(forest, "root")
    for number in range(100):
        forest.add(CallNode(f"child-{number}", "root:0", "f", ""))
    assert len(forest.nodes) == 10
    found = forest.relatives("root")
    assert found[0] == "root"
    assert "child-99" in found
    assert "child-0" not in found


def test_outcomes_are_bounded_in_all_and_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_graph, "OUTCOMES", 50)
    monkeypatch.setattr(call_graph, "OF_ONE", 20)
    forest = CallGraph()
    for name in ("a", "b", "c"):
        chain(forest, name)
        forest.record_outcomes(name, [(index, 1, "wk-1") for index in range(100)])
    assert sum(len(member.outcomes) for member in forest.nodes.values()) <= 50
    assert len(forest.nodes["c"].outcomes) == 20


def test_the_graph_joins_memory_and_disk_with_callers_first() -> None:
    sim = Simulator()
    function = sim.register("f")
    inputs = [(0, "x")]
    sim.receive(
        "cl-1", m.PutCall("fc-a", function, 0, "spawn", inputs_of(inputs), True, durable=True)
    )
    sim.up()
    sim.receive(
        "cl-1", m.PutCall("fc-b", function, 0, "remote", inputs_of(inputs), True, parent="fc-a:0")
    )
    (asked,) = sim.receive("cl-1", m.GetCallGraph(1, "fc-b"))
    assert isinstance(asked, fx.LoadGraph)
    assert set(asked.calls) == {"fc-a", "fc-b"}
    on_disk = [("fc-c", 0, "fc-b:0", 1, "f", "m", "wk-9"), ("fc-a", 0, "", 0, "f", "m", "")]
    rows = call_graph_query.rows(sim.state.hub_state, asked.calls, on_disk)
    assert [(row[0], row[2]) for row in rows] == [
        ("fc-a", ""),
        ("fc-b", "fc-a:0"),
        ("fc-c", "fc-b:0"),
    ]
    sim.settle()
    rows = call_graph_query.rows(sim.state.hub_state, asked.calls, on_disk)
    assert [row[3] for row in rows] == [int(InputStatus.SUCCESS)] * 3
