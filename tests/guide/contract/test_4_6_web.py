"""Sections 4.6 and 1.7 of the contract: web endpoints, asked over HTTP as anybody would ask."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pydantic
import pytest
import websockets.exceptions
import websockets.sync.client

import nbfn
from nbfn.config import Places
from nbfn.exception import ConflictError, InvalidError, NotFoundError
from tests.conftest import wait_until

app = nbfn.App("site")
COLD = 30.0  # seconds: the first request starts a gateway and a worker


def url_of(function: Any) -> str:
    url = function.get_web_url()
    assert isinstance(url, str)
    return url


def ws_of(function: Any) -> str:
    return "ws" + url_of(function).removeprefix("http")


# --- fastapi_endpoint -----------------------------------------------------------------------------


@app.function()
@nbfn.fastapi_endpoint()
def greet(name: str = "world") -> dict[str, Any]:
    return {"hello": name}


def test_an_endpoint_answers_with_its_result_and_reads_its_parameters_from_the_query() -> None:
    assert httpx.get(url_of(greet), timeout=COLD).json() == {"hello": "world"}
    assert httpx.get(url_of(greet), params={"name": "ada"}).json() == {"hello": "ada"}


def test_a_wrong_parameter_is_told_as_fastapi_tells_it() -> None:
    @app.function()
    @nbfn.fastapi_endpoint()
    def square(x: int) -> int:
        return x * x

    assert httpx.get(url_of(square), params={"x": "3"}, timeout=COLD).text == "9"
    assert httpx.get(url_of(square), params={"x": "three"}).status_code == 422


def test_a_post_reads_its_body() -> None:
    @app.function()
    @nbfn.fastapi_endpoint(method="POST")
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    assert httpx.post(url_of(total), json=[1, 2, 3], timeout=COLD).json() == 6


class Item(pydantic.BaseModel):
    name: str
    price: float = 1.0


def test_a_model_of_the_notebooks_own_is_read_from_the_body() -> None:
    @app.function()
    @nbfn.fastapi_endpoint(method="POST")
    def price(item: Item) -> Item:  # annotations are strings here
        item.price *= 2
        return item

    answer = httpx.post(url_of(price), json={"name": "pen", "price": 2}, timeout=COLD)
    assert answer.json() == {"name": "pen", "price": 4.0}


def test_another_method_than_its_own_is_405() -> None:
    assert httpx.post(url_of(greet), timeout=COLD).status_code == 405


def test_cors_is_permissive() -> None:
    answer = httpx.get(url_of(greet), headers={"Origin": "https://example.org"}, timeout=COLD)
    assert answer.headers["access-control-allow-origin"] in ("*", "https://example.org")


def test_there_are_no_docs_unless_asked_for() -> None:
    @app.function()
    @nbfn.fastapi_endpoint(docs=True)
    def documented(x: int) -> int:
        return x

    assert httpx.get(url_of(greet) + "/docs", timeout=COLD).status_code == 404
    docs = httpx.get(url_of(documented) + "/docs", timeout=COLD)
    assert docs.status_code == 200
    path = httpx.URL(url_of(documented)).path
    assert f"{path}/openapi.json" in docs.text
    schema = httpx.get(url_of(documented) + "/openapi.json").json()
    assert schema["servers"] == [{"url": path}]


def test_web_endpoint_is_the_older_name() -> None:
    @app.function()
    @nbfn.web_endpoint(method="PUT", label="old-name")
    def old() -> str:
        return "old"

    assert url_of(old).endswith("/old-name-dev")
    assert httpx.put(url_of(old), timeout=COLD).json() == "old"


def test_a_response_is_sent_as_it_is() -> None:
    @app.function()
    @nbfn.fastapi_endpoint()
    def teapot() -> Any:
        from fastapi.responses import PlainTextResponse

        return PlainTextResponse("short and stout", status_code=418, headers={"x-handle": "1"})

    answer = httpx.get(url_of(teapot), timeout=COLD)
    assert (answer.status_code, answer.text) == (418, "short and stout")
    assert answer.headers["x-handle"] == "1"


# --- asgi_app -------------------------------------------------------------------------------------


@app.function()
@nbfn.concurrent(max_inputs=20)
@nbfn.asgi_app()
def site() -> Any:
    """Everything that an app of one's own may do."""
    from contextlib import asynccontextmanager

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, StreamingResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        yield {"started": "in the worker", "pid": os.getpid()}
        Path(os.environ["NBFN_HOME"], "shut-down").touch()

    async def root(request: Request) -> Any:
        return PlainTextResponse(f"{request.state.started} {request.url.path}")

    async def stop_and_go(request: Request) -> Any:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            while not Path(request.query_params["path"]).exists():
                await asyncio.sleep(0.005)
            yield b"second"

        return StreamingResponse(parts())

    async def late_body(request: Request) -> Any:
        async def parts() -> AsyncIterator[bytes]:
            while not Path(request.query_params["path"]).exists():
                await asyncio.sleep(0.005)
            yield b"late"

        return StreamingResponse(parts())

    async def until_gone(request: Request) -> Any:
        path = Path(request.query_params["path"])

        async def parts() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"."
                    await asyncio.sleep(0.01)
            finally:
                path.touch()

        return StreamingResponse(parts())

    async def size(request: Request) -> Any:
        count = 0
        async for chunk in request.stream():
            count += len(chunk)
        return PlainTextResponse(str(count))

    async def large(request: Request) -> Any:
        return PlainTextResponse(b"x" * int(request.query_params["size"]))

    meeting = asyncio.Event()
    arrived = 0

    async def meet(request: Request) -> Any:
        nonlocal arrived
        arrived += 1
        if arrived == int(request.query_params["of"]):
            meeting.set()
        await meeting.wait()
        return PlainTextResponse(str(os.getpid()))

    async def fail(request: Request) -> Any:
        raise ValueError("on purpose")

    async def echo(socket: WebSocket) -> None:
        await socket.accept(subprotocol=next(iter(socket.scope["subprotocols"]), None))
        while (message := await socket.receive())["type"] == "websocket.receive":
            if message.get("text") == "bye":
                await socket.close(4000, "as you wish")
                return
            if message.get("bytes") is not None:
                await socket.send_bytes(message["bytes"])
            else:
                await socket.send_text(message["text"])

    async def once(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("once")
        if socket.query_params.get("fail"):
            raise ValueError("on purpose")

    async def chatter(socket: WebSocket) -> None:
        await socket.accept()
        while True:
            await socket.send_text("and on")
            await asyncio.sleep(0.01)

    async def closed(socket: WebSocket) -> None:
        await socket.close()

    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/", root),
            Route("/deep/path", root),
            Route("/stop-and-go", stop_and_go),
            Route("/late-body", late_body),
            Route("/until-gone", until_gone),
            Route("/size", size, methods=["POST"]),
            Route("/large", large),
            Route("/meet", meet),
            Route("/fail", fail),
            WebSocketRoute("/echo", echo),
            WebSocketRoute("/once", once),
            WebSocketRoute("/chatter", chatter),
            WebSocketRoute("/closed", closed),
        ],
    )


