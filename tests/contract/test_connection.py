"""What every `Connection` does: the ZeroMQ link to a router, and its in-memory twin."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nbfn.protocol import codec
from nbfn.protocol.messages import Done, GetOverview, Message
from nbfn.protocol.transport import Change, Connection, Link, Router, pair


class InMemory:
    """A pair: the hub's end is a pipe."""

    def __init__(self, _: Path) -> None:
        self.peer, self._hub = pair()

    def hear(self) -> list[object]:
        return [x for x in self._hub.wait(5) if not isinstance(x, Change)]

    def say(self, message: Message) -> None:
        self._hub.send(message)

    def end(self) -> None:
        self._hub.close()


class ZeroMq:
    """A link to a router."""

    def __init__(self, path: Path) -> None:
        endpoint = f"ipc://{path / 'hub.sock'}"
        self._router = Router(endpoint)
        self.peer = Link(endpoint, codec.TO_CLIENT)
        self._who = b""
        self._ended = False

    def hear(self) -> list[object]:
        ends = time.monotonic() + 5
        while time.monotonic() < ends:
            self._router.wait(0.1)
            if found := list(self._router.receive()):
                self._who = found[0][0]
                return [message for _, message in found]
        return []

    def say(self, message: Message) -> None:
        self._router.send(self._who, message)

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            self._router.close()


@pytest.fixture(params=[InMemory, ZeroMq])
def hub(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InMemory | ZeroMq]:
    made: InMemory | ZeroMq = request.param(tmp_path_factory.mktemp("s"))
    yield made
    made.peer.close()
    made.end()


def until(connection: Connection, wanted: Callable[[object], bool]) -> object:
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        for found in connection.wait(1):
            if wanted(found):
                return found
    raise AssertionError("it did not come")


def test_it_says_that_it_is_up_and_carries_messages_both_ways(hub: InMemory | ZeroMq) -> None:
    until(hub.peer, lambda x: x is Change.UP)
    hub.peer.send(GetOverview(1))
    assert hub.hear() == [GetOverview(1)]
    hub.say(Done(1))
    assert until(hub.peer, lambda x: isinstance(x, Message)) == Done(1)


def test_messages_keep_their_order(hub: InMemory | ZeroMq) -> None:
    until(hub.peer, lambda x: x is Change.UP)
    for number in range(1000):
        hub.peer.send(GetOverview(number))
    heard: list[object] = []
    while len(heard) < 1000 and (more := hub.hear()):
        heard += more
    assert heard == [GetOverview(number) for number in range(1000)]


def test_waiting_ends_when_woken_from_another_thread(hub: InMemory | ZeroMq) -> None:
    until(hub.peer, lambda x: x is Change.UP)
    begun = time.monotonic()
    threading.Timer(0.05, hub.peer.wake).start()
    assert hub.peer.wait(10) == []
    assert time.monotonic() - begun < 5


def test_waiting_ends_in_time(hub: InMemory | ZeroMq) -> None:
    until(hub.peer, lambda x: x is Change.UP)
    assert hub.peer.wait(0.01) == []
    assert hub.peer.wait(0) == []


def test_it_notices_that_the_hub_is_gone(hub: InMemory | ZeroMq) -> None:
    until(hub.peer, lambda x: x is Change.UP)
    hub.end()
    until(hub.peer, lambda x: x is Change.DOWN)
    hub.peer.send(
        GetOverview(1)
    )  # dropped without a word; the owner says it again after the next UP


def test_a_link_finds_the_next_hub_and_a_router_notices_lost_peers(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path / 'hub.sock'}"
    router = Router(endpoint)
    link = Link(endpoint, codec.TO_CLIENT)
    until(link, lambda x: x is Change.UP)
    router.close()
    until(link, lambda x: x is Change.DOWN)
    router = Router(endpoint)
    until(link, lambda x: x is Change.UP)
    link.send(GetOverview(2))
    router.wait(5)
    ((peer, message),) = router.receive()
    assert message == GetOverview(2)
    link.close()
    ends = time.monotonic() + 5
    lost: list[bytes] = []
    while not lost and time.monotonic() < ends:
        router.wait(0.1)
        lost = router.lost()
    assert lost == [peer]
    assert not router.send(peer, Done(1))
    router.close()
