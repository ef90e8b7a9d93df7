"""Tests that a web app is served at the root of its URL for all clients (docs/function-api.md#web-endpoints)."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import requests
import websockets.exceptions
import websockets.sync.client

import nbfn
from tests.conftest import wait_until
from tests.guide.contract.endpoints import COLD, url_of
from tests.guide.contract.test_web_apps import free_port

app = nbfn.App("rooted")


@app.function()
@nbfn.concurrent(max_inputs=10)
@nbfn.asgi_app()
def shop() -> Any:
    """Return an app with typical links, redirects, forms and mounts."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import (
        HTMLResponse,
        JSONResponse,
        PlainTextResponse,
        RedirectResponse,
        Response,
    )
    from starlette.routing import Mount, Route, WebSocketRoute
    from starlette.websockets import WebSocket

    async def home(request: Request) -> Any:
        return HTMLResponse('<a href="/page?n=1">page</a>')

    async def page(request: Request) -> Any:
        return HTMLResponse(f"page {request.url.query} {request.cookies}")

    async def told(request: Request) -> Any:
        scope = {name: request.scope[name] for name in ("path", "root_path")}
        scope["raw_path"] = request.scope["raw_path"].decode()
        return JSONResponse(
            scope
            | {"url": str(request.url), "named": str(request.url_for("page"))}
            | {"headers": [f"{name}: {value}" for name, value in request.headers.items()]}
        )

    async def away(request: Request) -> Any:
        to = {
            "root-relative": "/page",
            "replaced": str(request.url.replace(path="/page", query="")),
            "named": str(request.url_for("page")),
            "relative": "../page",
            "fragment": "/page?n=2#there",
            "foreign": "https://example.org/page",
            "other-port": "http://127.0.0.1:9/page",
            "slashes": "//example.org/page",
        }[request.path_params["how"]]
        return RedirectResponse(to)

    async def login(request: Request) -> Any:
        answer = RedirectResponse("/page", status_code=303)
        answer.set_cookie("session", "s3")
        return answer

    async def part(request: Request) -> Any:
        answer = PlainTextResponse(str(request.cookies))
        answer.set_cookie("refresh", "r1", path="/part")
        return answer

    async def unsafe(request: Request) -> Any:
        return Response(headers={"Referrer-Policy": "unsafe-url"})

    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(f"{socket.url.path} {socket.scope['root_path']!r}")

    inner = Starlette(routes=[Route("/", told), Route("/deep", told)])
    return Starlette(
        routes=[
            Route("/", home),
            Route("/page", page, name="page"),
            Route("/told/{rest:path}", told),
            Route("/away/{how}", away),
            Route("/login", login, methods=["POST"]),
            Route("/unsafe", unsafe),
            Route("/part/{rest:path}", part),
            WebSocketRoute("/ws", echo),
            Mount("/inner", inner),
        ]
    )


def origin_of(url: str) -> str:
    return url[: url.index("/", len("http://"))]


def test_an_app_is_at_the_root() -> None:
    url = url_of(shop)
    told = httpx.get(url + "/told/a%2Fb%20c/", timeout=COLD).json()
    assert (told["path"], told["root_path"]) == ("/told/a/b c/", "")
    assert told["raw_path"] == "/told/a%2Fb%20c/"
    assert told["url"] == origin_of(url) + "/told/a/b c/"  # as Starlette builds it
    assert told["named"] == origin_of(url) + "/page"
    inner = httpx.get(url + "/inner/deep").json()
    assert (inner["path"], inner["root_path"]) == ("/inner/deep", "/inner")


def test_a_raw_asgi_app_that_compares_its_path_with_a_slash_answers() -> None:
    @app.function()
    @nbfn.asgi_app()
    def raw() -> Any:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            assert scope["type"] == "http"
            status = 200 if scope["path"] == "/" else 404
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        return application

    assert httpx.get(url_of(raw), timeout=COLD).status_code == 200
    assert httpx.get(url_of(raw) + "/").status_code == 200
    assert httpx.get(url_of(raw) + "/x").status_code == 404


@pytest.mark.parametrize("how", ["root-relative", "replaced", "named", "relative", "fragment"])
def test_a_redirect_is_followed_by_clients_with_cookies_and_without(how: str) -> None:
    away = f"{url_of(shop)}/away/{how}"
    for answer in (
        requests.get(away, timeout=COLD),
        httpx.get(away, follow_redirects=True, timeout=COLD),
    ):
        assert (answer.status_code, answer.text[:4]) == (200, "page"), str(answer.url)
    with urllib.request.urlopen(away, timeout=COLD) as said:  # this client stores no cookies
        assert said.read().startswith(b"page")
        assert said.url.startswith(url_of(shop) + "/page")