def test_an_asgi_app_is_served_with_its_paths_and_has_its_lifespan() -> None:
    path = httpx.URL(url_of(site)).path
    assert httpx.get(url_of(site), timeout=COLD).text == f"in the worker {path}/"
    assert httpx.get(url_of(site) + "/").text == f"in the worker {path}/"
    assert httpx.get(url_of(site) + "/deep/path").text == f"in the worker {path}/deep/path"
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
        for number in range(200):  # more than may be on their way at once
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


# --- wsgi_app -------------------------------------------------------------------------------------


def test_a_wsgi_app_is_served() -> None:
    @app.function()
    @nbfn.wsgi_app()
    def old_site() -> Any:
        def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            body = environ["wsgi.input"].read()
            start_response("201 Created", [("Content-Type", "text/plain"), ("X-Old", "yes")])
            told = (environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"])
            return [f"{told} {environ['SCRIPT_NAME']} ".encode(), body]

        return application

    answer = httpx.post(url_of(old_site) + "/a/b?c=d", content=b"body", timeout=COLD)
    path = httpx.URL(url_of(old_site)).path
    assert (answer.status_code, answer.headers["x-old"]) == (201, "yes")
    assert answer.text == f"('POST', '/a/b', 'c=d') {path} body"


# --- web_server -----------------------------------------------------------------------------------


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
                         "prefix": request.headers["x-forwarded-prefix"]})

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

    path = httpx.URL(url_of(own_server)).path
    told = {"path": "/a/b", "query": "c=d", "body": 3_000_000, "prefix": path}
    answer = httpx.post(url_of(own_server) + "/a/b?c=d", content=b"x" * 3_000_000, timeout=COLD)
    assert answer.json() == told
    assert httpx.get(url_of(own_server)).json()["path"] == "/"
    assert httpx.get(url_of(own_server) + "/away").headers["location"] == f"{path}/elsewhere"
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
    with pytest.warns(UserWarning, match="keeps to one worker"):

        @app.function(max_containers=3)
        @nbfn.web_server(8000)
        def many() -> None: ...

    assert many.spec.max_containers == 1


