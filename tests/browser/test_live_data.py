"""The panel's data is pushed: nothing is fetched while events arrive, and nothing while the page is hidden."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Request, expect

from .conftest import Lab

PROGRAM = """
import nbfn
app = nbfn.App("pushed")
@app.function()
def {name}(x): return x
app.deploy()
"""
HIDE = """hidden => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def test_changes_come_without_a_request(
    lab: Lab, page: Page, open_lab: Callable[[], Page], open_sidebar: Callable[[], Any]
) -> None:
    lab.run_python(PROGRAM.format(name="before"))
    open_lab()
    with page.expect_response(lambda answer: "/nbfn/api/calls?" in answer.url):
        panel = open_sidebar()  # which fetches the first page of the history once
    expect(panel.get_by_text("before", exact=True).first).to_be_visible()
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/nbfn/api/" in request.url:
            asked.append(request.url)

    page.on("request", note)
    lab.run_python(PROGRAM.format(name="after"))
    expect(panel.get_by_text("after", exact=True).first).to_be_visible()
    page.wait_for_timeout(12_000)  # longer than the silence after which the page would ask
    assert asked == []
    page.evaluate(HIDE, True)
    lab.stop_hub()
    page.wait_for_timeout(12_000)
    assert asked == []
    page.evaluate(HIDE, False)
    expect(panel.get_by_text("after", exact=True).first).to_be_visible()  # what was known stays
    expect(panel.get_by_text("as of").first).to_be_visible()
