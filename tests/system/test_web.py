"""Who reaches web endpoints (docs/guarantees.md, S14), and failures of the gateway, on real processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import websockets.exceptions
import websockets.sync.client

import nbfn
from nbfn.client import discovery
from nbfn.config import Places
from nbfn.exception import ExecutionError
from tests.conftest import processes_of, wait_until

app = nbfn.App("web")
COLD = 30.0


@app.function()
@nbfn.concurrent(max_inputs=10)
@nbfn.asgi_app()
def site() -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, PlainTextResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket

    async def headers(request: Request) -> Any:
        return JSONResponse(sorted(request.headers))

    async def size(request: Request) -> Any:
        return PlainTextResponse(str(len(await request.body())))

    async def wait_for(request: Request) -> Any:
        while not Path(request.query_params["path"]).exists():
            await asyncio.sleep(0.005)
        return PlainTextResponse("waited for")

    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        while (message := await socket.receive())["type"] == "websocket.receive":
            await socket.send_text(message["text"])

    return Starlette(
        routes=[
            Route("/", headers, methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
            Route("/size", size, methods=["POST"]),
            Route("/wait-for", wait_for),
            WebSocketRoute("/echo", echo),
        ]
    )


def url_of(function: Any) -> str:
    url = function.get_web_url()
    assert isinstance(url, str)
    return url


def token_of(url: str) -> str:
    return httpx.URL(url).path.split("/")[1]


def gateway_of(home: Path) -> int:
    return next((pid for pid, what in processes_of(home).items() if "nbfn.gateway" in what), 0)


def hub_pid() -> int:
    return int(str(discovery.read_connection_file(Places.of())["pid"]))


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def test_s14_who_does_not_know_the_token_learns_nothing(home: Path) -> None:
    url = url_of(site)
    token = token_of(url)
    assert len(token) >= 22  # 128 bits
    assert httpx.get(url, timeout=COLD).status_code == 200
    for wrong in ("", "x", token[:-1], token + "x", token.swapcase(), "%2e%2e", "ä"):
        for label in ("web-site-dev", "nothing"):
            other = url.replace(f"{token}/web-site-dev", f"{wrong}/{label}")
            for method in METHODS:
                answer = httpx.request(method, other)
                assert answer.status_code == 404, (method, other)
                assert answer.text in ("", "Not found.\n")
            with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
                websockets.sync.client.connect("ws" + other.removeprefix("http") + "/echo")
            assert refused.value.response.status_code in (403, 404)


def test_s14_a_foreign_host_is_refused(home: Path) -> None:
    url = url_of(site)
    port = httpx.URL(url).port
    assert httpx.get(url, timeout=COLD).status_code == 200
    assert httpx.get(url, headers={"Host": f"localhost:{port}"}).status_code == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "127.0.0.2"):
        for method in METHODS:
            answer = httpx.request(method, url, headers={"Host": host})
            assert answer.status_code == 403, (method, host)
    there = "ws" + url.removeprefix("http").replace("127.0.0.1", "evil.example") + "/echo"
    with (
        socket.create_connection(("127.0.0.1", port or 0)) as raw,
        pytest.raises(websockets.exceptions.InvalidStatus) as refused,
    ):
        websockets.sync.client.connect(there, sock=raw)
    assert refused.value.response.status_code == 403


def test_s14_a_host_may_be_allowed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBFN_WEB_HOSTS", "lab.example, other.example")
    url = url_of(site)
    for host in ("lab.example", "lab.example:443", "OTHER.example"):
        assert httpx.get(url, headers={"Host": host}, timeout=COLD).status_code == 200


def test_s14_it_listens_on_this_machine_only(home: Path) -> None:
    assert httpx.get(url_of(site), timeout=COLD).status_code == 200
    listening = [
        connection.laddr
        for pid in processes_of(home)
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert {address.port for address in listening} == {httpx.URL(url_of(site)).port}


def test_s14_what_is_secret_is_only_its_owners_and_in_no_log(home: Path) -> None:
    url = url_of(site)
    assert httpx.get(url, timeout=COLD).status_code == 200
    assert httpx.get(url + "/nowhere").status_code == 404
    with pytest.raises(websockets.exceptions.InvalidStatus):
        websockets.sync.client.connect("ws" + url.removeprefix("http") + "/nowhere")
    kept = Places.of().web_file
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    secrets = json.loads(kept.read_text())
    logs = "".join(path.read_text("utf-8", "replace") for path in Places.of().logs.iterdir())
    argv = "".join(processes_of(home).values())
    for name in ("token", "proxy_key", "proxy_secret"):
        assert len(secrets[name]) >= 22
        assert secrets[name] not in logs + argv, name


def test_s14_an_app_never_sees_the_proxy_secret(home: Path) -> None:
    sent = {"Modal-Key": "wk", "Modal-Secret": "ws", "X-Other": "1"}
    seen = httpx.get(url_of(site), headers=sent, timeout=COLD).json()
    assert "x-other" in seen
    assert not [name for name in seen if name.startswith("modal-")]


def test_s14_other_sites_are_not_told_the_token(home: Path) -> None:
    answer = httpx.get(url_of(site), timeout=COLD)
    assert answer.headers["referrer-policy"] == "same-origin"


def test_a_body_over_the_limit_is_413(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBFN_WEB_MAX_BODY", str(2_000_000))
    url = url_of(site) + "/size"

    def parts(count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield b"x" * 100_000

    assert httpx.post(url, content=b"x" * 2_000_000, timeout=COLD).text == "2000000"
    assert httpx.post(url, content=parts(20)).text == "2000000"
    assert raw_answer(url, "Content-Length: 2000001", b"").startswith(b"HTTP/1.1 413")
    chunks = b"".join(b"186a0\r\n" + part + b"\r\n" for part in parts(21))
    assert raw_answer(url, "Transfer-Encoding: chunked", chunks).startswith(b"HTTP/1.1 413")
    wait_until(lambda: site.get_current_stats().num_running_inputs == 0)


def raw_answer(url: str, header: str, body: bytes) -> bytes:
    """Send a request and return how its answer begins, also when that comes before all is sent."""
    parsed = httpx.URL(url)
    with socket.create_connection(("127.0.0.1", parsed.port or 0), 10) as raw:
        raw.sendall(f"POST {parsed.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}\r\n\r\n".encode())
        sending = threading.Thread(target=_send, args=(raw, body))
        sending.start()
        said = raw.recv(65536)
        sending.join()
        return said


def _send(raw: socket.socket, body: bytes) -> None:
    with contextlib.suppress(OSError):  # it said no before it had all
        raw.sendall(body)


def test_clients_that_take_their_time_are_let_go(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBFN_WEB_PATIENCE", "0.3")
    url = url_of(site)
    assert httpx.get(url, timeout=COLD).status_code == 200
    parsed = httpx.URL(url)
    for begun in (b"", b"GET / HTTP/1.1\r\nHost: 127.0"):
        with socket.create_connection(("127.0.0.1", parsed.port or 0), 10) as raw:
            raw.sendall(begun)
            assert raw.recv(1) == b""
    assert raw_answer(url + "/size", "Content-Length: 5", b"ab").startswith(b"HTTP/1.1 408")


def test_an_answer_that_takes_long_is_waited_for_elsewhere(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NBFN_WEB_REDIRECT", "0.3")
    assert httpx.get(url_of(site), timeout=COLD, follow_redirects=True).status_code == 200
    go = tmp_path / "go"
    answer = httpx.get(url_of(site) + "/wait-for", params={"path": str(go)}, timeout=COLD)
    assert answer.status_code == 303
    again = httpx.URL(url_of(site)).join(answer.headers["location"])
    assert re.fullmatch(r"fc-\w{22}", again.params["__modal_function_call_id"])
    assert again.params["path"] == str(go)
    answer = httpx.get(again)
    assert answer.status_code == 303
    go.touch()
    answer = httpx.get(httpx.URL(url_of(site)).join(answer.headers["location"]))
    assert (answer.status_code, answer.text) == (200, "waited for")
    assert httpx.get(again).status_code != 500  # its answer was fetched: this one asks anew


def test_the_first_request_finds_nothing_running_and_is_answered(home: Path) -> None:
    began = time.monotonic()
    assert httpx.get(url_of(site), timeout=COLD).status_code == 200
    assert time.monotonic() - began < COLD


def test_a_gateway_that_dies_is_replaced_under_the_same_url(home: Path) -> None:
    url = url_of(site)
    assert httpx.get(url, timeout=COLD).status_code == 200
    first = gateway_of(home)
    os.kill(first, signal.SIGKILL)
    assert httpx.get(url, timeout=COLD).status_code == 200
    assert gateway_of(home) != first
    assert url_of(site) == url


def test_the_gateway_ends_with_a_killed_hub_and_the_url_works_again_with_the_next(
    home: Path,
) -> None:
    deployed = nbfn.App("stays")

    @deployed.function()
    @nbfn.fastapi_endpoint()
    def hello() -> str:
        return "hello"

    deployed.deploy()
    url = url_of(hello)
    assert httpx.get(url, timeout=COLD).json() == "hello"
    gateway = gateway_of(home)
    os.kill(hub_pid(), signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(gateway))
    found = nbfn.Function.from_name("stays", "hello")
    assert url_of(found) == url  # which starts the next hub
    assert httpx.get(url, timeout=COLD).json() == "hello"


def test_an_embedded_hub_stays_for_a_url_that_was_deployed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBFN_IDLE_EXIT", "0.5")
    deployed = nbfn.App("stays")

    @deployed.function()
    @nbfn.fastapi_endpoint()
    def hello() -> str:
        return "hello"

    deployed.deploy()
    url, pid = url_of(hello), hub_pid()
    mine = nbfn.Client.attach()
    mine.close()
    # Two of the hub's looks whether it is needed have passed when a second client has come and gone.
    looks = time.monotonic() + 2.5
    wait_until(lambda: time.monotonic() > looks)
    assert httpx.get(url, timeout=COLD).json() == "hello"
    assert hub_pid() == pid


def test_an_answer_is_never_begun_twice(home: Path, tmp_path: Path) -> None:
    """The worker dies half-way: its input runs again elsewhere, but who asked must not see that."""

    @app.function()
    @nbfn.asgi_app()
    def halfway() -> Any:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            assert scope["type"] == "http"
            with (tmp_path / "runs").open("a") as file:
                print(os.getpid(), file=file)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            await asyncio.Event().wait()

        return application

    with httpx.stream("GET", url_of(halfway), timeout=COLD) as answer:
        parts = answer.iter_raw()
        assert next(parts) == b"half"
        os.kill(int((tmp_path / "runs").read_text().split()[0]), signal.SIGKILL)
        with pytest.raises(httpx.RemoteProtocolError):
            b"".join(parts)
    wait_until(lambda: halfway.get_current_stats().num_running_inputs == 0)


def test_a_request_whose_worker_dies_before_it_answers_runs_again(
    home: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"

    @app.function()
    @nbfn.fastapi_endpoint(method="POST")
    async def dies_once(body: str) -> str:
        with runs.open("a") as file:
            print(body, file=file)
        if runs.read_text().count("\n") == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return body

    assert httpx.post(url_of(dies_once), params={"body": "again"}, timeout=COLD).json() == "again"
    assert runs.read_text() == "again\nagain\n"


def test_a_request_of_an_endpoint_that_runs_at_most_once_is_not_sent_again(
    home: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"

    @app.function(at_most_once=True)
    @nbfn.fastapi_endpoint(method="POST")
    async def dies_first() -> None:
        with runs.open("a") as file:
            print("begun", file=file)
        os.kill(os.getpid(), signal.SIGKILL)

    assert httpx.post(url_of(dies_first), timeout=COLD).status_code == 502
    assert runs.read_text() == "begun\n"


def test_a_client_that_leaves_does_not_cost_a_sync_endpoint_its_worker(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread cannot be stopped; a hub that was told to cancel it would kill the process."""
    monkeypatch.setenv("NBFN_KILL_GRACE", "0.1")
    go = tmp_path / "go"

    @app.function()
    @nbfn.fastapi_endpoint()
    def sleepy(wait: bool = False) -> int:
        while wait and not go.exists():
            time.sleep(0.005)
        return os.getpid()

    first = httpx.get(url_of(sleepy), timeout=COLD).json()
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(url_of(sleepy), params={"wait": True}, timeout=0.3)
    over = time.monotonic() + 3.0  # the grace of who leaves, and then that of who is killed
    wait_until(lambda: time.monotonic() > over)
    go.touch()
    assert httpx.get(url_of(sleepy), timeout=COLD).json() == first