# --- methods ---


@app.cls()
class Model:
    name: str = nbfn.parameter()
    size: int = nbfn.parameter(default=1)
    loud: bool = nbfn.parameter(default=False)

    @nbfn.enter()
    def load(self) -> None:
        self.loaded = f"{self.name}:{self.size}:{self.loud}"

    @nbfn.fastapi_endpoint()
    def predict(self, x: int) -> dict[str, Any]:
        return {"model": self.loaded, "x": x, "pid": os.getpid()}

    @nbfn.asgi_app(label="models-page")
    def page(self) -> Any:
        from starlette.applications import Starlette
        from starlette.requests import Request
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route

        made_of = self.loaded  # enter hooks ran before

        async def root(request: Request) -> Any:
            return PlainTextResponse(made_of)

        return Starlette(routes=[Route("/", root)])

    @nbfn.method()
    def pid(self) -> int:
        return os.getpid()


def test_a_method_is_an_endpoint_with_a_url_of_its_own() -> None:
    model = Model(name="a")
    assert url_of(model.predict).endswith("/site-model-predict-dev")
    assert url_of(model.page).endswith("/models-page-dev")
    assert model.pid.get_web_url() is None


def test_a_classs_parameters_are_read_from_the_query() -> None:
    url = url_of(Model(name="a").predict)
    asked: dict[str, Any] = {"name": "a", "x": 3}
    assert httpx.get(url, params=asked, timeout=COLD).json()["model"] == "a:1:False"
    asked |= {"size": 7, "loud": "true"}
    assert httpx.get(url, params=asked, timeout=COLD).json()["model"] == "a:7:True"
    page = url_of(Model(name="a").page)
    assert httpx.get(page, params={"name": "a"}, timeout=COLD).text == "a:1:False"


def test_an_object_has_its_workers_whoever_asks() -> None:
    asked: dict[str, Any] = {"name": "shared", "x": 3}
    there = httpx.get(url_of(Model(name="shared").predict), params=asked, timeout=COLD).json()
    assert there["pid"] == Model(name="shared").pid.remote()


@pytest.mark.parametrize(
    ("query", "said"),
    [({}, "'name'"), ({"name": "a", "size": "big"}, "big"), ({"name": "a", "loud": "x"}, "'x'")],
)
def test_a_parameter_that_is_missing_or_wrong_is_a_422(query: dict[str, str], said: str) -> None:
    answer = httpx.get(url_of(Model(name="a").predict), params={"x": "1"} | query, timeout=COLD)
    assert answer.status_code == 422
    assert said in answer.text


def test_a_web_method_cannot_be_invoked_otherwise_but_runs_locally() -> None:
    model = Model(name="here")
    with pytest.raises(InvalidError, match=r"\.remote\(.*models-page-dev|site-model-predict"):
        model.predict.remote(1)
    assert model.predict.local(1)["model"] == "here:1:False"


def test_registered_web_endpoints_names_methods_with_their_class() -> None:
    assert {"greet", "site", "Model.predict", "Model.page"} <= set(app.registered_web_endpoints)
    assert "Model.pid" not in app.registered_web_endpoints


# --- URLs -----------------------------------------------------------------------------------------


def test_a_url_names_app_and_function_and_an_ephemeral_app_says_dev() -> None:
    assert url_of(greet).endswith("/site-greet-dev")
    assert url_of(greet).startswith("http://127.0.0.1:")
    assert greet.web_url == greet.get_web_url()


