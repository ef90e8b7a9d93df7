"""Each web endpoint is an origin of its own: who is let in at its root, and how its port lives, on real processes."""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import websockets.exceptions
import websockets.sync.client

import nbfn
from nbfn.config import Places
from nbfn.exception import ExecutionError
from nbfn.protocol.gateway_config import GatewayConfig
from tests.conftest import processes_of, wait_until
from tests.system.test_web import COLD, gateway_of, hub_pid, url_of

app = nbfn.App("access")

#: What a browser says of a page that its user goes to.
PAGE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none"}


@app.function()
@nbfn.concurrent(max_inputs=10)
@nbfn.asgi_app()
def site() -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket

    async def root(request: Request) -> Any:
        return PlainTextResponse(f"{request.method} {request.url.path}")

    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("let in")

    return Starlette(
        routes=[
            WebSocketRoute("/ws", echo),
            Route("/{rest:path}", root, methods=["GET", "POST", "HEAD"]),
        ]
    )


@app.function()
@nbfn.fastapi_endpoint()
def other() -> str:
    return "other"


def origin_of(url: str) -> str:
    parsed = httpx.URL(url)
    return f"http://127.0.0.1:{parsed.port}"


def cookie_of(url: str) -> str:
    """Return the cookie that an endpoint gives, as a client sends it."""
    given = httpx.get(url, timeout=COLD).headers["set-cookie"]
    return str(given).partition(";")[0]


def listens(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", httpx.URL(url).port)) == 0


# --- who is let in --------------------------------------------------------------------------------


def test_a_cookie_lets_in_to_one_endpoint_only(home: Path) -> None:
    cookie = cookie_of(url_of(site))
    there = origin_of(url_of(site)) + "/page"
    assert httpx.get(there, headers={"Cookie": cookie}).text == "GET /page"
    assert httpx.get(there).status_code == 404
    assert httpx.get(origin_of(url_of(other)), headers={"Cookie": cookie}).status_code == 404
    port = httpx.URL(url_of(other)).port
    renamed = f"nbfn-{port}=" + cookie.partition("=")[2]
    assert httpx.get(origin_of(url_of(other)), headers={"Cookie": renamed}).status_code == 404
    key = httpx.URL(url_of(site)).path.split("/")[1]
    assert key not in cookie
    assert httpx.URL(url_of(other)).path.split("/")[1] != key
    assert httpx.get(f"{origin_of(url_of(other))}/{key}/access-other-dev").status_code == 404


def test_a_cookie_is_kept_from_scripts_and_other_sites_and_ends(home: Path) -> None:
    said = httpx.get(url_of(site), timeout=COLD).headers["set-cookie"].split("; ")
    port = httpx.URL(url_of(site)).port
    assert said[0].startswith(f"nbfn-{port}=")
    assert said[1:] == ["Path=/", "Max-Age=86400", "HttpOnly", "SameSite=Strict"]
    again = httpx.get(origin_of(url_of(site)), headers={"Cookie": said[0]})
    assert "set-cookie" not in again.headers  # it is good for long


def test_a_cookie_that_is_over_or_made_up_is_none(home: Path) -> None:
    url = url_of(site)
    assert httpx.get(url, timeout=COLD).status_code == 200
    address = GatewayConfig.load(Places.of().web_file)
    port = httpx.URL(url).port

    def answer(end: str, key: str = "") -> httpx.Response:
        key = key or address.key("access-site-dev", port, end)
        return httpx.get(origin_of(url), headers={"Cookie": f"nbfn-{port}={end}.{key}".encode()})

    now = int(time.time())
    assert answer(str(now + 1000)).status_code == 200
    assert "Max-Age=86400" in answer(str(now + 1000)).headers["set-cookie"]  # it nears its end
    assert answer(str(now - 1)).status_code == 404
    for end, key in ((str(now + 1000), "x"), ("", ""), ("x", ""), ("²", ""), ("9" * 5000, "")):
        assert answer(end, key).status_code == 404, end


FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "http://127.0.0.1:9"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},  # another port of this machine
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
]


@pytest.mark.parametrize("said", FOREIGN)
def test_pages_of_others_cannot_use_a_cookie(home: Path, said: dict[str, str]) -> None:
    sent = {"Cookie": cookie_of(url_of(site))} | said
    there = origin_of(url_of(site))
    for method in ("GET", "POST", "HEAD"):
        assert httpx.request(method, there, headers=sent).status_code == 403
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        websockets.sync.client.connect(
            "ws" + there.removeprefix("http") + "/ws", additional_headers=sent
        )
    assert refused.value.response.status_code == 403
    # Who knows the URL needs no cookie, and may be any page.
    assert httpx.post(url_of(site), headers=said).text == "POST /"


