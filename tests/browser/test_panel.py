"""What the panel looks like: the golden overview and its bad days, without a hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Route, expect

from .conftest import ARTIFACTS

AUDIT = (Path(__file__).parent / "audit.js").read_text()
GOLDEN = json.loads((Path(__file__).parents[1] / "contract" / "overview.json").read_text("utf-8"))


class Server:
    """Answers the page's requests in place of the server extension."""

    def __init__(self) -> None:
        self.reply: dict[str, Any] | None = deepcopy(GOLDEN)
        self.refusal: str | None = None

    def answer(self, route: Route) -> None:
        if self.reply is None:
            route.abort()
        elif route.request.method == "GET":
            route.fulfill(json=self.reply)
        elif self.refusal is not None:
            route.fulfill(status=400, json={"message": self.refusal})
        else:
            route.fulfill(json={})


@pytest.fixture
def server(page: Page) -> Server:
    server = Server()
    page.route("**/nbfn/api/**", server.answer)
    return server


@pytest.fixture
def panel(server: Server, open_lab: Callable[[], Page], open_sidebar: Callable[[], Any]) -> Any:
    open_lab()
    return open_sidebar()


def refresh(page: Page, panel: Any) -> None:
    """Make it look again, as an event would."""
    page.evaluate("() => jupyterapp.shell.collapseLeft()")
    expect(panel).to_be_hidden()
    with page.expect_request("**/nbfn/api/**"):
        page.evaluate("() => jupyterapp.shell.activateById('nbfn-sidebar')")


def sight(panel: Any, name: str) -> None:
    panel.screenshot(path=ARTIFACTS / f"panel-{name}.png")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_busy(panel: Any, use_theme: Callable[[str], None], theme: str) -> None:
    use_theme(theme)
    expect(panel.get_by_role("treeitem", name="embed, busy")).to_contain_text("backlog 331")
    expect(panel.get_by_role("spinbutton", name="Warm workers of square")).to_have_value("1")
    expect(panel.get_by_role("progressbar")).to_have_attribute("aria-valuetext", "612 / 1000")
    sight(panel, f"busy-{theme.split()[-1].lower()}")


#: Rows of every kind, by what they have that the golden ones have not.
ROWS: list[dict[str, Any]] = [
    {"name": "Greeter", "kind": "cls", "has_workers": False},
    {"name": "Greeter(word='Ahoy', times=3, shout=True)", "kind": "cls", "workers": 1},
    {"name": "tick", "schedule": "every Monday at 09:30 (Europe/Berlin)", "p50": 0.004},
    {"name": "hello", "web_url": "http://127.0.0.1:40001/x/hello", "state": "starting"},
    {
        "name": "train_the_whole_model_again",
        "state": "failing",
        "backlog": 12_000,
        "waiting_for": "ModuleNotFoundError: No module named 'torch' (start 3 of 3)",
    },
    {"name": "count", "kind": "generator", "state": "busy", "workers": 8, "starting": 2},
    {"name": "gpu", "waiting_for": "no worker offers gpu=1", "backlog": 3},
]


def test_rows_of_every_kind(
    page: Page, panel: Any, server: Server, use_theme: Callable[[str], None]
) -> None:
    assert server.reply is not None
    overview = server.reply["overview"]
    plain = overview["functions"][0] | {"schedule": "", "app": "kinds"}
    overview["functions"] = [
        plain | {"id": f"fu-{number}", **row} for number, row in enumerate(ROWS)
    ]
    call = overview["calls"][0]
    overview["calls"] = [
        call | {"id": "fc-1", "function": "train_the_whole_model_again.evaluate", "failed": 300},
        call | {"id": "fc-2", "kind": "spawn", "total": 1, "done": 0, "failed": 0, "age": 5000.0},
        call | {"id": "fc-3", "total": None, "done": 60, "failed": 0},
    ]
    refresh(page, panel)
    klass = panel.get_by_role("treeitem", name="Greeter, idle")
    expect(klass).to_contain_text("Each instance has its own workers.")
    expect(klass.get_by_role("spinbutton")).to_have_count(0)
    page.set_viewport_size({"width": 1280, "height": 1300})
    findings = []
    for theme in ("Light", "Dark"):  # Lab makes it no narrower than it is at first
        use_theme(f"JupyterLab {theme}")
        findings += [f"{theme}: {found}" for found in panel.evaluate(AUDIT)]
        sight(panel, f"rows-{theme.lower()}")
    assert findings == []