def test_the_overview_has_the_url() -> None:
    url = url_of(greet)
    rows = {row.name: row for row in nbfn.Client.attach().overview().functions}
    assert rows["greet"].web_url == url


def test_get_web_url_has_an_aio_form() -> None:
    assert asyncio.run(greet.get_web_url.aio()) == greet.web_url


def test_the_url_of_a_function_that_is_no_web_endpoint_is_none() -> None:
    @app.function()
    def plain() -> int:
        return 1

    assert plain.web_url is None
    assert plain.get_web_url() is None


def test_a_deployed_endpoint_is_found_by_name_with_its_url() -> None:
    deployed = nbfn.App("Shop_2")

    @deployed.function()
    @nbfn.fastapi_endpoint()
    def Price_Of(item: str) -> str:
        return item.upper()

    deployed.deploy()
    found = nbfn.Function.from_name("Shop_2", "Price_Of")
    assert url_of(found).endswith("/shop-2-price-of")
    assert url_of(found) == url_of(Price_Of)
    assert httpx.get(url_of(found), params={"item": "pen"}, timeout=COLD).json() == "PEN"
    with pytest.raises(NotFoundError):
        nbfn.Function.from_name("Shop_2", "nothing").get_web_url()
    with pytest.raises(InvalidError, match="'Price_Of' is a web endpoint and has no variants"):
        found.with_options(timeout=5).get_web_url()


def test_a_label_belongs_to_one_endpoint() -> None:
    for name in ("first-shop", "second-shop"):
        shop = nbfn.App(name)

        @shop.function()
        @nbfn.fastapi_endpoint(label="the-shop")
        def shop_window() -> str:
            return "window"

        if name == "first-shop":
            shop.deploy()
            shop.deploy()  # again is no collision
        else:
            with pytest.raises(ConflictError, match=r"'the-shop'.*'second-shop'.*'first-shop'"):
                shop.deploy()


def saying(of: nbfn.App, word: str) -> Any:
    def say() -> str:
        return word

    return of.function(name="say")(nbfn.fastapi_endpoint()(say))


def test_an_app_that_is_made_anew_takes_its_labels_over() -> None:
    for word in ("one", "two"):
        say = saying(nbfn.App("again"), word)
        assert httpx.get(url_of(say), timeout=COLD).json() == word


def test_a_redefined_endpoint_answers_with_its_new_code() -> None:
    redefining = nbfn.App("redefining")
    assert httpx.get(url_of(saying(redefining, "old")), timeout=COLD).json() == "old"
    with pytest.warns(UserWarning, match="replaced"):
        new = saying(redefining, "new")
    assert httpx.get(url_of(new), timeout=COLD).json() == "new"


def test_registered_web_endpoints_names_them() -> None:
    some = nbfn.App("some")

    @some.function()
    @nbfn.asgi_app()
    def page() -> Any: ...

    @some.function()
    def plain() -> None: ...

    assert some.registered_web_endpoints == ["page"]


# --- who is let in --------------------------------------------------------------------------------


@app.function()
@nbfn.fastapi_endpoint(requires_proxy_auth=True)
def guarded() -> str:
    return "inside"


def test_proxy_auth_lets_in_who_has_both_headers() -> None:
    import json

    url = url_of(guarded)
    kept = json.loads(Places.of().web_file.read_text())
    right = {"Modal-Key": kept["proxy_key"], "Modal-Secret": kept["proxy_secret"]}
    assert httpx.get(url, headers=right, timeout=COLD).json() == "inside"
    for wrong in ({}, {"Modal-Key": kept["proxy_key"]}, right | {"Modal-Secret": "ws-guess"}):
        answer = httpx.get(url, headers=wrong)
        assert answer.status_code == 401
        assert "Modal-Key" in answer.text


# --- errors ---------------------------------------------------------------------------------------


def test_an_endpoint_that_raises_is_a_500_without_its_traceback() -> None:
    @app.function()
    @nbfn.fastapi_endpoint()
    def fails() -> None:
        raise ValueError("on purpose")

    answer = httpx.get(url_of(fails), timeout=COLD)
    assert answer.status_code == 500
    assert "on purpose" not in answer.text


def test_a_worker_that_dies_is_a_502() -> None:
    @app.function()
    @nbfn.fastapi_endpoint()
    async def dies() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    answer = httpx.get(url_of(dies), timeout=COLD)
    assert answer.status_code == 502


