"""Labels of web endpoints, and what is fed to an input while it runs."""

from __future__ import annotations

import msgspec
import pytest

from nbfn.hub.machine import effects as fx
from nbfn.hub.machine import endpoints
from nbfn.hub.machine import events as e
from nbfn.types import InputStatus
from nbfn.wire import messages as m
from nbfn.wire.messages import Definition, Endpoint, Method, PoolSettings, Variant
from tests.unit.hub.world import FAILURE, PYTHON, World, definition


@pytest.fixture
def world() -> World:
    return World()


def web(name: str = "f", digest: str = "1", label: str = "", **changes: object) -> Definition:
    made = msgspec.structs.replace(
        definition(name, digest), endpoint=Endpoint("fastapi", label=label)
    )
    return msgspec.structs.replace(made, **changes)


def put(
    world: World,
    made: Definition,
    *,
    app: str = "app",
    app_id: str = "ap-1",
    environment: str = "",
    client: str = "cl-1",
) -> str:
    """Register; return what it was refused with."""
    found = world.receive(client, m.Register(1, app, made, app_id, environment))
    return next((effect.message for effect in found if isinstance(effect, fx.Refuse)), "")


def answering(world: World, label: str) -> tuple[str, str] | None:
    found = endpoints.find(world.state.tables, label)
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
    world: World, made: Definition, where: dict[str, str], label: str
) -> None:
    assert put(world, made, **where) == ""
    assert answering(world, label) == (where.get("app", "app"), made.name)
    assert endpoints.labels(world.state.tables) == [label]
    assert endpoints.deployed(world.state.tables) is ("app_id" in where)


def test_other_environments_say_so(world: World) -> None:
    world.receive("cl-1", m.ChangeEnvironment(1, "", "staging"))
    assert put(world, web(), app_id="", environment="staging") == ""
    assert put(world, web(), app_id="") == ""
    assert answering(world, "staging-app-f") == answering(world, "app-f") == ("app", "f")


def test_methods_have_labels_of_their_own(world: World) -> None:
    methods = (
        Method("m", endpoint=Endpoint("fastapi")),
        Method("n", endpoint=Endpoint("asgi", label="own")),
        Method("plain"),
    )
    made = msgspec.structs.replace(definition("Model"), kind="cls", methods=methods)
    assert put(world, made, app_id="") == ""
    assert answering(world, "app-model-m") == ("app", "m")
    assert answering(world, "own") == ("app", "n")
    assert answering(world, "app-model-plain") is None


def test_a_label_is_one_endpoints_and_both_are_named(world: World) -> None:
    assert put(world, web(label="x"), app="one", app_id="") == ""
    refused = put(world, web("g", label="x"), app="two", app_id="")
    assert all(word in refused for word in ("'x'", "'one'", "'f'", "'two'", "'g'"))
    assert answering(world, "x") == ("one", "f")
    assert put(world, web("g", label="y"), app="two", app_id="") == ""


def test_a_new_version_keeps_its_label_or_changes_it(world: World) -> None:
    assert put(world, web(label="x"), app_id="") == ""
    assert put(world, web(digest="2", label="x"), app_id="") == ""
    assert put(world, web(digest="3", label="y"), app_id="") == ""
    assert answering(world, "x") is None
    assert answering(world, "y") == ("app", "f")
    assert put(world, web("g", label="x"), app_id="") == ""


def test_a_process_takes_its_own_labels_over_and_nobody_elses(world: World) -> None:
    world.put(e.ClientJoined("cl-2", executable=PYTHON))
    assert put(world, web(), app_id="ap-1") == ""
    assert put(world, web(), app_id="ap-2") == ""
    assert "taken" in put(world, web(), app_id="ap-3", client="cl-2")
    found = endpoints.find(world.state.tables, "app-f-dev")
    assert found is not None
    assert found[0].app_id == "ap-2"


def test_workers_that_nothing_can_reach_any_more_are_let_go(world: World) -> None:
    assert put(world, web(), app_id="ap-1") == ""
    world.call("fc-1", world.functions["f"], 1, kind="web")
    world.up()
    (worker,) = world.busy()
    assert put(world, web(), app_id="ap-2") == ""
    world.finish(worker.name)
    assert worker.name in world.to_stop