@pytest.mark.parametrize("how", ["foreign", "other-port", "slashes"])
def test_a_redirect_to_somebody_else_is_left_as_it_is(how: str) -> None:
    to = httpx.get(f"{url_of(shop)}/away/{how}", timeout=COLD).headers["location"]
    assert to in ("https://example.org/page", "http://127.0.0.1:9/page", "//example.org/page")


def test_a_session_follows_root_relative_links_and_posts_forms() -> None:
    url = url_of(shop)
    with requests.Session() as session:
        home = session.get(url + "/", timeout=COLD)
        link = re.findall('href="([^"]*)"', home.text)[0]
        assert session.get(urljoin(home.url, link)).text == "page n=1 {}"
        done = session.post(urljoin(home.url, "/login"), data={"name": "ada"})
        assert (done.status_code, done.text) == (200, "page  {'session': 's3'}")
    with httpx.Client(timeout=COLD, follow_redirects=True) as client:
        client.get(url)
        assert client.get(origin_of(url) + "/page").text == "page  {}"
        done_too = client.post(url + "/login", data={"name": "ada"})
        assert done_too.text == "page  {'session': 's3'}"


def test_a_cookie_for_a_part_of_an_app_is_kept_by_both_kinds_of_urls() -> None:
    for base in (url_of(shop), origin_of(url_of(shop))):
        with requests.Session() as session:
            session.get(url_of(shop) + "/part/a", timeout=COLD)
            assert session.get(base + "/part/b").text == "{'refresh': 'r1'}"
            assert "refresh" not in session.get(base + "/page").text


def test_a_header_lets_in_at_the_root() -> None:
    url = url_of(shop)
    key = httpx.URL(url).path.split("/")[1]
    right = {"Authorization": f"Bearer {key}"}
    told = httpx.get(origin_of(url) + "/told/", headers=right, timeout=COLD).json()
    assert told["path"] == "/told/"
    assert key not in str(told)
    also = {"Authorization": f"bearer  {key}"}
    assert key not in httpx.get(origin_of(url) + "/told/", headers=also).text
    own = {"Authorization": "Bearer of-the-app"}  # the gateway must pass it on
    assert httpx.get(origin_of(url) + "/told/", headers=own).status_code == 404
    assert (
        "authorization: Bearer of-the-app"
        in httpx.get(url + "/told/", headers=own).json()["headers"]
    )


def test_a_websocket_is_at_the_root() -> None:
    there = "ws" + url_of(shop).removeprefix("http") + "/ws"
    with websockets.sync.client.connect(there, open_timeout=COLD) as ws:
        assert ws.recv(timeout=10) == "/ws ''"


def test_an_app_never_sees_what_lets_its_clients_in() -> None:
    url = url_of(shop)
    key = httpx.URL(url).path.split("/")[1]
    sent = {
        "Cookie": "a=1; nbfn-1=of-another-endpoint; b=2",
        "Referer": url + "/page",
        "HX-Current-URL": url,
    }
    with httpx.Client(timeout=COLD) as client:
        client.get(url)
        assert key not in str(client.cookies.jar)
        answer = client.get(url + "/told/", headers=sent, params={"next": url + "/page"})
    told = answer.json()
    assert key not in answer.text
    assert "nbfn" not in answer.text
    assert "cookie: a=1; b=2" in told["headers"]
    assert f"referer: {origin_of(url)}/page" in told["headers"]
    assert told["url"].endswith(
        "/told/?next=http%3A%2F%2F127.0.0.1%3A" + url.split(":")[2].split("/")[0] + "%2Fpage"
    )
    only_ours = httpx.get(url + "/told/", headers={"Cookie": "nbfn-1=x"}).json()
    assert not [line for line in only_ours["headers"] if line.startswith("cookie")]


def test_an_app_cannot_have_browsers_tell_its_url_to_others() -> None:
    answer = httpx.get(url_of(shop) + "/unsafe", timeout=COLD)
    assert answer.headers["referrer-policy"] == "same-origin"


def test_a_wsgi_app_redirects_to_its_own_pages() -> None:
    @app.function()
    @nbfn.wsgi_app()
    def old_shop() -> Any:
        def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            if environ["PATH_INFO"] == "/login":
                # As Django and Flask make absolute URLs.
                base = (
                    f"{environ['wsgi.url_scheme']}://{environ['HTTP_HOST']}{environ['SCRIPT_NAME']}"
                )
                start_response("302 Found", [("Location", base + "/page")])
                return [b""]
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [f"{environ['SCRIPT_NAME']!r} {environ['PATH_INFO']}".encode()]

        return application

    answer = requests.post(url_of(old_shop) + "/login", timeout=COLD)
    assert answer.text == "'' /page"


