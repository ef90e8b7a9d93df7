"""A Jupyter server with the extension, and a fake client of the hub."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

# Here and not as a plugin: its autouse fixtures and its loop are for these tests only.
from pytest_jupyter.jupyter_server import *  # noqa: F403

from nbfn.exception import ConnectionError
from nbfn.protocol.messages import CallRow, FunctionRow, HubRow, OverviewChanges, WorkerRow
from nbfn.types import FunctionAutoscalerSettings

GOLDEN = json.loads((Path(__file__).parents[1] / "contract" / "overview.json").read_text("utf-8"))


class Rows(msgspec.Struct):
    """The golden overview as the hub's own types, without the ages."""

    hub: HubRow
    unfinished: int
    now: float
    functions: tuple[FunctionRow, ...]
    calls: tuple[CallRow, ...]
    workers: tuple[WorkerRow, ...]


def golden_changes() -> OverviewChanges:
    overview = copy.deepcopy(GOLDEN["overview"])
    overview["hub"]["uptime"] = 0.0
    for row in (*overview["calls"], *overview["workers"]):
        row["age"] = 0.0
    rows = msgspec.convert(overview, Rows)
    shown = (rows.functions, rows.calls, rows.workers)
    return OverviewChanges(17, rows.now, rows.hub, rows.unfinished, *shown, complete=True)


def as_golden(reply: dict[str, Any]) -> dict[str, Any]:
    """Return a reply with the stream, the revision and the time of the golden one."""
    given = {name: GOLDEN["overview"][name] for name in ("stream", "revision", "now")}
    return reply | {"overview": reply["overview"] | given}


class FakeHub:
    """State that the fake clients share: whether a hub runs, and the requests it got."""

    def __init__(self) -> None:
        self.is_running = True
        self.is_frozen = False
        self.starts = 0
        self.asked: list[tuple[Any, ...]] = []
        self.refusal: Exception | None = None  # of requests
        self.rejection: Exception | None = None  # of connections
        self.clients: list[FakeClient] = []
        self.tries = 0
        self.delay: asyncio.Event | None = None

    async def attach(self, *, start: bool = False) -> FakeClient:
        self.tries += 1
        if self.delay is not None:
            await self.delay.wait()
        if start and not self.is_running:
            self.is_running = True
            self.starts += 1
        if not self.is_running:
            raise ConnectionError("nbfn is not running.")
        if self.rejection is not None:
            raise self.rejection
        self.clients.append(FakeClient(self))
        return self.clients[-1]


class FakeClient:
    """The part of `nbfn.client.client.Client` that the extension uses."""

    def __init__(self, hub: FakeHub) -> None:
        self._hub = hub
        self.is_closed = False
        self.tell: Callable[[OverviewChanges], None] = lambda changes: None
        self.lose: Callable[[], None] = lambda: None
        self.set_autoscaler = SimpleNamespace(aio=self._set_autoscaler)
        self.cancel_call = SimpleNamespace(aio=self._cancel_call)

    async def _set_autoscaler(
        self, function_id: str, **settings: Any
    ) -> FunctionAutoscalerSettings:
        self._answer("autoscaler", function_id, settings)
        return dataclasses.replace(FunctionAutoscalerSettings(0, 8, 0, 60.0), **settings)

    async def _cancel_call(self, call_id: str, *, end_session: bool = False) -> None:
        self._answer("cancel", call_id, *(["end_session"] if end_session else []))

    def _answer(self, *asked: Any) -> None:
        if self._hub.refusal is not None:
            raise self._hub.refusal
        if asked:
            self._hub.asked.append(asked)

    def watch(self, callback: Callable[[OverviewChanges], None]) -> None:
        self.tell = callback
        if not self._hub.is_frozen:
            callback(golden_changes())

    def on_lost(self, callback: Callable[[], None]) -> None:
        self.lose = callback

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    hub = FakeHub()
    client = SimpleNamespace(attach=SimpleNamespace(aio=hub.attach))
    monkeypatch.setattr("nbfn.jupyter.server.hub_client.Client", client)
    return hub


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    return {"ServerApp": {"jpserver_extensions": {"nbfn": True}}}
