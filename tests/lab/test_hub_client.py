"""The server's client of the hub: connects and reconnects, and keeps the mirror of the overview current."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nbfn.exception import ConnectionError
from nbfn.jupyter.server import hub_client as hub_client_module
from nbfn.jupyter.server.events import SCHEMA_ID
from nbfn.jupyter.server.hub_client import HubClient
from nbfn.jupyter.server.overview_mirror import OverviewMirror
from nbfn.jupyter.server.schema import OverviewChange

from .conftest import GOLDEN, FakeHub, as_golden, golden_changes

EMBED = "fc-0000000000000000000001"


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.005)


@pytest.fixture
def told() -> list[OverviewChange]:
    return []


@pytest.fixture
def connection_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NBFN_HOME", str(tmp_path))
    monkeypatch.setattr(hub_client_module, "POLL_INTERVAL", 0.01)
    return tmp_path / "hub.json"


@pytest.fixture
def link(
    hub: FakeHub, told: list[OverviewChange], connection_file: Path, jp_asyncio_loop: Any
) -> Iterator[HubClient]:
    link = HubClient(OverviewMirror(told.append))

    async def start() -> None:
        link.start()

    jp_asyncio_loop.run_until_complete(start())
    yield link
    jp_asyncio_loop.run_until_complete(link.close())


async def test_a_hub_that_appears_is_noticed(
    link: HubClient, hub: FakeHub, told: list[OverviewChange], connection_file: Path
) -> None:
    await asyncio.sleep(0.05)
    assert hub.clients == []
    connection_file.write_text("{}")
    await until(lambda: len(told) == 2)
    assert [change.connection for change in told] == ["absent", "running"]
    assert as_golden(json.loads(msgspec.json.encode(link.mirror.reply()))) == GOLDEN


async def test_a_file_that_leads_nowhere_is_tried_once(
    link: HubClient, hub: FakeHub, told: list[OverviewChange], connection_file: Path
) -> None:
    hub.is_running = False
    connection_file.write_text("{}")
    await until(lambda: hub.tries)
    await asyncio.sleep(0.05)
    assert hub.tries == 1
    hub.is_running = True
    connection_file.write_text('{"pid": 1}')
    await until(lambda: link.mirror.is_current)


async def test_changes_come_over_from_the_clients_thread(
    link: HubClient, hub: FakeHub, told: list[OverviewChange]
) -> None:
    await link.overview()
    complete = golden_changes()
    call = msgspec.structs.replace(complete.calls[0], succeeded=700, waiting=285, age=50.0)
    changes = msgspec.structs.replace(
        complete, functions=(), calls=(call,), workers=(), complete=False, gone=("wk-9",)
    )
    thread = threading.Thread(target=lambda: hub.clients[0].tell(changes))
    thread.start()
    await until(lambda: link.mirror.reply().overview.calls[0].succeeded == 700)  # type: ignore[union-attr]
    thread.join()
    change = json.loads(msgspec.json.encode(told[-1]))
    assert change["calls"] == [{"id": EMBED, "succeeded": 700, "waiting": 285}]
    assert change["functions"] == change["workers"] == []
    assert change["gone"] == ["wk-9"]
    assert change["previous"] == told[-2].revision == change["revision"] - 1


async def test_a_lost_hub_is_told_and_a_new_one_found(
    link: HubClient, hub: FakeHub, told: list[OverviewChange], connection_file: Path
) -> None:
    await link.overview()
    first = await link.client()
    hub.is_running = False
    hub.clients[0].lose()
    await until(lambda: hub.clients[0].is_closed)
    assert (told[-1].connection, told[-1].hub) == ("absent", None)
    reply = link.mirror.reply()
    assert reply.overview is not None
    assert len(reply.overview.functions) == 2  # the last ones
    with pytest.raises(ConnectionError):
        await link.client()
    hub.is_running = True
    connection_file.write_text("{}")
    await until(lambda: link.mirror.is_current)
    assert await link.client() is not first
    assert told[-1].calls == ()  # the rows of the new hub are the same


async def test_rows_that_a_new_hub_does_not_have_are_gone(
    link: HubClient, hub: FakeHub, told: list[OverviewChange]
) -> None:
    await link.overview()
    complete = golden_changes()
    hub.clients[0].tell(msgspec.structs.replace(complete, workers=(), calls=complete.calls[:1]))
    await until(lambda: told[-1].gone)
    assert set(told[-1].gone) == {
        "fc-0000000000000000000002",
        *(row.id for row in complete.workers),
    }
    assert told[-1].functions == told[-1].calls == ()


async def test_events_are_sent_also_when_nothing_changes(
    link: HubClient,
    hub: FakeHub,
    told: list[OverviewChange],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await link.overview()
    monkeypatch.setattr(hub_client_module, "BEAT_INTERVAL", 0.0)
    before = len(told)
    await until(lambda: len(told) > before + 1)
    assert told[-1].previous == told[-1].revision == told[before - 1].revision
    assert told[-1].calls == told[-1].functions == told[-1].workers == told[-1].gone == ()


async def test_a_hub_that_sends_no_rows_is_unreachable(
    link: HubClient, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_client_module, "PATIENCE", 0.05)
    hub.is_frozen = True
    await link.overview()
    reply = link.mirror.reply()
    assert (reply.connection, reply.overview) == ("unreachable", None)
    assert "does not answer" in reply.message
    hub.clients[0].tell(golden_changes())
    await until(lambda: link.mirror.is_current)


async def test_requests_at_the_same_time_share_one_client(link: HubClient, hub: FakeHub) -> None:
    clients = await asyncio.gather(*(link.client() for _ in range(5)))
    assert len(set(clients)) == len(hub.clients) == 1


async def test_an_impatient_request_leaves_no_second_client(link: HubClient, hub: FakeHub) -> None:
    hub.delay = asyncio.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await link.client()
    hub.delay.set()
    await link.client()
    assert len(hub.clients) == hub.tries == 1


async def test_a_start_does_not_join_a_mere_look(link: HubClient, hub: FakeHub) -> None:
    hub.is_running = False
    hub.delay = asyncio.Event()
    look = asyncio.create_task(link.client())
    start = asyncio.create_task(link.client(start=True))
    await asyncio.sleep(0.01)
    hub.delay.set()
    with pytest.raises(ConnectionError):
        await look
    assert await start is hub.clients[0]
    assert hub.starts == 1


async def test_the_event_bus_hears_of_it(hub: FakeHub, jp_serverapp: Any) -> None:
    heard: list[dict[str, Any]] = []

    async def listen(logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        heard.append(data)

    jp_serverapp.event_logger.add_listener(schema_id=SCHEMA_ID, listener=listen)
    await jp_serverapp.web_app.settings["nbfn_hub_client"].client()
    await until(lambda: any(data["connection"] == "running" for data in heard))
    assert [row["id"] for row in heard[-1]["functions"]] == [
        row["id"] for row in GOLDEN["overview"]["functions"]
    ]
