"""A Jupyter server with the extension, and a fake client of the hub."""

from __future__ import annotations

import asyncio
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
from nbfn.protocol.messages import CallRow, FunctionRow, HubRow, Overview, WorkerRow
from nbfn.types import FunctionAutoscalerSettings

GOLDEN = json.loads((Path(__file__).parents[1] / "contract" / "overview.json").read_text("utf-8"))


class Rows(msgspec.Struct):
    """The golden overview as the hub's own types; a field that differs fails to convert."""

    hub: HubRow
    revision: int
    functions: tuple[FunctionRow, ...]
    calls: tuple[CallRow, ...]
    workers: tuple[WorkerRow, ...]


def golden_overview() -> Overview:
    rows = msgspec.convert(GOLDEN["overview"], Rows)
    return Overview(1, rows.revision, rows.hub, rows.functions, rows.calls, rows.workers)


class FakeHub:
    """State that the fake clients share: whether a hub runs, and the requests it got."""

    def __init__(self) -> None:
        self.is_running = True
        self.starts = 0
        self.asked: list[tuple[Any, ...]] = []
        self.refusal: Exception | None = None
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
        self.clients.append(FakeClient(self))
        return self.clients[-1]


class FakeClient:
    """The part of `nbfn.client.client.Client` that the extension uses."""

    def __init__(self, hub: FakeHub) -> None:
        self._hub = hub
        self.is_closed = False
        self.tell: Callable[[int], None] = lambda revision: None
        self.lose: Callable[[], None] = lambda: None
        self.overview = SimpleNamespace(aio=self._overview)
        self.set_autoscaler = SimpleNamespace(aio=self._set_autoscaler)
        self.cancel_call = SimpleNamespace(aio=self._cancel_call)

    async def _overview(self) -> Overview:
        self._answer()
        return golden_overview()

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

    def watch(self, callback: Callable[[int], None]) -> None:
        self.tell = callback

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
