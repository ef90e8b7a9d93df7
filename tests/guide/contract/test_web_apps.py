"""Tests of ASGI and WSGI apps and of web servers (docs/function-api.md#web-endpoints)."""

from __future__ import annotations

import concurrent.futures
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets.exceptions
import websockets.sync.client

import nbfn
from nbfn.config import Places
from tests.conftest import wait_until
from tests.guide.contract.endpoints import COLD, app, site, url_of, ws_of

# --- asgi_app ------------------------------------------------------------------------------------


def test_an_asgi_app_is_served_with_its_paths_and_has_its_lifespan() -> None:
    assert httpx.get(url_of(site), timeout=COLD).text == "in the worker /"
    assert httpx.get(url_of(site) + "/").text == "in the worker /"
    assert httpx.get(url_of(site) + "/deep/path").text == "in the worker /deep/path"
    assert httpx.get(url_of(site) + "/nowhere").status_code == 404


def test_a_browser_is_sent_to_the_url_with_a_slash_so_that_relative_links_work() -> None:
    answer = httpx.get(url_of(site) + "?q=1", headers={"Accept": "text/html,*/*"}, timeout=COLD)
    assert answer.status_code == 307
    assert answer.headers["location"] == httpx.URL(url_of(site)).path + "/?q=1"


def test_a_streaming_response_arrives_while_it_is_made(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with httpx.stream(
        "GET", url_of(site) + "/stop-and-go", params={"path": str(go)}, timeout=COLD
    ) as answer:
        parts = answer.iter_raw()
        assert next(parts) == b"first"
        go.touch()
        assert b"".join(parts) == b"second"


def test_a_client_that_leaves_ends_its_request(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with httpx.stream(
        "GET", url_of(site) + "/until-gone", params={"path": str(gone)}, timeout=COLD
    ) as answer:
        assert next(answer.iter_raw()).startswith(b".")
    wait_until(gone.exists)
    wait_until(lambda: site.get_current_stats().num_running_inputs == 0)


@pytest.mark.parametrize("size", [0, 1, 1_000_000, 5_000_000])
def test_bodies_of_any_size_go_both_ways(size: int) -> None:
    answer = httpx.post(url_of(site) + "/size", content=b"x" * size, timeout=COLD)
    assert answer.text == str(size)
    answer = httpx.get(url_of(site) + "/large", params={"size": size}, timeout=COLD)
    assert len(answer.content) == size


def test_a_body_without_a_length_is_read_too() -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(30):
            yield b"x" * 100_000

    assert httpx.post(url_of(site) + "/size", content=parts(), timeout=COLD).text == "3000000"


def test_twenty_requests_run_at_once_in_one_worker() -> None:
    url = url_of(site) + "/meet"
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda _: httpx.get(url, params={"of": 20}, timeout=COLD).text, range(20))
        )
    assert len(answers) == 20
    assert len(set(answers)) == 1


def test_an_exception_is_a_500_without_its_traceback() -> None:
    answer = httpx.get(url_of(site) + "/fail", timeout=COLD)
    assert answer.status_code == 500
    assert "on purpose" not in answer.text


def test_a_websocket_talks_both_ways() -> None:
    with websockets.sync.client.connect(
        ws_of(site) + "/echo",
        subprotocols=[websockets.Subprotocol("chat")],
        open_timeout=COLD,
    ) as socket:
        assert socket.subprotocol == "chat"
        for message in ("text", b"bytes", "x" * 1_000_000, "", b""):
            socket.send(message)
            assert socket.recv(timeout=10) == message
        for number in range(200):  # more than may be in transit at once
            socket.send(str(number))
        assert [socket.recv(timeout=10) for _ in range(200)] == [str(n) for n in range(200)]
        socket.send("bye")
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            socket.recv(timeout=10)
        assert (socket.close_code, socket.close_reason) == (4000, "as you wish")


@pytest.mark.parametrize(("query", "code"), [("", 1000), ("?fail=1", 1011)])
def test_a_websocket_is_closed_when_its_app_ends(query: str, code: int) -> None:
    with websockets.sync.client.connect(ws_of(site) + "/once" + query, open_timeout=COLD) as socket:
        assert socket.recv(timeout=10) == "once"
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            socket.recv(timeout=10)
        assert socket.close_code == code


