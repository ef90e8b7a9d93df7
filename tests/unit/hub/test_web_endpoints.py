"""Labels of web endpoints, and what is fed to an input while it runs."""

from __future__ import annotations

import msgspec
import pytest

from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.hub.scheduler import web_endpoints
from nbfn.protocol import messages as m
from nbfn.protocol.messages import Definition, Endpoint, Method, PoolSettings, Variant
from nbfn.types import InputStatus
from tests.unit.hub.simulator import FAILURE, PYTHON, Simulator, definition, sends, sent


@pytest.fixture
def sim() -> Simulator:
    return Simulator()


def web(name: str = "f", digest: str = "1", label: str = "", **changes: object) -> Definition:
    made = msgspec.structs.replace(
        definition(name, digest), endpoint=Endpoint("fastapi", label=label)
    )
    return msgspec.structs.replace(made, **changes)


def put(
    sim: Simulator,
    made: Definition,
    *,
    app: str = "app",
    app_id: str = "ap-1",
    environment: str = "",
    client: str = "cl-1",
) -> str:
    """Register; return what it was refused with."""
    found = sim.receive(client, m.Register(1, app, made, app_id, environment))
    return next((effect.message for effect in sent(found, m.Failed)), "")


def answering(sim: Simulator, label: str) -> tuple[str, str] | None:
    found = web_endpoints.find(sim.state.hub_state, label)
    return None if found is None else (found[0].app, found[1] or found[0].name)


@pytest.mark.parametrize(
    ("made", "where", "label"),
    [
        (web("f"), {"app_id": ""}, "app-f"),
        (web("f"), {}, "app-f-dev"),
        (web("Do_It"), {"app": "My.App 1", "app_id": ""}, "my-app-1-do-it"),
        (web("f"), {"app": ""}, "f-dev"),
        (web("f", label="own"), {"app_id": ""}, "own"),
        (web("f", label="own"), {}, "own-dev"),
    ],
)
def test_a_label_is_made_of_app_and_name(
    sim: Simulator, made: Definition, where: dict[str, str], label: str
) -> None:
    assert put(sim, made, **where) == ""
    assert answering(sim, label) == (where.get("app", "app"), made.name)
    assert web_endpoints.labels(sim.state.hub_state) == [label]
    assert web_endpoints.deployed(sim.state.hub_state) is ("app_id" in where)


def test_other_environments_say_so(sim: Simulator) -> None:
    sim.receive("cl-1", m.ChangeEnvironment(1, "", "staging"))
    assert put(sim, web(), app_id="", environment="staging") == ""
    assert put(sim, web(), app_id="") == ""
    assert answering(sim, "staging-app-f") == answering(sim, "app-f") == ("app", "f")


def test_methods_have_labels_of_their_own(sim: Simulator) -> None:
    methods = (
        Method("m", endpoint=Endpoint("fastapi")),
        Method("n", endpoint=Endpoint("asgi", label="own")),
        Method("plain"),
    )
    made = msgspec.structs.replace(definition("Model"), kind="cls", methods=methods)
    assert put(sim, made, app_id="") == ""
    assert answering(sim, "app-model-m") == ("app", "m")
    assert answering(sim, "own") == ("app", "n")
    assert answering(sim, "app-model-plain") is None


def test_a_label_is_one_endpoints_and_both_are_named(sim: Simulator) -> None:
    assert put(sim, web(label="x"), app="one", app_id="") == ""
    refused = put(sim, web("g", label="x"), app="two", app_id="")
    assert all(word in refused for word in ("'x'", "'one'", "'f'", "'two'", "'g'"))
    assert answering(sim, "x") == ("one", "f")
    assert put(sim, web("g", label="y"), app="two", app_id="") == ""


def test_a_new_version_keeps_its_label_or_changes_it(sim: Simulator) -> None:
    assert put(sim, web(label="x"), app_id="") == ""
    assert put(sim, web(digest="2", label="x"), app_id="") == ""
    assert put(sim, web(digest="3", label="y"), app_id="") == ""
    assert answering(sim, "x") is None
    assert answering(sim, "y") == ("app", "f")
    assert put(sim, web("g", label="x"), app_id="") == ""


def test_a_process_takes_its_own_labels_over_and_nobody_elses(sim: Simulator) -> None:
    sim.put(e.ClientJoined("cl-2", executable=PYTHON))
    assert put(sim, web(), app_id="ap-1") == ""
    assert put(sim, web(), app_id="ap-2") == ""
    assert "taken" in put(sim, web(), app_id="ap-3", client="cl-2")
    found = web_endpoints.find(sim.state.hub_state, "app-f-dev")
    assert found is not None
    assert found[0].app_id == "ap-2"