def test_an_endpoint_that_takes_too_long_is_a_504() -> None:
    @app.function(timeout=0.3, startup_timeout=30)
    @nbfn.fastapi_endpoint()
    async def slow() -> None:
        await asyncio.Event().wait()

    assert httpx.get(url_of(slow), timeout=COLD).status_code == 504


def work_on(path: Path, stuck: bool) -> None:
    """Note who is at work, and go on for ever; ``stuck``: where nothing is heard of what Python raises."""
    with (path / "pids").open("a") as pids:
        pids.write(f"{os.getpid()}\n")
    (path / "runs").touch()
    try:
        while not (stuck and time.sleep(300)):
            time.sleep(0.005)
    finally:
        (path / "runs").unlink()


@app.function(timeout=0.3, startup_timeout=30)
@nbfn.fastapi_endpoint()
def plain_handler(path: Path, stuck: bool) -> None:
    work_on(path, stuck)


@app.function(timeout=0.3, startup_timeout=30)
@nbfn.wsgi_app()
def plain_site() -> Any:
    from urllib.parse import parse_qsl

    def answer(environ: Any, start_response: Any) -> Iterator[bytes]:
        asked = dict(parse_qsl(environ["QUERY_STRING"]))
        work_on(Path(asked["path"]), asked["stuck"] == "true")
        yield b""

    return answer


@pytest.mark.parametrize("handler", [plain_handler, plain_site])
def test_a_plain_handler_is_interrupted_at_its_timeout_or_its_worker_ends(
    handler: Any, tmp_path: Path
) -> None:
    def ask(*, stuck: bool) -> int:
        asked = {"path": str(tmp_path), "stuck": "true" if stuck else "false"}
        assert httpx.get(url_of(handler), params=asked, timeout=COLD).status_code == 504
        return int((tmp_path / "pids").read_text().splitlines()[-1])

    first = ask(stuck=False)
    assert not (tmp_path / "runs").exists()
    assert ask(stuck=False) == first
    assert not (tmp_path / "runs").exists()
    assert ask(stuck=True) == first
    wait_until(lambda: not Path(f"/proc/{first}").exists())
    assert ask(stuck=False) != first


def test_an_unknown_label_is_a_404() -> None:
    url = url_of(greet).replace("site-greet-dev", "nothing")
    assert httpx.get(url, timeout=COLD).status_code == 404


def test_a_response_that_breaks_off_is_told_by_the_connection() -> None:
    @app.function()
    @nbfn.asgi_app()
    def breaks() -> Any:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            assert scope["type"] == "http"
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise ValueError("on purpose")

        return application

    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url_of(breaks), timeout=COLD)


# --- not called as other Functions are ------------------------------------------------------------


CALLS: list[tuple[str, Callable[[Any], Any]]] = [
    ("remote", lambda f: f.remote()),
    ("spawn", lambda f: f.spawn()),
    ("map", lambda f: list(f.map([1]))),
    ("starmap", lambda f: list(f.starmap([(1,)]))),
    ("for_each", lambda f: f.for_each([1])),
    ("remote_gen", lambda f: list(f.remote_gen())),
]


@pytest.mark.parametrize(("way", "call"), CALLS)
def test_a_web_function_cannot_be_invoked_otherwise(way: str, call: Callable[[Any], Any]) -> None:
    with pytest.raises(InvalidError) as refused:
        call(greet)
    said = str(refused.value)
    assert f".{way}(" in said
    assert url_of(greet) in said
    assert ".local(" in said


def test_local_calls_the_handler() -> None:
    assert greet.local(name="here") == {"hello": "here"}


def test_local_returns_the_app() -> None:
    from starlette.applications import Starlette

    assert isinstance(site.local(), Starlette)


# --- decoration -----------------------------------------------------------------------------------


def nullary() -> Any: ...


DECORATORS = [nbfn.fastapi_endpoint, nbfn.web_endpoint, nbfn.asgi_app, nbfn.wsgi_app]


@pytest.mark.parametrize("decorator", DECORATORS)
def test_parentheses_are_needed(decorator: Any) -> None:
    with pytest.raises(InvalidError, match="parentheses"):
        decorator(nullary)


