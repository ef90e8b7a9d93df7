"""Tests of ``callback_url``: the hub posts when a call has ended (docs/function-api.md#callbacks)."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import nbfn
from nbfn.exception import InvalidError
from tests.conftest import wait_until


class Receiver(ThreadingHTTPServer):
    """Stores what is posted; ``hang`` lets it never answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[dict[str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.hang = False
        self.over = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.received.append(
            json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        )
        if self.server.hang:
            self.server.over.wait(30)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.over.set()
    receiver.shutdown()
    receiver.server_close()


def test_the_hub_posts_the_state_and_the_counts_of_each_call_that_ends(receiver: Receiver) -> None:
    app = nbfn.App()

    @app.function(callback_url=receiver.url)
    def inverse(x: float) -> float:
        return 1 / x

    call = inverse.spawn(2)
    assert call.get() == 0.5
    assert list(inverse.map([1, 2], order_outputs=False))
    with contextlib.suppress(ZeroDivisionError):
        inverse.remote(0)
    wait_until(lambda: len(receiver.received) == 3)
    by_kind = {body["kind"]: body for body in receiver.received}
    spawned = by_kind["spawn"]
    assert 0 < spawned.pop("seconds") < 60
    assert spawned == {
        "id": call.object_id,
        "state": "succeeded",
        "app": spawned["app"],
        "function": "inverse",
        "version": 1,
        "kind": "spawn",
        "total": 1,
        "succeeded": 1,
        "failed": 0,
        "cancelled": 0,
        "running": 0,
        "waiting": 0,
        "not_run": 0,
    }
    assert (by_kind["map"]["state"], by_kind["map"]["succeeded"]) == ("succeeded", 2)
    assert (by_kind["remote"]["state"], by_kind["remote"]["failed"]) == ("failed", 1)


def test_calls_do_not_wait_for_an_address_that_does_not_answer(receiver: Receiver) -> None:
    receiver.hang = True
    app = nbfn.App()

    @app.function(callback_url=receiver.url)
    def double(x: int) -> int:
        return 2 * x

    assert double.remote(1) == 2
    wait_until(lambda: bool(receiver.received))
    began = time.monotonic()
    assert [double.remote(x) for x in range(20)] == list(range(0, 40, 2))
    assert time.monotonic() - began < 9  # one post may take 10 s


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "example.org",
        "http://",
        "http://user:word@example.org/",
        "http://example.org/a b",
        "http://example.org/\r\nX: y",
        "http://example.org:99999/",
        "http://[::1/",
        "http://bücher.example/",
        "http://example.org/#part",
        "https://example.org/" + 3000 * "x",
        7,
    ],
)
def test_other_urls_are_refused(url: Any) -> None:
    with pytest.raises(InvalidError, match="callback_url is .*; it must be an http or https URL"):
        nbfn.App().function(callback_url=url)