def test_the_first_line_of_an_answer_does_not_wait_for_its_body(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with httpx.stream(
        "GET", url_of(site) + "/late-body", params={"path": str(go)}, timeout=COLD
    ) as answer:
        assert answer.status_code == 200
        go.touch()
        assert answer.read() == b"late"


def test_a_websocket_whose_app_does_not_listen_ends_when_its_client_leaves() -> None:
    with websockets.sync.client.connect(ws_of(site) + "/chatter", open_timeout=COLD) as socket:
        assert socket.recv(timeout=10) == "and on"
        wait_until(lambda: site.get_current_stats().num_running_inputs == 1)
    wait_until(lambda: site.get_current_stats().num_running_inputs == 0)


def test_a_websocket_that_is_closed_ends_its_input() -> None:
    with websockets.sync.client.connect(ws_of(site) + "/echo", open_timeout=COLD) as socket:
        socket.send("hello")
        assert socket.recv(timeout=10) == "hello"
    wait_until(lambda: site.get_current_stats().num_running_inputs == 0)


def test_a_websocket_that_the_app_does_not_accept_is_a_403() -> None:
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        websockets.sync.client.connect(ws_of(site) + "/closed", open_timeout=COLD)
    assert refused.value.response.status_code == 403


def test_an_app_that_is_no_app_is_a_500_that_says_so() -> None:
    @app.function()
    @nbfn.asgi_app()
    def nothing() -> Any:
        return 7

    answer = httpx.get(url_of(nothing), timeout=COLD)
    assert answer.status_code == 500
    assert "could not be loaded" in answer.text


def test_an_app_that_fails_to_start_up_is_a_500_that_says_so() -> None:
    @app.function()
    @nbfn.asgi_app()
    def broken() -> Any:
        from contextlib import asynccontextmanager

        from fastapi import FastAPI

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            raise RuntimeError("no database")
            yield

        return FastAPI(lifespan=lifespan)

    answer = httpx.get(url_of(broken), timeout=COLD)
    assert answer.status_code == 500
    assert "could not be loaded" in answer.text
    assert "no database" in (Places.of().logs / "hub.log").read_text()


# --- wsgi_app ------------------------------------------------------------------------------------


def test_a_wsgi_app_is_served() -> None:
    @app.function()
    @nbfn.wsgi_app()
    def old_site() -> Any:
        def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            body = environ["wsgi.input"].read()
            start_response("201 Created", [("Content-Type", "text/plain"), ("X-Old", "yes")])
            told = (environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"])
            return [f"{told} {environ['SCRIPT_NAME']!r} ".encode(), body]

        return application

    answer = httpx.post(url_of(old_site) + "/a/b?c=d", content=b"body", timeout=COLD)
    assert (answer.status_code, answer.headers["x-old"]) == (201, "yes")
    assert answer.text == "('POST', '/a/b', 'c=d') '' body"


# --- web_server ----------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


SERVER = """
import asyncio, sys
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route, WebSocketRoute
import uvicorn

async def tell(request):
    body = await request.body()
    return JSONResponse({"path": request.url.path, "query": request.url.query, "body": len(body),
                         "base": str(request.base_url)})

async def away(request):
    return RedirectResponse("/elsewhere")

async def echo(socket):
    await socket.accept()
    while (message := await socket.receive())["type"] == "websocket.receive":
        await socket.send_text(message["text"].upper())

app = Starlette(routes=[WebSocketRoute("/echo", echo), Route("/away", away),
                        Route("/{rest:path}", tell, methods=["GET", "POST"])])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""


def test_a_server_of_ones_own_is_passed_on_to_with_http_and_websockets() -> None:
    port = free_port()

    @app.function()
    @nbfn.concurrent(max_inputs=5)
    @nbfn.web_server(port, startup_timeout=COLD)
    def own_server() -> None:
        subprocess.Popen([sys.executable, "-c", SERVER, str(port)])

    url = httpx.URL(url_of(own_server))
    base = f"http://127.0.0.1:{url.port}/"
    told = {"path": "/a/b", "query": "c=d", "body": 3_000_000, "base": base}
    answer = httpx.post(url_of(own_server) + "/a/b?c=d", content=b"x" * 3_000_000, timeout=COLD)
    assert answer.json() == told
    assert httpx.get(url_of(own_server)).json()["path"] == "/"
    assert httpx.get(url_of(own_server) + "/away").headers["location"] == f"{url.path}/elsewhere"
    with websockets.sync.client.connect(ws_of(own_server) + "/echo", open_timeout=COLD) as ws:
        ws.send("hello")
        assert ws.recv(timeout=10) == "HELLO"


def test_a_server_leaves_its_port_to_the_one_of_an_app_that_is_made_anew() -> None:
    port = free_port()

    def serving(word: str) -> Any:
        def server() -> None:
            from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(word.encode())

            threading.Thread(
                target=ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever, daemon=True
            ).start()

        return nbfn.App("served").function()(nbfn.web_server(port, startup_timeout=COLD)(server))

    assert httpx.get(url_of(serving("old")), timeout=COLD).text == "old"
    assert httpx.get(url_of(serving("new")), timeout=COLD).text == "new"


def test_a_server_that_does_not_listen_in_time_is_a_500_that_says_so() -> None:
    @app.function()
    @nbfn.web_server(free_port(), startup_timeout=0.2)
    def silent() -> None:
        pass

    answer = httpx.get(url_of(silent), timeout=COLD)
    assert answer.status_code == 500
    assert "could not be loaded" in answer.text


def test_a_server_keeps_to_one_worker_and_says_so() -> None:
    with pytest.warns(UserWarning, match="it has one worker"):

        @app.function(max_containers=3)
        @nbfn.web_server(8000)
        def many() -> None: ...

    assert many.spec.max_containers == 1
