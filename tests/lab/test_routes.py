"""The REST routes: requests to the hub, errors, and authentication."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from nbfn.exception import ConflictError, InvalidError, NotFoundError, ServiceError

from .conftest import GOLDEN, FakeHub, as_golden

FUNCTION = "fu-0000000000000000000001"
CALL = "fc-0000000000000000000001"

WORKER = "wk-0000000000000000000001"

ROUTES = [
    ("GET", "overview"),
    ("GET", f"functions/{FUNCTION}"),
    ("DELETE", f"functions/{FUNCTION}"),
    ("PATCH", f"functions/{FUNCTION}/autoscaler"),
    ("GET", f"functions/{FUNCTION}/versions"),
    ("POST", f"functions/{FUNCTION}/rollback"),
    ("POST", f"functions/{FUNCTION}/stop"),
    ("POST", f"functions/{FUNCTION}/call"),
    ("GET", "calls"),
    ("GET", f"calls/{CALL}"),
    ("GET", f"calls/{CALL}/inputs"),
    ("POST", f"calls/{CALL}/cancel"),
    ("POST", f"calls/{CALL}/retry"),
    ("POST", f"workers/{WORKER}/drain"),
    ("POST", f"workers/{WORKER}/stop"),
    ("POST", f"workers/{WORKER}/console"),
    ("GET", "logs"),
    ("GET", "timeline"),
    ("PUT", "settings"),
    ("GET", "hub/health"),
    ("POST", "hub/start"),
]


@pytest.fixture
def ask(hub: FakeHub, jp_fetch: Any) -> Any:
    """Send a request and return (status, JSON), whatever the status is."""

    async def ask(method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        if method not in ("GET", "DELETE"):
            options["body"] = json.dumps(body)
        try:
            reply = await jp_fetch("nbfn", "api", *path.split("/"), method=method, **options)
        except HTTPClientError as error:
            assert error.response is not None
            reply = error.response
        return reply.code, json.loads(reply.body)

    return ask


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_wants_a_token(ask: Any, hub: FakeHub, method: str, path: str) -> None:
    status, _ = await ask(method, path, {}, headers={"Authorization": "token of-somebody-else"})
    assert status == 403
    assert hub.asked == []
    assert hub.clients == []


def test_every_route_of_the_extension_is_in_this_list(jp_serverapp: Any) -> None:
    server = jp_serverapp.extension_manager.extension_apps["nbfn"]
    (app,) = server
    patterns = {rule[0] for rule in app.handlers if str(rule[0]).startswith("/nbfn/api/")}
    tried = {f"/nbfn/api/{path}" for _, path in ROUTES} | {"/nbfn/api/timeline/failure"}
    assert {p for p in patterns if not any(re.fullmatch(p, path) for path in tried)} == set()


async def test_the_overview_is_the_golden_one(ask: Any) -> None:
    status, reply = await ask("GET", "overview")
    assert (status, as_golden(reply)) == (200, GOLDEN)


async def test_looking_starts_no_hub(ask: Any, hub: FakeHub) -> None:
    hub.is_running = False
    status, reply = await ask("GET", "overview")
    assert (status, reply["connection"], reply["overview"]) == (200, "absent", None)
    assert reply["message"] == "nbfn is not running."
    assert hub.starts == 0


async def test_start_starts_it(ask: Any, hub: FakeHub) -> None:
    hub.is_running = False
    assert await ask("POST", "hub/start") == (200, {})
    assert hub.starts == 1
    status, reply = await ask("GET", "overview")
    assert (status, as_golden(reply)) == (200, GOLDEN)


async def test_a_hub_that_answers_with_an_error_is_unreachable(ask: Any, hub: FakeHub) -> None:
    hub.rejection = ServiceError("Protocol 2 from this notebook, 3 at the hub.")
    status, reply = await ask("GET", "overview")
    assert (status, reply["connection"]) == (200, "unreachable")
    assert reply["message"] == "Protocol 2 from this notebook, 3 at the hub."


async def test_a_hub_that_does_not_answer_is_unreachable(
    ask: Any, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbfn.jupyter.server.hub_client.PATIENCE", 0.05)
    hub.delay = asyncio.Event()
    status, reply = await ask("GET", "overview")
    assert (status, reply["connection"]) == (200, "unreachable")
    assert "does not answer" in reply["message"]
    await ask("GET", "overview")
    assert hub.tries == 1
    hub.delay.set()
    status, reply = await ask("GET", "overview")
    assert (status, as_golden(reply)) == (200, GOLDEN)


async def test_the_autoscaler_is_set(ask: Any, hub: FakeHub) -> None:
    body = {"min_containers": 2, "scaledown_window": 30}
    now = {"max_containers": 8, "buffer_containers": 0} | body
    assert await ask("PATCH", f"functions/{FUNCTION}/autoscaler", body) == (200, now)
    [(kind, function_id, settings)] = hub.asked
    assert (kind, function_id, settings) == ("autoscaler", FUNCTION, body)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"min_containers": -1}, "it must be a whole number, 0 or more"),
        ({"min_containers": "two"}, "min_containers"),
        ({"min_containers": 99999999999999999999999}, "at most 1000000"),
        ({"max_containers": 2**63}, "at most 1000000"),
        ({"scaledown_window": 1e308}, "at most 1200 seconds"),
        ({"warm": 1}, "warm"),
        ({}, "at least one"),
        (None, "Name at least one"),
        ([1], "Invalid request"),
    ],
)
async def test_a_bad_autoscaler_gets_a_sentence(
    ask: Any, hub: FakeHub, body: Any, word: str
) -> None:
    status, reply = await ask("PATCH", f"functions/{FUNCTION}/autoscaler", body)
    assert status == 400
    assert word in reply["message"]
    assert hub.asked == []


async def test_a_call_is_cancelled(ask: Any, hub: FakeHub) -> None:
    assert await ask("POST", f"calls/{CALL}/cancel") == (200, {})
    assert hub.asked == [("cancel", CALL)]


async def test_a_session_is_ended_only_if_the_request_says_so(ask: Any, hub: FakeHub) -> None:
    assert await ask("POST", f"calls/{CALL}/cancel", {}) == (200, {})
    assert await ask("POST", f"calls/{CALL}/cancel", {"end_session": True}) == (200, {})
    status, reply = await ask("POST", f"calls/{CALL}/cancel", {"end_session": "yes"})
    assert (status, "end_session" in reply["message"]) == (400, True)
    assert hub.asked == [("cancel", CALL), ("cancel", CALL, "end_session")]


@pytest.mark.parametrize("path", ["calls/fc-1/cancel", "functions/fu-%2e%2e%2F/autoscaler"])
async def test_an_id_of_another_shape_is_not_found(ask: Any, hub: FakeHub, path: str) -> None:
    status, reply = await ask("PATCH" if "auto" in path else "POST", path, {"min_containers": 1})
    assert status == 404
    assert "is not an id" in reply["message"]
    assert hub.asked == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidError("min_containers 9 is above max_containers 8."), 400),
        (NotFoundError("No call has that id."), 404),
        (ConflictError("Somebody else has it."), 409),
        (ServiceError("100 % full."), 502),
    ],
)
async def test_the_hubs_own_sentence_comes_back(
    ask: Any, hub: FakeHub, error: Exception, status: int
) -> None:
    hub.refusal = error
    assert await ask("POST", f"calls/{CALL}/cancel") == (status, {"message": str(error)})


async def test_without_a_hub_a_change_is_refused(ask: Any, hub: FakeHub) -> None:
    hub.is_running = False
    status, reply = await ask("POST", f"calls/{CALL}/cancel")
    assert (status, reply) == (503, {"message": "nbfn is not running."})
    assert hub.starts == 0