def test_own_pages_and_clients_that_are_no_browser_can(home: Path) -> None:
    there = origin_of(url_of(site))
    cookie = {"Cookie": cookie_of(url_of(site))}
    own: list[dict[str, str]] = [
        {},
        {"Origin": there},
        {"Sec-Fetch-Site": "same-origin", "Origin": there},
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},  # Referrer-Policy: no-referrer
        {"Sec-Fetch-Site": "none"},
    ]
    for said in own:
        assert httpx.post(there + "/x", headers=cookie | said).text == "POST /x"
        with websockets.sync.client.connect(
            "ws" + there.removeprefix("http") + "/ws", additional_headers=cookie | said
        ) as ws:
            assert ws.recv(timeout=10) == "let in"


@pytest.mark.parametrize("origin", ["none", "same-origin", "same-site", "cross-site"])
def test_a_browser_goes_from_the_url_to_the_root(home: Path, origin: str) -> None:
    sent = PAGE | {"Sec-Fetch-Site": origin}

    def target(path: str) -> str:
        answer = httpx.get(url_of(site) + path, headers=sent, timeout=COLD)
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["set-cookie"].endswith("SameSite=Strict")
        assert httpx.URL(url_of(site)).path.split("/")[1] not in answer.text
        if origin in ("none", "same-origin"):
            assert answer.status_code == 303
            return str(answer.headers["location"])
        assert answer.status_code == 200  # after a redirect the cookie would be withheld
        return html.unescape(re.findall('<a href="([^"]*)"', answer.text)[0])

    assert target("/a/b?c=%22d&e=1") == "../../../a/b?c=%22d&e=1"
    assert target("") == "../"
    assert target("/") == "../../"
    assert target("//evil.example") == "../../..//evil.example"
    assert httpx.post(url_of(site), headers=sent).text == "POST /"
    script = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": origin}
    assert httpx.get(url_of(site), headers=script).text == "GET /"


