"""The route by which JupyterLab's settings reach the server: which hub it uses, and what kernels inherit."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from .conftest import FakeHub


@pytest.fixture(autouse=True)
def variables() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in ("NBFN_HUB", "NBFN_INTERRUPT")}
    yield
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture
def put(hub: FakeHub, jp_fetch: Any) -> Any:
    async def put(body: Any) -> tuple[int, Any]:
        try:
            reply = await jp_fetch("nbfn", "api", "settings", method="PUT", body=json.dumps(body))
        except HTTPClientError as error:
            assert error.response is not None
            reply = error.response
        return reply.code, json.loads(reply.body)

    return put


async def test_kernels_inherit_the_interrupt_policy_until_it_is_the_default(put: Any) -> None:
    assert (await put({"interrupt": "detach"}))[0] == 200
    assert os.environ["NBFN_INTERRUPT"] == "detach"
    assert (await put({"interrupt": "cancel"}))[0] == 200
    assert "NBFN_INTERRUPT" not in os.environ


async def test_another_hub_replaces_the_connection(
    put: Any, hub: FakeHub, jp_fetch: Any, jp_serverapp: Any
) -> None:
    await jp_fetch("nbfn", "api", "overview")
    assert (await put({"hub": "tcp://10.0.0.1:5"}))[0] == 200
    assert os.environ["NBFN_HUB"] == "tcp://10.0.0.1:5"
    assert hub.clients[0].is_closed
    await jp_fetch("nbfn", "api", "overview")
    assert len(hub.clients) == 2
    assert (await put({"hub": "tcp://10.0.0.1:5"}))[0] == 200
    assert not hub.clients[1].is_closed  # nothing has changed
    assert (await put({"hub": ""}))[0] == 200
    assert "NBFN_HUB" not in os.environ


@pytest.mark.parametrize(
    "body", [{"hub": "10.0.0.1"}, {"interrupt": "never"}, {"other": 1}, [], {"hub": 3}]
)
async def test_settings_that_are_not_valid_are_refused(put: Any, body: Any) -> None:
    status, reply = await put(body)
    assert status == 400
    assert reply["message"]
    assert "NBFN_HUB" not in os.environ