def test_without_the_extra_the_error_says_what_to_install(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['uvicorn'] = None\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(ExecutionError, match=r"uvicorn.*pip install 'nbfn\[web\]'"):
        site.get_web_url()


def test_a_hub_without_endpoints_has_no_gateway(home: Path) -> None:
    @app.function()
    def plain() -> int:
        return 1

    assert plain.remote() == 1
    assert gateway_of(home) == 0
    assert not Places.of().web_file.exists()


def test_a_taken_port_gives_another_url_which_is_kept_and_told(home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        kept = {
            "ports": {"web-site-dev": port},
            "token": "t" * 22,
            "proxy_key": "wk-1",
            "proxy_secret": "ws-1",
        }
        Places.of().create().web_file.write_text(json.dumps(kept))
        url = url_of(site)
        assert httpx.URL(url).port != port
        assert httpx.get(url, timeout=COLD).status_code == 200
    kept["ports"] = {"web-site-dev": httpx.URL(url).port}
    assert json.loads(Places.of().web_file.read_text()) == kept
    assert f"port {port} is taken" in Places.of().hub_log.read_text()


def test_a_file_that_cannot_be_read_is_told(home: Path) -> None:
    Places.of().create().web_file.write_text("{")
    with pytest.raises(nbfn.Error, match=r"web\.json cannot be read"):
        site.get_web_url()


def test_what_an_endpoint_prints_and_how_it_failed_is_in_its_logs(home: Path) -> None:
    @app.function()
    @nbfn.fastapi_endpoint()
    async def talk() -> None:
        print("said on the worker")
        raise ValueError("and then failed")

    assert httpx.get(url_of(talk), timeout=COLD).status_code == 500

    def logged() -> str:
        return "\n".join(entry.message for entry in talk.logs.tail())

    wait_until(lambda: "said on the worker" in logged())
    wait_until(lambda: "ValueError: and then failed" in logged())
    assert "said on the worker" not in (Places.of().logs / "web.log").read_text()
