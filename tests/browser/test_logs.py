"""The log of a call in the main area: it follows, filters, pauses and copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from .conftest import ARTIFACTS, Lab
from .test_commands import LOAD, SLOW, execute


def test_a_log_follows_filters_and_pauses(
    lab: Lab, open_notebook: Callable[..., Page], wait_until: Callable[..., Any]
) -> None:
    page = open_notebook("logs.ipynb", LOAD, SLOW, "handle = slow.spawn_map(range(60))")
    execute(page, "notebook:run-all-cells")
    find = lambda: [  # noqa: E731
        c
        for c in (lab.overview()["overview"] or {"calls": []})["calls"]
        if c["function"] == "slow" and c["state"] == "running"
    ]
    [call] = wait_until(find, "the call runs")
    execute(page, "nbfn:open-logs", callId=call["id"])
    log = page.locator(".jp-nbfn-logs")
    expect(log.locator(".jp-nbfn-logText", has_text="input 3")).to_be_visible()
    page.screenshot(path=ARTIFACTS / "lab-logs.png")
    log.get_by_role("spinbutton", name="Input").fill("2")
    expect(log.locator(".jp-nbfn-logLine")).to_have_count(1)
    expect(log.locator(".jp-nbfn-logLine")).to_contain_text("input 2")
    log.get_by_role("spinbutton", name="Input").fill("")
    log.get_by_role("button", name="Pause").click()
    expect(log.get_by_role("status")).to_contain_text("paused")
    log.get_by_role("button", name="Resume").click()
    expect(log.get_by_role("status")).to_contain_text("following")
    log.get_by_role("searchbox").fill("nothing of this")
    expect(log).to_contain_text("No line matches the filters.")
    lab.request("POST", f"nbfn/api/calls/{call['id']}/cancel")
