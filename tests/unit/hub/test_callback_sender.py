"""Callbacks are posted to real HTTP servers: good, slow, failing, redirecting and gone ones."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from nbfn.hub import callback_sender
from nbfn.hub.callback_sender import CallbackSender
from nbfn.hub.scheduler.effects import PostCallback

CALL = {"id": "fc-1", "state": "succeeded", "function": "f", "total": 1}


class Server(ThreadingHTTPServer):
    """Answers POST with the given status codes, the last one again and again."""

    daemon_threads = True

    def __init__(self, *statuses: int, location: str = "", hang: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses, self.location, self.hang = list(statuses), location, hang
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.over = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/ended?key=1"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, dict(self.headers), body))
        if self.server.hang:
            self.server.over.wait(30)
            return
        statuses = self.server.statuses
        self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def serve(*statuses: int, **options: Any) -> Server:
        servers.append(Server(*statuses, **options))
        return servers[-1]

    yield serve
    for server in servers:
        server.over.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def sender() -> Iterator[CallbackSender]:
    sender = CallbackSender(delays=(0.01, 0.01), timeout=0.5)
    yield sender
    sender.close()


def settled(sender: CallbackSender) -> None:
    end = time.monotonic() + 20
    while sender.waiting:
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_callback_is_posted_as_json(serve: Callable[..., Server], sender: CallbackSender) -> None:
    server = serve(204)
    sender.submit(PostCallback(server.url, CALL))
    settled(sender)
    ((path, headers, body),) = server.requests
    assert (path, body) == ("/ended?key=1", CALL)
    assert headers["Content-Type"] == "application/json"
    assert headers["Host"] == f"127.0.0.1:{server.server_port}"


@pytest.mark.parametrize(
    ("statuses", "attempts"),
    [((503, 429, 200), 3), ((500,), 3), ((404,), 1), ((400, 200), 1), ((503, 401, 200), 2)],
)
def test_only_errors_that_may_pass_are_repeated(
    serve: Callable[..., Server], sender: CallbackSender, statuses: tuple[int, ...], attempts: int
) -> None:
    server = serve(*statuses)
    sender.submit(PostCallback(server.url, CALL))
    settled(sender)
    assert len(server.requests) == attempts


def test_a_redirect_is_not_followed(
    serve: Callable[..., Server], sender: CallbackSender, caplog: pytest.LogCaptureFixture
) -> None:
    other = serve(200)
    server = serve(307, location=other.url)
    sender.submit(PostCallback(server.url, CALL))
    settled(sender)
    assert (len(server.requests), other.requests) == (1, [])
    assert "fc-1 to 127.0.0.1 was not delivered: status 307" in caplog.text


def test_a_server_that_does_not_answer_is_given_up(
    serve: Callable[..., Server], sender: CallbackSender, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(200, hang=True)
    began = time.monotonic()
    sender.submit(PostCallback(server.url, CALL))
    assert time.monotonic() - began < 0.25  # the hub's thread does not wait
    settled(sender)
    assert len(server.requests) == 3
    assert "no answer for 0.5 s" in caplog.text


def test_a_server_that_is_gone_is_given_up(
    sender: CallbackSender, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sender.submit(PostCallback(f"http://127.0.0.1:{port}/", CALL))
    settled(sender)
    assert "was not delivered: ConnectionRefusedError" in caplog.text


def test_a_server_that_does_not_speak_http_is_given_up(
    sender: CallbackSender, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for _ in range(3):
                connection, _address = listener.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"SSH-2.0-x\r\n")

        threading.Thread(target=answer, daemon=True).start()
        sender.submit(PostCallback(f"http://127.0.0.1:{listener.getsockname()[1]}/", CALL))
        settled(sender)
    assert "the response is not HTTP" in caplog.text


def test_slow_addresses_delay_no_others_and_the_queue_is_bounded(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(callback_sender, "MOST_WAITING", 50)
    sender = CallbackSender(delays=(), timeout=30.0)
    slow, good = serve(200, hang=True), serve(200)
    for _ in range(49):
        sender.submit(PostCallback(slow.url, CALL))
    sender.submit(PostCallback(good.url.replace("127.0.0.1", "localhost"), CALL))
    end = time.monotonic() + 20
    while not good.requests:
        assert time.monotonic() < end
        time.sleep(0.005)
    for _ in range(5):
        sender.submit(PostCallback(slow.url, CALL))
    assert sender.waiting <= 50
    assert "4 callbacks were dropped" in caplog.text or "2 callbacks were dropped" in caplog.text
    assert len(slow.requests) <= callback_sender.AT_ONCE_HOST
    slow.over.set()
    sender.close()


def test_only_allowed_hosts_are_posted_to(
    serve: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(200)
    sender = CallbackSender({"hooks.example.org"})
    sender.submit(PostCallback(server.url, CALL))
    assert sender.waiting == 0
    assert "callback_hosts lacks 127.0.0.1" in caplog.text
    assert server.requests == []
