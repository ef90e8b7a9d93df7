"""Sessions of notebooks: what may end one, how they are listed, and that they leave room for Functions."""

from __future__ import annotations

from typing import Any

import pytest

from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.protocol import messages as m
from nbfn.protocol.messages import Resources
from tests.unit.hub.simulator import (
    PYTHON,
    Simulator,
    call_rows,
    definition,
    function_rows,
    inputs_of,
    sent,
    worker_rows,
)


class Notebooks(Simulator):
    """A simulator with clients that have sessions."""

    def open_session(self, client: str = "nb-1", **resources: Any) -> str:
        """Connect a notebook's kernel and start its session; return the session's call."""
        self.put(e.ClientJoined(client, executable=PYTHON, origin=f"{client}.ipynb"))
        options = {
            "kind": "session",
            "is_generator": True,
            "single_use": True,
            "at_most_once": True,
            "resources": Resources(**resources),
        }
        made = definition("session", options=options)
        answers = sent(
            self.receive(client, m.Register(1, "nb", made, f"ap-{client}", "")), m.Registered
        )
        call = f"fc-{client}"
        put = m.PutCall(
            call, answers[0].info.id, 0, "generator", inputs_of([(0, "x")]), closed=True
        )
        self.receive(client, put)
        self.up()
        return call

    def refused(self, message: m.Message, sender: str = "cl-1") -> str:
        """Send a message; return the error if it was refused."""
        return "".join(
            f"{x.code}: {x.message}" for x in sent(self.receive(sender, message), m.Failed)
        )

    def worker_of(self, call: str) -> str:
        (worker,) = [row for row in worker_rows(self.state.hub_state) if row["session"] == call]
        return str(worker["id"])

    def is_open(self, call: str) -> bool:
        return call in self.state.hub_state.calls


def ends(sim: Notebooks, call: str) -> list[m.Message]:
    """Return the requests that would end a session."""
    app = sim.state.hub_state.calls[call].pool.record.app_id
    return [m.Cancel(7, call), m.StopWorker(8, sim.worker_of(call)), m.StopApp(9, app)]


@pytest.mark.parametrize("which", range(3))
def test_another_client_ends_a_session_only_if_it_says_so(which: int) -> None:
    sim = Notebooks()
    call = sim.open_session()
    request = ends(sim, call)[which]
    error = sim.refused(request)
    assert error.startswith("conflict: This would end the session of nb-1.ipynb; its variables")
    sim.wait(60.0)
    assert sim.is_open(call)
    assert not [x for x in sim.told if isinstance(x, fx.StopWorker)]
    fields = {name: getattr(request, name) for name in request.__struct_fields__}
    assert sim.refused(type(request)(**fields | {"end_session": True})) == ""
    assert sim.to_stop or not sim.is_open(call)


def test_a_cancellation_without_an_answer_ends_no_session() -> None:
    sim = Notebooks()
    call = sim.open_session()
    assert not sent(sim.receive("cl-1", m.Cancel(0, call)), m.Failed)
    assert sim.is_open(call)


def test_the_kernel_of_the_session_may_end_it() -> None:
    sim = Notebooks()
    call = sim.open_session()
    sim.receive("nb-1", m.Cancel(0, call))
    assert not sim.is_open(call)


def test_apps_and_workers_without_a_session_stop_as_before() -> None:
    sim = Notebooks()
    sim.open_session()
    f = sim.register()
    sim.call("fc-1", f, 1)
    sim.up()
    (worker,) = [one for one in sim.busy() if one.function == f]
    assert sim.refused(m.StopWorker(5, worker.name)) == ""
    assert sim.refused(m.StopApp(6, sim.state.hub_state.registry.functions[f].app_id)) == ""


def test_sessions_are_listed_as_such() -> None:
    sim = Notebooks()
    call = sim.open_session()
    f = sim.register()
    sim.call("fc-1", f, 1)
    sim.up()
    t = sim.state.hub_state
    assert {row["id"]: row["kind"] for row in call_rows(t)} == {call: "session", "fc-1": "map"}
    assert {row["name"]: row["kind"] for row in function_rows(t)} == {
        "session": "session",
        "f": "function",
    }
    assert sorted(row["session"] for row in worker_rows(t) if row["function"]) == ["", call]


def test_sessions_take_no_worker_from_functions() -> None:
    sim = Notebooks(max_workers=1)
    sessions = [sim.open_session(f"nb-{number}") for number in range(6)]
    assert all(sim.worker_of(call) for call in sessions)
    f = sim.register()
    sim.call("fc-1", f, 1)
    sim.up()
    assert [worker.function for worker in sim.busy() if worker.function == f] == [f]


def test_nested_calls_find_workers_beside_sessions() -> None:
    """Not even if all other workers wait for nested calls are these refused because of sessions."""
    sim = Notebooks(max_workers=1)
    for number in range(4):
        sim.open_session(f"nb-{number}")
    f, g = sim.register(), sim.register("g")
    sim.call("fc-1", f, 1)
    sim.up()
    (worker,) = [one for one in sim.busy() if one.function == f]
    sim.put(e.ClientJoined("cl-2", worker=worker.name))
    sim.receive("cl-2", m.PutCall("fc-in", g, 0, "remote", inputs_of([(0, "x")]), closed=True))
    sim.up()
    assert [one for one in sim.busy() if one.function == g]


def test_the_processors_of_a_session_must_be_free_and_then_serve_functions() -> None:
    sim = Notebooks(cpu=1.0)
    f = sim.register(options={"resources": Resources(cpu=1.0)})
    sim.call("fc-1", f, 1)
    sim.up()
    call = sim.open_session(cpu=1.0)
    assert [row["id"] for row in worker_rows(sim.state.hub_state) if row["session"]] == []
    sim.finish(sim.busy()[0].name)
    sim.up()
    while sim.to_stop:
        sim.stop(sim.to_stop[0])
    sim.up()
    assert sim.worker_of(call)
    sim.call("fc-2", f, 1)
    sim.up()
    assert [one.queue[0].call for one in sim.busy() if one.function == f] == ["fc-2"]


def test_the_memory_of_a_session_stays_reserved() -> None:
    sim = Notebooks(memory=100)
    sim.open_session(memory=60)
    f = sim.register(options={"resources": Resources(memory=60)})
    sim.call("fc-1", f, 1)
    sim.up()
    assert not [one for one in sim.busy() if one.function == f]