def test_workers_that_nothing_can_reach_any_more_are_let_go(sim: Simulator) -> None:
    assert put(sim, web(), app_id="ap-1") == ""
    sim.call("fc-1", sim.functions["f"], 1, kind="web")
    sim.up()
    (worker,) = sim.busy()
    assert put(sim, web(), app_id="ap-2") == ""
    sim.finish(worker.name)
    assert worker.name in sim.to_stop


def test_who_is_gone_answers_no_more(sim: Simulator) -> None:
    sim.put(e.ClientJoined("cl-2", executable=PYTHON))
    assert put(sim, web()) == ""
    sim.put(e.ClientLost("cl-1"))
    assert answering(sim, "app-f-dev") is None
    assert put(sim, web(), app_id="ap-2", client="cl-2") == ""


def test_a_variant_answers_where_its_base_does(sim: Simulator) -> None:
    assert put(sim, web(), app_id="") == ""
    base = sim.functions["f"]
    changes = Variant(pool=PoolSettings(max_containers=2))
    sim.receive("cl-1", m.BindVariant(7, base, changes, "v1", "(x=1)"))
    found = web_endpoints.find(sim.state.hub_state, "app-f")
    assert found is not None
    assert found[0].id == base


def test_a_deployed_url_keeps_the_hub(sim: Simulator) -> None:
    assert put(sim, web(), app_id="") == ""
    sim.put(e.ClientLost("cl-1"))
    sim.wait(100)
    assert sim.state.needed()


# --- what is fed ---


def told(sim: Simulator, kind: type[m.Message], event: e.Event) -> list[fx.Send]:
    return sends(sim.put(event), kind)


def test_pieces_go_to_the_worker_that_has_the_input_and_its_wishes_to_the_client(
    sim: Simulator,
) -> None:
    call = sim.call("fc-1", sim.register(), 1, kind="web")
    piece = e.Received("cl-1", m.FeedInput(call, 0, b"piece"))
    assert told(sim, m.Fed, piece) == []  # no worker has it yet
    sim.up()
    (worker,) = sim.busy()
    lease = worker.queue[0].lease
    assert told(sim, m.FeedWanted, e.Received(worker.name, m.WantFeed(lease, 32))) == [
        fx.Send("cl-1", m.FeedWanted(call, 0, 1, 32))
    ]
    assert told(sim, m.Fed, piece) == [fx.Send(worker.name, m.Fed(lease, b"piece"))]
    sim.settle()
    assert told(sim, m.Fed, piece) == []
    assert told(sim, m.FeedWanted, e.Received(worker.name, m.WantFeed(lease, 64))) == []
    assert told(sim, m.Fed, e.Received("cl-1", m.FeedInput("fc-unknown", 0, b""))) == []


def test_another_attempt_is_known_by_its_number(sim: Simulator) -> None:
    call = sim.call("fc-1", sim.register(), 1, kind="web")
    sim.up()
    (worker,) = sim.busy()
    sim.exit(worker.name, signal=9)
    sim.up()
    (second,) = sim.busy()
    asked = e.Received(second.name, m.WantFeed(second.queue[0].lease, 32))
    assert told(sim, m.FeedWanted, asked) == [fx.Send("cl-1", m.FeedWanted(call, 0, 2, 32))]
    late = e.Received(worker.name, m.WantFeed(1, 32))
    assert told(sim, m.FeedWanted, late) == []


def test_who_leaves_before_the_input_began_cancels_it_and_later_the_worker_is_told(
    sim: Simulator,
) -> None:
    call = sim.call("fc-1", sim.register(), 1, kind="web")
    (answer,) = told(sim, m.Outputs, e.Received("cl-1", m.FeedInput(call, 0, b"")))
    assert isinstance(answer.message, m.Outputs)
    assert answer.message.outputs[0].status == InputStatus.TERMINATED
    second = sim.call("fc-2", sim.register(), 1, kind="web")
    sim.up()
    (worker,) = sim.busy()
    lease = worker.queue[0].lease
    assert told(sim, m.Fed, e.Received("cl-1", m.FeedInput(second, 0, b""))) == [
        fx.Send(worker.name, m.Fed(lease, b""))
    ]


def test_a_web_request_is_not_tried_again_when_its_code_fails(sim: Simulator) -> None:
    call = sim.call("fc-1", sim.register(retries=3), 1, kind="web")
    sim.up()
    (worker,) = sim.busy()
    sim.finish(worker.name, FAILURE)
    assert sim.outcomes[call, 0].status == FAILURE