def test_a_web_server_needs_its_port() -> None:
    decorator: Any = nbfn.web_server
    with pytest.raises(InvalidError, match="port"):
        decorator(nullary)
    for port in (0, 65536, "8000", 80.5, True):
        with pytest.raises(InvalidError, match="port"):
            decorator(port)
    with pytest.raises(InvalidError, match="startup_timeout"):
        decorator(8000, startup_timeout=0)


@pytest.mark.parametrize("decorator", [*DECORATORS, lambda *a: nbfn.web_server(8000, *a)])
def test_options_are_keywords(decorator: Any) -> None:
    with pytest.raises(InvalidError, match="keywords"):
        decorator("GET")


@pytest.mark.parametrize("decorator", [*DECORATORS, lambda: nbfn.web_server(8000)])
def test_the_order_of_the_decorators_matters(decorator: Any) -> None:
    function = nbfn.App().function()(nullary)
    with pytest.raises(InvalidError, match=r"[Ss]wap"):
        decorator()(function)


@pytest.mark.parametrize("decorator", [*DECORATORS, lambda: nbfn.web_server(8000)])
def test_a_class_is_not_an_endpoint_but_its_methods_may_be(decorator: Any) -> None:
    with pytest.raises(InvalidError, match="method of the class"):

        @decorator()
        class Site: ...


@pytest.mark.parametrize("decorator", [nbfn.asgi_app, nbfn.wsgi_app, lambda: nbfn.web_server(80)])
def test_the_function_that_makes_an_app_takes_nothing_and_is_sync(decorator: Any) -> None:
    def needs(x: int) -> Any: ...
    def optional(x: int = 1) -> Any: ...
    async def asynchronous() -> Any: ...
    def yields() -> Any:
        yield

    with pytest.raises(InvalidError, match="'x'"):
        decorator()(needs)
    with pytest.raises(InvalidError, match="async"):
        decorator()(asynchronous)
    with pytest.raises(InvalidError, match="yields"):
        decorator()(yields)
    decorator()(optional)


def test_a_generator_is_no_endpoint_and_the_error_says_what_to_return() -> None:
    with pytest.raises(InvalidError, match="StreamingResponse"):

        @nbfn.fastapi_endpoint()
        def numbers() -> Iterator[int]:
            yield 1


@pytest.mark.parametrize("label", ["", "Upper", "a b", "-a", "x" * 64, 7, "ü"])
def test_a_label_is_part_of_a_url(label: Any) -> None:
    with pytest.raises(InvalidError, match="label"):
        nbfn.fastapi_endpoint(label=label)


def test_wrong_options_are_refused() -> None:
    wrong: Any = {"method": "get"}, {"docs": 1}, {"requires_proxy_auth": "yes"}
    for options in wrong:
        with pytest.raises(InvalidError, match=next(iter(options))):
            nbfn.fastapi_endpoint(**options)


def test_retries_are_refused() -> None:
    with pytest.raises(InvalidError, match="retries"):
        nbfn.App().function(retries=1)(nbfn.fastapi_endpoint()(nullary))


def test_batches_and_schedules_are_refused() -> None:
    with pytest.raises(InvalidError, match="batched"):
        nbfn.App().function()(
            nbfn.batched(max_batch_size=2, wait_ms=1)(nbfn.fastapi_endpoint()(nullary))
        )
    with pytest.raises(InvalidError, match="scheduled"):
        nbfn.App().function(schedule=nbfn.Period(days=1))(nbfn.fastapi_endpoint()(nullary))


def test_custom_domains_say_that_they_have_no_effect() -> None:
    with pytest.warns(UserWarning, match="custom_domains"):
        nbfn.fastapi_endpoint(custom_domains=["example.org"])


def test_a_web_endpoint_has_no_variants_since_it_has_one_url() -> None:
    with pytest.raises(InvalidError, match="'greet' is a web endpoint and has no variants"):
        greet.with_options(timeout=5)
    with pytest.raises(InvalidError, match="'greet' is a web endpoint and has no variants"):
        greet.with_concurrency(max_inputs=2)
    variant = Model.with_options(timeout=5)(name="a")
    assert variant.pid.remote() != Model(name="a").pid.remote()
    with pytest.raises(
        InvalidError, match=r"'Model\.predict' is a web endpoint and has no variants"
    ):
        variant.predict.get_web_url()