def test_a_mounted_app_and_its_static_files_are_served(tmp_path: Path) -> None:
    (tmp_path / "x.js").write_text("let x = 1")

    @app.function()
    @nbfn.asgi_app()
    def mounted() -> Any:
        from fastapi import FastAPI
        from starlette.staticfiles import StaticFiles

        outer, inner = FastAPI(), FastAPI()

        @inner.get("/hello")
        def hello() -> str:
            return "hello"

        outer.mount("/static", StaticFiles(directory=tmp_path))
        outer.mount("/api", inner)
        return outer

    with httpx.Client(timeout=COLD) as client:
        docs = client.get(url_of(mounted) + "/api/docs").text
        assert "'/api/openapi.json'" in docs
        origin = origin_of(url_of(mounted))
        assert client.get(origin + "/api/openapi.json").json()["servers"] == [{"url": "/api"}]
        assert client.get(origin + "/api/hello").json() == "hello"
        assert client.get(origin + "/static/x.js").text == "let x = 1"


SERVER = """
import sys
from starlette.applications import Starlette
from starlette.responses import RedirectResponse
from starlette.routing import Route, WebSocketRoute
import uvicorn

async def away(request):
    return RedirectResponse(f"http://localhost:{sys.argv[1]}/page?n=1")

async def picky(socket):
    if socket.headers["origin"] != "http://" + socket.headers["host"]:
        await socket.close()
        return
    await socket.accept()
    await socket.send_text("let in")

app = Starlette(routes=[WebSocketRoute("/picky", picky), Route("/away", away)])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""


def test_a_server_that_names_its_own_address_and_looks_at_origins_is_passed_on_to() -> None:
    port = free_port()

    @app.function()
    @nbfn.concurrent(max_inputs=5)
    @nbfn.web_server(port, startup_timeout=COLD)
    def own_server() -> None:
        subprocess.Popen([sys.executable, "-c", SERVER, str(port)])

    url = url_of(own_server)
    answer = httpx.get(url + "/away", timeout=COLD)
    assert answer.headers["location"] == httpx.URL(url).path + "/page?n=1"
    there = "ws" + url.removeprefix("http") + "/picky"
    with websockets.sync.client.connect(
        there, additional_headers={"Origin": origin_of(url)}, open_timeout=COLD
    ) as ws:
        assert ws.recv(timeout=10) == "let in"


# --- what cannot be loaded -----------------------------------------------------------------------


class Recursive:
    def __reduce__(self) -> Any:
        return Recursive.rebuilt, ()

    @staticmethod
    def rebuilt() -> Any:
        if nbfn.is_local():
            return Recursive()  # code that cannot be loaded here is refused immediately
        raise RecursionError("maximum recursion depth exceeded")


@pytest.mark.parametrize("how", ["raises", "import", "capture", "room"])
def test_an_answer_names_the_command_that_says_why_an_app_cannot_be_loaded(how: str) -> None:
    failing = nbfn.App(f"failing-{how}")
    captured = Recursive() if how == "capture" else None

    @failing.cls(cpu=9999 if how == "room" else None)
    class Site:
        name: str = nbfn.parameter()  # so the deployment cannot load it beforehand

        @nbfn.asgi_app()
        def site(self) -> Any:
            if how == "import":
                import nbfn_has_no_such_module  # noqa: F401
            return captured or {}["no such model"]

    warned = pytest.warns(nbfn.exception.ServerWarning, match="asks for 9999 cores")
    with warned if how == "room" else contextlib.nullcontext():
        failing.deploy()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url_of(Site(name="x").site) + "?name=x", timeout=COLD)
    said = refused.value.read().decode()
    assert refused.value.code == 500
    assert "could not be loaded" in said
    assert f"'failing-{how}'" in said
    assert "Traceback" not in said
    assert ". " not in said  # one sentence
    command = re.findall(r"'nbfn (app logs .*)' shows why", said)[0]
    why = {
        "raises": "no such model",
        "import": "nbfn_has_no_such_module",
        "capture": "maximum recursion depth exceeded",
        "room": "9999",
    }[how]

    def logged() -> bool:
        run = f"{sys.executable} -m nbfn {command}"
        return why in subprocess.run(run, shell=True, capture_output=True, text=True).stdout

    wait_until(logged, within=20)


def test_a_websocket_that_fails_names_the_command_as_far_as_there_is_room() -> None:
    failing = nbfn.App("анализ" * 10)

    @failing.function(name="site")
    @nbfn.asgi_app()
    def site() -> Any:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            assert scope["type"] == "websocket"
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "accepted"})
            raise ValueError("on purpose")

        return application

    failing.deploy()
    there = "ws" + url_of(site).removeprefix("http")
    with websockets.sync.client.connect(there, open_timeout=COLD) as ws:
        assert ws.recv(timeout=10) == "accepted"
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as closed:
            ws.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011
    assert closed.value.rcvd.reason.startswith("Internal Server Error: 'nbfn app logs анализ")
