"""The server's client of the hub: connects and reconnects, and reports changes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbfn.exception import ConnectionError
from nbfn.jupyter.server import hub_client as link_module
from nbfn.jupyter.server.events import SCHEMA_ID
from nbfn.jupyter.server.hub_client import HubClient

from .conftest import FakeHub

Told = list[tuple[int, str]]


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.005)


@pytest.fixture
def told() -> Told:
    return []


@pytest.fixture
def connection_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NBFN_HOME", str(tmp_path))
    monkeypatch.setattr(link_module, "POLL_INTERVAL", 0.01)
    return tmp_path / "hub.json"


@pytest.fixture
def link(
    hub: FakeHub, told: Told, connection_file: Path, jp_asyncio_loop: Any
) -> Iterator[HubClient]:
    link = HubClient(on_change=lambda revision, what: told.append((revision, what)))

    async def start() -> None:
        link.start()

    jp_asyncio_loop.run_until_complete(start())
    yield link
    jp_asyncio_loop.run_until_complete(link.close())


async def test_a_hub_that_appears_is_noticed(
    link: HubClient, hub: FakeHub, told: Told, connection_file: Path
) -> None:
    await asyncio.sleep(0.05)
    assert hub.clients == []
    connection_file.write_text("{}")
    await until(lambda: told)
    assert told == [(0, "hub")]


async def test_a_file_that_leads_nowhere_is_tried_once(
    link: HubClient, hub: FakeHub, told: Told, connection_file: Path
) -> None:
    hub.is_running = False
    connection_file.write_text("{}")
    await until(lambda: hub.tries)
    await asyncio.sleep(0.05)
    assert hub.tries == 1
    hub.is_running = True
    connection_file.write_text('{"pid": 1}')
    await until(lambda: told)


async def test_changes_come_over_from_the_clients_thread(
    link: HubClient, hub: FakeHub, told: Told
) -> None:
    await link.client()
    thread = threading.Thread(target=lambda: hub.clients[0].tell(7))
    thread.start()
    await until(lambda: (7, "overview") in told)
    thread.join()


async def test_a_lost_hub_is_told_and_a_new_one_found(
    link: HubClient, hub: FakeHub, told: Told, connection_file: Path
) -> None:
    first = await link.client()
    hub.is_running = False
    hub.clients[0].lose()
    await until(lambda: told == [(0, "hub"), (0, "hub")])
    await until(lambda: hub.clients[0].is_closed)
    with pytest.raises(ConnectionError):
        await link.client()
    hub.is_running = True
    connection_file.write_text("{}")
    await until(lambda: len(told) == 3)
    assert await link.client() is not first


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
    hub.clients[0].tell(3)
    await until(lambda: len(heard) == 2)
    assert heard == [{"revision": 0, "what": "hub"}, {"revision": 3, "what": "overview"}]
