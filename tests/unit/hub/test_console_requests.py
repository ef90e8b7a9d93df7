"""Requests for consoles find their worker, and every one is answered."""

from __future__ import annotations

import pytest

from nbfn.hub.queries import ConsoleRequests
from nbfn.protocol import messages as m
from nbfn.protocol.messages import Message

WORKER = "wk-1"


class Peers:
    def __init__(self) -> None:
        self.sent: list[tuple[str, Message]] = []
        self.consoles = ConsoleRequests(
            lambda peer, message: self.sent.append((peer, message)), {WORKER}
        )

    def take(self) -> list[tuple[str, Message]]:
        sent, self.sent[:] = list(self.sent), []
        return sent


@pytest.fixture
def peers() -> Peers:
    return Peers()


def asked(peers: Peers, client: str = "cl-1", request: int = 7) -> int:
    peers.consoles.attach(client, m.Attach(request, WORKER))
    [(worker, message)] = peers.take()
    assert worker == WORKER
    assert isinstance(message, m.OpenConsole)
    return message.request


def test_the_answer_goes_to_who_asked(peers: Peers) -> None:
    first, second = asked(peers), asked(peers, "cl-2", 7)
    peers.consoles.handle_opened(WORKER, m.ConsoleOpened(second, "/file"))
    peers.consoles.handle_opened(WORKER, m.ConsoleOpened(first, "", "no room"))
    (to, attached), (other, failed) = peers.take()
    assert (to, attached) == ("cl-2", m.Attached(7, "/file"))
    assert isinstance(failed, m.Failed)
    assert (other, failed.request) == ("cl-1", 7)
    assert "no room" in failed.message


@pytest.mark.parametrize("worker", ["wk-2", "cl-1", ""])
def test_who_is_no_worker_here_is_refused(peers: Peers, worker: str) -> None:
    peers.consoles.attach("cl-1", m.Attach(1, worker))
    [(_, failed)] = peers.take()
    assert isinstance(failed, m.Failed)
    assert failed.code == "not_found"


def test_a_worker_that_goes_answers_nothing_and_nobody_waits(peers: Peers) -> None:
    number = asked(peers)
    peers.consoles.lost(WORKER)
    [(to, failed)] = peers.take()
    assert to == "cl-1"
    assert isinstance(failed, m.Failed)
    peers.consoles.handle_opened(WORKER, m.ConsoleOpened(number, "/late"))
    assert peers.take() == []


def test_another_worker_cannot_answer(peers: Peers) -> None:
    number = asked(peers)
    peers.consoles.handle_opened("wk-2", m.ConsoleOpened(number, "/mine"))
    assert peers.take() == []


def test_a_client_that_goes_is_forgotten(peers: Peers) -> None:
    number = asked(peers)
    peers.consoles.lost("cl-1")
    peers.consoles.handle_opened(WORKER, m.ConsoleOpened(number, "/file"))
    assert peers.take() == []
