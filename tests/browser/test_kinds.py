"""What the panel says of classes, their objects, schedules and web endpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

ARTIFACTS = Path(__file__).parents[1] / "artifacts"

LOAD = "%load_ext nbfn\nimport nbfn"
CLASS = """%%remote --app kinds
class Greeter:
    word: str = nbfn.parameter()

    @nbfn.method()
    def greet(self, name: str) -> str:
        return f"{self.word}, {name}"
"""
CALLS = """Greeter(word="Hello").greet.remote("Ada"), Greeter(word="Ahoy").greet.remote("Ada")"""
VARIANT = """%%remote --app kinds
def plain(x: int) -> int:
    return x
%local
plain.with_options(timeout=5).remote(1)"""
DEPLOYED = """app = nbfn.App("kinds-deployed")

@app.function(schedule=nbfn.Period(seconds=1))
def tick() -> None:
    print("tick")

@app.function()
@nbfn.fastapi_endpoint()
def hello(name: str = "world") -> str:
    return f"hello {name}"

app.deploy()
next(iter(tick.logs.stream(timeout=30)))
print("ready")"""


def test_the_panel_tells_classes_schedules_and_endpoints_apart(
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    open_sidebar: Callable[[], Any],
    lab: Any,
) -> None:
    page = open_notebook("kinds.ipynb", LOAD, CLASS, CALLS, VARIANT, DEPLOYED)
    panel = open_sidebar()
    run_all()
    expect(page.locator(".jp-CodeCell").nth(4).locator(".jp-OutputArea")).to_contain_text("ready")

    def row(name: str, app: str = "kinds") -> Locator:
        panel.get_by_role("searchbox").fill(f"{app}/{name}")  # only rows in view are drawn
        found = panel.get_by_role("treeitem").filter(
            has=page.locator(f'.jp-nbfn-name[title^="{app}/{name} v"]').and_(
                page.get_by_text(name, exact=True)
            )
        )
        expect(found).to_be_visible()
        return found

    def kind(found: Locator) -> Locator:
        return found.locator(".jp-nbfn-kind")

    expect(kind(row("Greeter"))).to_have_accessible_name("class")
    expect(row("Greeter").get_by_role("spinbutton")).to_have_count(0)
    expect(row("Greeter(word='Ahoy')")).to_contain_text("workers 1")
    expect(kind(row("plain.with_options(timeout=5)"))).to_have_accessible_name("function")
    expect(row("tick", "kinds-deployed")).to_contain_text("Called by the hub: every 1 second")
    expect(kind(row("hello", "kinds-deployed"))).to_have_accessible_name("web endpoint")
    expect(row("hello", "kinds-deployed").get_by_role("link")).to_have_text("Open the endpoint")
    row("tick", "kinds-deployed").scroll_into_view_if_needed()
    page.screenshot(path=ARTIFACTS / "sidebar-kinds.png")
    lab.run_python(
        "import nbfn; c = nbfn.Client.attach(); c.stop_app(c.find_app('kinds-deployed').id)"
    )
    expect(panel.get_by_role("treeitem").filter(has_text="Called by the hub")).to_have_count(0)