def test_a_long_name_fits_the_narrowest_panel(page: Page, panel: Any, server: Server) -> None:
    assert server.reply is not None
    server.reply["overview"]["functions"][0]["name"] = "a_function_with_quite_a_long_name"
    server.reply["overview"]["functions"][0]["state"] = "failing"
    refresh(page, panel)
    panel.get_by_role("treeitem", name="a_function_with").wait_for()
    expect(panel.get_by_role("button", name="One warm worker more").first).to_be_in_viewport()
    assert panel.evaluate("node => node.scrollWidth <= node.clientWidth")
    sight(panel, "narrow")


def test_the_tab_has_its_icon(page: Page, panel: Any) -> None:
    tab = page.locator(".jp-SideBar.jp-mod-left .lm-TabBar-tab[data-id=nbfn-sidebar]")
    expect(tab).to_have_attribute("title", "nbfn: Functions and calls")
    expect(tab.locator("svg[data-icon='nbfn:nbfn']")).to_be_visible()


def test_empty(page: Page, panel: Any, server: Server) -> None:
    assert server.reply is not None
    server.reply["overview"] |= {"functions": [], "calls": []}
    refresh(page, panel)
    expect(panel.get_by_text("above a def and run the cell.")).to_be_visible()
    sight(panel, "empty")


def test_no_hub(page: Page, panel: Any, server: Server) -> None:
    server.reply = {"connection": "absent", "message": "nbfn is not running.", "overview": None}
    page.reload()
    page.wait_for_function("() => window.jupyterapp !== undefined")
    page.evaluate("async () => { await jupyterapp.restored; }")
    page.evaluate("() => jupyterapp.shell.activateById('nbfn-sidebar')")
    expect(panel.get_by_text("nbfn is not running.")).to_be_visible()
    expect(panel.get_by_role("tree")).to_have_count(0)
    sight(panel, "absent")

    def begin(request: Request) -> None:
        if request.method == "POST":  # not before: an event would take the button away
            server.reply = deepcopy(GOLDEN)

    page.on("request", begin)
    panel.get_by_role("button", name="Start").click()
    expect(panel.get_by_text("Hub running")).to_be_visible()


def test_server_gone(page: Page, panel: Any, server: Server) -> None:
    expect(panel.get_by_text("Hub running")).to_be_visible()
    server.reply = None
    refresh(page, panel)
    expect(panel.get_by_role("alert")).to_contain_text("The Jupyter server does not respond.")
    expect(panel.get_by_text("as of ")).to_be_visible()
    expect(panel.get_by_role("spinbutton").first).to_be_disabled()
    sight(panel, "unreachable")
    with page.expect_request("**/nbfn/api/**"):
        panel.get_by_role("button", name="Retry now").click()
    server.reply = deepcopy(GOLDEN)  # not before: an event would take the button away
    refresh(page, panel)
    expect(panel.get_by_text("Hub running")).to_be_visible()


def test_refused(page: Page, panel: Any, server: Server) -> None:
    server.refusal = "min_containers 2 is above what this machine can hold (1)."
    row = panel.get_by_role("treeitem", name="square, idle")
    row.get_by_role("button", name="One warm worker more").click()
    expect(row.get_by_role("alert")).to_contain_text(server.refusal)
    expect(row.get_by_role("spinbutton")).to_have_value("1")
    sight(panel, "refused")


def test_the_keyboard_reaches_everything(page: Page, panel: Any) -> None:
    # JupyterLab focuses its launcher when it has opened.
    expect(page.locator(".jp-Launcher")).to_be_focused()
    panel.get_by_role("treeitem", name="churn").focus()
    page.keyboard.press("ArrowDown")
    expect(panel.get_by_role("treeitem", name="embed, busy")).to_be_focused()
    page.keyboard.press("End")
    expect(panel.get_by_role("treeitem", name="square, idle")).to_be_focused()
    stepper = panel.get_by_role("spinbutton", name="Warm workers of square")
    expect(stepper).to_be_enabled()  # while the hub is looked for, nothing can be set
    page.keyboard.press("Enter")
    expect(stepper).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(stepper).to_have_value("2")
    page.keyboard.press("Escape")