def test_who_is_gone_answers_no_more(world: World) -> None:
    world.put(e.ClientJoined("cl-2", executable=PYTHON))
    assert put(world, web()) == ""
    world.put(e.ClientLost("cl-1"))
    assert answering(world, "app-f-dev") is None
    assert put(world, web(), app_id="ap-2", client="cl-2") == ""


def test_a_variant_answers_where_its_base_does(world: World) -> None:
    assert put(world, web(), app_id="") == ""
    base = world.functions["f"]
    changes = Variant(pool=PoolSettings(max_containers=2))
    world.receive("cl-1", m.BindVariant(7, base, changes, "v1", "(x=1)"))
    found = endpoints.find(world.state.tables, "app-f")
    assert found is not None
    assert found[0].id == base


def test_a_deployed_url_keeps_the_hub(world: World) -> None:
    assert put(world, web(), app_id="") == ""
    world.put(e.ClientLost("cl-1"))
    world.wait(100)
    assert world.state.needed()


# --- what is fed ---


def told(world: World, kind: type[fx.Effect], event: e.Event) -> list[fx.Effect]:
    return [effect for effect in world.put(event) if isinstance(effect, kind)]


def test_pieces_go_to_the_worker_that_has_the_input_and_its_wishes_to_the_client(
    world: World,
) -> None:
    call = world.call("fc-1", world.register(), 1, kind="web")
    piece = e.Received("cl-1", m.FeedInput(call, 0, b"piece"))
    assert told(world, fx.FeedLease, piece) == []  # no worker has it yet
    world.up()
    (worker,) = world.busy()
    lease = worker.queue[0].lease
    assert told(world, fx.AskFeed, e.Received(worker.name, m.WantFeed(lease, 32))) == [
        fx.AskFeed("cl-1", call, 0, 1, 32)
    ]
    assert told(world, fx.FeedLease, piece) == [fx.FeedLease(worker.name, lease, b"piece")]
    world.settle()
    assert told(world, fx.FeedLease, piece) == []
    assert told(world, fx.AskFeed, e.Received(worker.name, m.WantFeed(lease, 64))) == []
    assert told(world, fx.FeedLease, e.Received("cl-1", m.FeedInput("fc-unknown", 0, b""))) == []


def test_another_attempt_is_known_by_its_number(world: World) -> None:
    call = world.call("fc-1", world.register(), 1, kind="web")
    world.up()
    (worker,) = world.busy()
    world.exit(worker.name, signal=9)
    world.up()
    (second,) = world.busy()
    asked = e.Received(second.name, m.WantFeed(second.queue[0].lease, 32))
    assert told(world, fx.AskFeed, asked) == [fx.AskFeed("cl-1", call, 0, 2, 32)]
    late = e.Received(worker.name, m.WantFeed(1, 32))
    assert told(world, fx.AskFeed, late) == []


def test_who_leaves_before_the_input_began_cancels_it_and_later_the_worker_is_told(
    world: World,
) -> None:
    call = world.call("fc-1", world.register(), 1, kind="web")
    (outcome,) = told(world, fx.Deliver, e.Received("cl-1", m.FeedInput(call, 0, b"")))
    assert isinstance(outcome, fx.Deliver)
    assert outcome.outcomes[0].status == InputStatus.TERMINATED
    second = world.call("fc-2", world.register(), 1, kind="web")
    world.up()
    (worker,) = world.busy()
    lease = worker.queue[0].lease
    assert told(world, fx.FeedLease, e.Received("cl-1", m.FeedInput(second, 0, b""))) == [
        fx.FeedLease(worker.name, lease, b"")
    ]


def test_a_web_request_is_not_tried_again_when_its_code_fails(world: World) -> None:
    call = world.call("fc-1", world.register(retries=3), 1, kind="web")
    world.up()
    (worker,) = world.busy()
    world.finish(worker.name, FAILURE)
    assert world.outcomes[call, 0].status == FAILURE
