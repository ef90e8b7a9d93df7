"""A web app behind an endpoint, in a browser: all that it does by paths of its own works, wherever it was opened."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Lab

DEPLOY = '''
import nbfn

app = nbfn.App("browsed")

HOME = """<!doctype html><title>home</title>
<script src="/static/x.js"></script>
<a id="page" href="/page?n=1">page</a> <a id="relative" href="page">relative</a>
<form method="post" action="/login"><input name="name" value="ada"><button>Log in</button></form>
<p id="script"></p><p id="api"></p><p id="posted"></p><p id="ws"></p>
<script>
document.getElementById("script").textContent = fromScript
fetch("/api").then(a => a.text()).then(t => document.getElementById("api").textContent = t)
fetch("/api", {method: "POST"}).then(a => a.text()).then(t => document.getElementById("posted").textContent = t)
const ws = new WebSocket("ws://" + location.host + "/ws")
ws.onmessage = m => document.getElementById("ws").textContent = m.data
</script>"""


@app.function()
@nbfn.concurrent(max_inputs=10)
@nbfn.asgi_app()
def site():
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
    from starlette.routing import Route, WebSocketRoute

    async def home(request):
        return HTMLResponse(HOME)

    async def page(request):
        return HTMLResponse(
            f"<title>page</title><p id=said>{request.url.path} {request.url.query} {request.cookies.get('session')}</p>"
            f"<p id=referer>{request.headers.get('referer')}</p>"
        )

    async def api(request):
        ours = [name for name in request.cookies if name.startswith("nbfn")]
        return PlainTextResponse(f"{request.method} {ours}")

    async def login(request):
        answer = RedirectResponse("/page", status_code=303)
        answer.set_cookie("session", (await request.body()).decode())
        return answer

    async def script(request):
        return Response("const fromScript = 'ran'", media_type="text/javascript")

    async def echo(socket):
        await socket.accept()
        await socket.send_text("let in")

    return Starlette(routes=[
        Route("/", home), Route("/page", page), Route("/api", api, methods=["GET", "POST"]),
        Route("/login", login, methods=["POST"]), Route("/static/x.js", script), WebSocketRoute("/ws", echo),
    ])


@app.function()
@nbfn.fastapi_endpoint(docs=True)
def documented(x: int = 3) -> int:
    return x * 2


app.deploy()
import json
print(json.dumps([site.get_web_url(), documented.get_web_url()]))
'''


#: What a page of somebody else's might do.
TRY = """async there => {
  const sent = {credentials: 'include', mode: 'no-cors'};
  await fetch(there + '/login', {...sent, method: 'POST', body: 'name=eve'}).catch(() => {});
  const ws = await new Promise(done => {
    const ws = new WebSocket(there.replace('http', 'ws') + '/ws');
    ws.onopen = () => done('open'); ws.onerror = () => done('refused');
  });
  const script = await new Promise(done => {
    const it = document.createElement('script');
    it.src = there + '/static/x.js';
    it.onload = () => done('ran'); it.onerror = () => done('refused');
    document.body.append(it);
  });
  return [ws, script];
}"""


@pytest.fixture(autouse=True)
def no_hub_of_other_tests() -> None:
    """The endpoints that `urls` deploys are there for all tests of this file."""


@pytest.fixture(scope="module")
def urls(lab: Lab) -> Any:
    lab.forget_everything()
    return json.loads(lab.run_python(DEPLOY).stdout.splitlines()[-1])


def origin_of(url: str) -> str:
    return "/".join(url.split("/")[:3])


def at_localhost(lab: Lab, page: Page) -> None:
    """Show a page of another site: JupyterLab's login, by its other name."""
    page.goto(lab.url.replace("127.0.0.1", "localhost") + "/login")
    assert page.evaluate("document.cookie") is not None


def all_works(there: Any) -> None:
    for what, said in (
        ("script", "ran"),
        ("api", "GET []"),
        ("posted", "POST []"),
        ("ws", "let in"),
    ):
        expect(there.locator(f"#{what}")).to_have_text(said)


def test_links_forms_scripts_requests_and_websockets_work_at_the_root(
    page: Page, urls: Any
) -> None:
    url = urls[0]
    page.context.clear_cookies()
    page.goto(url + "#there")
    expect(page).to_have_title("home")
    assert page.url == origin_of(url) + "/#there"
    all_works(page)
    assert "nbfn" not in page.evaluate("document.cookie")
    page.click("#page")
    expect(page.locator("#said")).to_have_text("/page n=1 None")
    expect(page.locator("#referer")).to_have_text(origin_of(url) + "/")
    page.go_back()
    page.click("#relative")
    expect(page.locator("#said")).to_have_text("/page None")
    page.go_back()
    page.click("button")
    expect(page.locator("#said")).to_have_text("/page name=ada")
    page.reload()
    expect(page.locator("#said")).to_have_text("/page name=ada")
    page.goto("about:blank")
    page.goto(url + "/page?n=2")
    expect(page.locator("#said")).to_contain_text("/page n=2")
    page.go_back()
    expect(page).to_have_url("about:blank")  # the URL with the key is no step of its own


def test_a_link_of_another_site_opens_it(lab: Lab, page: Page, urls: Any) -> None:
    """JupyterLab at localhost is another site than 127.0.0.1: a strict cookie is kept back after a redirect."""
    page.context.clear_cookies()
    at_localhost(lab, page)
    page.evaluate("url => { document.body.innerHTML = `<a id=go href='${url}/'>go</a>` }", urls[0])
    page.click("#go")
    expect(page).to_have_title("home")
    all_works(page)
    at_localhost(lab, page)
    page.evaluate(
        "url => { document.body.innerHTML = `<a id=go href='${url}/page'>go</a>` }",
        origin_of(urls[0]),
    )
    page.click("#go")
    expect(page.get_by_text("A page of another site opened this page.")).to_be_visible()
    page.get_by_text("Continue").click()
    expect(page.locator("#said")).to_have_text("/page None")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_it_works_in_a_frame(lab: Lab, page: Page, urls: Any, host: str) -> None:
    page.context.clear_cookies()
    page.goto(lab.url.replace("127.0.0.1", host) + "/login")
    page.evaluate(
        "url => { document.body.innerHTML = `<iframe src='${url}/' width=600 height=400></iframe>` }",
        urls[0],
    )
    frame = page.frame_locator("iframe")
    all_works(frame)
    frame.locator("#page").click()
    expect(frame.locator("#said")).to_have_text("/page n=1 None")


def test_pages_of_others_reach_nothing_by_its_cookie(lab: Lab, page: Page, urls: Any) -> None:
    page.context.clear_cookies()
    page.goto(urls[0])
    expect(page).to_have_title("home")
    other = page.context.new_page()  # whose console may have errors
    for host in ("localhost", "127.0.0.1"):
        other.goto(lab.url.replace("127.0.0.1", host) + "/login")
        assert other.evaluate(TRY, origin_of(urls[0])) == ["refused", "refused"]
    other.close()
    page.goto(urls[0] + "/page")
    expect(page.locator("#said")).to_have_text("/page None")  # nobody logged in


def test_the_docs_of_an_endpoint_try_it_out(page: Page, urls: Any) -> None:
    page.goto(urls[1] + "/openapi.json")
    expect(page).to_have_url(origin_of(urls[1]) + "/openapi.json")
    assert "servers" not in json.loads(page.inner_text("body"))  # so they are at the root
    assert page.evaluate("fetch('/?x=4').then(answer => answer.json())") == 8