def test_a_frame_in_another_sites_page_has_a_cookie_of_its_own(home: Path) -> None:
    frame = PAGE | {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": "cross-site"}
    answer = httpx.get(url_of(site) + "/", headers=frame, timeout=COLD)
    assert answer.text == "GET /"
    assert answer.headers["set-cookie"].endswith("SameSite=None; Secure; Partitioned")
    near = frame | {"Sec-Fetch-Site": "same-site"}
    assert "SameSite=Strict" in httpx.get(url_of(site) + "/", headers=near).headers["set-cookie"]


@pytest.mark.parametrize("where", ["cross-site", "same-site"])
def test_a_link_of_another_site_asks_first(home: Path, where: str) -> None:
    assert httpx.get(url_of(site), timeout=COLD).status_code == 200
    led = PAGE | {"Sec-Fetch-Site": where, "Cookie": cookie_of(url_of(site))}
    answer = httpx.get(origin_of(url_of(site)) + "/delete?all=1", headers=led)
    assert answer.status_code == 403
    assert '<a href="">' in answer.text  # the same page, asked for by a page of this origin
    framed = led | {"Sec-Fetch-Dest": "iframe"}
    assert "<a" not in httpx.get(origin_of(url_of(site)), headers=framed).text
    lost = httpx.get(origin_of(url_of(site)), headers=PAGE)
    assert lost.status_code == 404
    assert "get_web_url()" in lost.text


def test_proxy_auth_is_asked_for_also_with_a_cookie(home: Path) -> None:
    @app.function()
    @nbfn.fastapi_endpoint(requires_proxy_auth=True)
    def guarded() -> str:
        return "inside"

    url = url_of(guarded)
    kept = json.loads(Places.of().web_file.read_text())
    right = {"Modal-Key": kept["proxy_key"], "Modal-Secret": kept["proxy_secret"]}
    with httpx.Client(timeout=COLD) as client:
        assert client.get(url, headers=right).json() == "inside"
        assert client.get(origin_of(url), headers=right).json() == "inside"
        assert client.get(origin_of(url)).status_code == 401


# --- ports ----------------------------------------------------------------------------------------


def test_endpoints_keep_their_ports_through_deaths_of_hub_and_gateway_and_new_deployments(
    home: Path,
) -> None:
    def deploy(word: str) -> dict[str, str]:
        deployed = nbfn.App("kept")

        @deployed.function()
        @nbfn.fastapi_endpoint()
        def one() -> str:
            return word

        @deployed.cls()
        class Two:
            @nbfn.fastapi_endpoint()
            def first(self) -> str:
                return word + " first"

            @nbfn.fastapi_endpoint(label="own-label")
            def second(self) -> str:
                return word + " second"

        deployed.deploy()
        two = Two()
        return {"": url_of(one), " first": url_of(two.first), " second": url_of(two.second)}

    def answer(word: str) -> None:
        for what, url in urls.items():
            assert httpx.get(url, timeout=COLD).json() == word + what

    urls = deploy("old")
    assert len({httpx.URL(url).port for url in urls.values()}) == 3
    answer("old")
    os.kill(gateway_of(home), signal.SIGKILL)
    answer("old")
    gateway = gateway_of(home)
    os.kill(hub_pid(), signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(gateway))
    found = nbfn.Cls.from_name("kept", "Two")()
    assert url_of(found.second) == urls[" second"]  # which starts the next hub
    answer("old")
    assert deploy("new") == urls
    answer("new")
    client = nbfn.Client.attach()
    client.rollback_app(client.find_app("kept").id, 1)
    answer("old")


def test_a_stopped_app_lets_its_ports_go_and_has_them_again(home: Path) -> None:
    for word in ("one", "two"):
        served = nbfn.App("served")

        @served.function()
        @nbfn.fastapi_endpoint()
        def say(word: str = word) -> str:
            return word

        with served.run():
            url = url_of(say)
            assert httpx.get(url, timeout=COLD).json() == word
        assert httpx.get(url).status_code == 404  # nobody else has it so soon
        wait_until(lambda url=url: not listens(url), within=20)
        if word == "one":
            first = url
    assert url == first


def test_no_more_endpoints_listen_than_may(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBFN_WEB_ENDPOINTS", "2")
    full = nbfn.App("full")

    def say(name: str, of: nbfn.App) -> Any:
        return of.function(name=name)(nbfn.fastapi_endpoint()(lambda: name))

    one, two, three = (say(name, full) for name in ("one", "two", "three"))
    assert {httpx.get(url_of(f), timeout=COLD).json() for f in (one, two)} == {"one", "two"}
    with pytest.raises(
        ExecutionError, match=r"'full-three-dev' gets no port: 2 listen.*web_endpoints"
    ):
        three.get_web_url()
    assert httpx.get(url_of(one)).json() == "one"
    hub = psutil.Process(hub_pid())
    assert len([c for c in hub.net_connections("tcp") if c.status == psutil.CONN_LISTEN]) == 2
    next_one = nbfn.App("next")
    nbfn.Client.attach().stop_app(full.app_id or "")
    four = say("four", next_one)  # takes the place of one that is gone
    assert httpx.get(url_of(four), timeout=COLD).json() == "four"


def test_many_endpoints_are_passed_to_a_gateway_that_starts_anew(home: Path) -> None:
    many = nbfn.App("many")

    def number(n: int = 7) -> int:
        return n

    functions = [many.function(name=f"f{n}")(nbfn.fastapi_endpoint()(number)) for n in range(40)]
    urls = [url_of(function) for function in functions]
    assert len({httpx.URL(url).port for url in urls}) == 40
    assert httpx.get(urls[0], timeout=COLD).status_code == 200
    os.kill(gateway_of(home), signal.SIGKILL)
    wrong = [url.replace("/many-", "/none-") for url in urls]
    assert [httpx.get(url, timeout=COLD).status_code for url in wrong] == [404] * 40
    assert httpx.get(urls[-1], timeout=COLD).status_code == 200
    assert sum("nbfn.gateway" in what for what in processes_of(home).values()) == 1


def test_serve_keeps_url_and_cookie_when_it_loads_a_changed_file(
    home: Path, tmp_path: Path
) -> None:
    file = tmp_path / "shop.py"
    code = (
        "import nbfn\napp = nbfn.App('shop')\n"
        "@app.function()\n@nbfn.fastapi_endpoint()\ndef say():\n    return 'old'\n"
    )
    file.write_text(code)
    argv = [sys.executable, "-m", "nbfn", "serve", str(file)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        lines = iter(serving.stdout)
        first = next(line.split()[-1] for line in lines if "http://" in line)
        cookie = {"Cookie": cookie_of(first)}
        assert httpx.get(origin_of(first), headers=cookie).json() == "old"
        file.write_text(code.replace("old", "new"))
        assert next(line.split()[-1] for line in lines if "http://" in line) == first
        assert httpx.get(origin_of(first), headers=cookie, timeout=COLD).json() == "new"
        serving.send_signal(signal.SIGINT)


def test_an_answer_that_takes_long_is_waited_for_at_the_root(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NBFN_WEB_REDIRECT", "0.3")
    go = tmp_path / "go"

    @app.function()
    @nbfn.fastapi_endpoint()
    async def slow() -> str:
        while not go.exists():
            await asyncio.sleep(0.005)
        return "done"

    url = url_of(slow)
    with httpx.Client(timeout=COLD) as client:
        there = client.get(url).headers["location"]
        assert there.startswith(httpx.URL(url).path + "?__modal")
        answer = client.get(origin_of(url))
        assert answer.headers["location"].startswith("/?__modal")
        go.touch()
        for place in (answer.headers["location"], there):
            assert client.get(origin_of(url) + place, follow_redirects=True).json() == "done"


def test_a_localhost_url_has_a_cookie_of_its_own(home: Path) -> None:
    url = url_of(site).replace("127.0.0.1", "localhost")
    with httpx.Client(timeout=COLD) as client:
        assert client.get(url).text == "GET /"
        origin = origin_of(url_of(site)).replace("127.0.0.1", "localhost")
        own = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
        assert client.post(origin + "/x", headers=own).text == "POST /x"
        other_name = {"Origin": origin_of(url_of(site))}
        assert client.post(origin + "/x", headers=other_name).status_code == 403
        assert client.get(origin_of(url_of(site)) + "/x").status_code == 404
