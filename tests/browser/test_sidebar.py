"""The sidebar against a real hub: it shows what runs, and what is done in it happens."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from playwright.sync_api import Page, expect

from .conftest import ARTIFACTS, Lab

LOAD = "%load_ext nbfn"
SQUARE = "%%remote --app pool --warm 1 --max 4\ndef square(x):\n    return x * x"
SLOW = (
    "%%remote --app pool --max 2\ndef slow(x):\n    import time\n    time.sleep(0.2)\n    return x"
)


def rows(lab: Lab, part: str, **wanted: Any) -> list[Any]:
    """The rows of the overview that have these values."""
    overview = lab.overview()["overview"]
    if overview is None:
        return []
    return [row for row in overview[part] if all(row[name] == wanted[name] for name in wanted)]


@pytest.fixture
def panel(open_lab: Callable[[], Page], open_sidebar: Callable[[], Any]) -> Any:
    open_lab()
    return open_sidebar()


def test_a_hub_is_started_and_found(
    lab: Lab, open_lab: Callable[[], Page], open_sidebar: Callable[[], Any]
) -> None:
    """Looking starts none, the button does, and one that is killed is seen to be gone."""
    lab.stop_hub()
    open_lab()
    panel = open_sidebar()
    expect(panel.get_by_text("nbfn is not running.")).to_be_visible()
    assert lab.overview()["connection"] == "absent"
    panel.get_by_role("button", name="Start").click()
    expect(panel.get_by_text("Hub running")).to_be_visible()

    os.kill(lab.overview()["overview"]["hub"]["pid"], signal.SIGKILL)
    expect(panel.get_by_text("Hub not running")).to_be_visible()
    expect(panel.get_by_text("as of ")).to_be_visible()
    panel.get_by_role("button", name="Start").click()
    expect(panel.get_by_text("Hub running")).to_be_visible()


def test_the_warm_number_changes_the_pool(
    lab: Lab,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    open_sidebar: Callable[[], Any],
    wait_until: Callable[..., Any],
) -> None:
    page = open_notebook("warm.ipynb", LOAD, SQUARE, "square.remote(12)")
    panel = open_sidebar()
    run_all()
    expect(page.locator(".jp-OutputArea-output", has_text="144")).to_be_visible()
    row = panel.get_by_role("treeitem", name="square")
    stepper = row.get_by_role("spinbutton", name="Warm workers of square")
    expect(stepper).to_have_value("1")
    expect(row).to_contain_text("workers 1")

    row.get_by_role("button", name="One warm worker more").click(click_count=2)
    expect(row).to_contain_text("workers 3")
    workers = wait_until(
        lambda: (found := rows(lab, "workers", function="square")) and len(found) == 3 and found,
        "square has three workers",
    )
    assert all(psutil.pid_exists(worker["pid"]) for worker in workers)
    assert rows(lab, "functions", name="square")[0]["min_containers"] == 3
    page.screenshot(path=ARTIFACTS / "sidebar-warm.png")

    stepper.fill("9")
    expect(row.get_by_role("alert")).to_be_visible()
    expect(stepper).to_have_value("3")
    assert rows(lab, "functions", name="square")[0]["min_containers"] == 3


def test_what_others_do_shows_at_once(lab: Lab, panel: Any) -> None:
    """A function that a script registers is in the tree without a click."""
    lab.run_python(
        "import nbfn\n"
        "app = nbfn.App('script')\n"
        "@app.function(serialized=True)\n"
        "def from_a_script(x): return x\n"
        "app.deploy()\n"
    )
    expect(panel.get_by_role("treeitem", name="from_a_script")).to_be_visible(timeout=2000)


def test_a_map_is_cancelled_after_a_reload(
    lab: Lab,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    open_sidebar: Callable[[], Any],
    wait_until: Callable[..., Any],
) -> None:
    """The kernel is blocked and its widgets are gone; the sidebar does not need them."""
    page = open_notebook("cancel.ipynb", LOAD, SLOW, "list(slow.map(range(2000)))")
    run_all()
    [call] = wait_until(
        lambda: rows(lab, "calls", function="slow", state="running"), "the map is running"
    )
    page.reload()
    page.wait_for_function("() => window.jupyterapp !== undefined")
    page.evaluate("async () => { await jupyterapp.restored; }")
    panel = open_sidebar()
    bar = panel.get_by_role("progressbar", name="Progress of slow.map")
    expect(bar).to_be_visible()
    page.screenshot(path=ARTIFACTS / "sidebar-map.png")
    panel.get_by_role("button", name="Cancel slow.map").click()
    expect(panel.get_by_text("Nothing is running.")).to_be_visible()
    wait_until(
        lambda: not rows(lab, "calls", id=call["id"], state="running"), "the map is cancelled"
    )
    wait_until(
        lambda: all(
            session["kernel"]["execution_state"] == "idle"
            for session in lab.request("GET", "api/sessions")
        ),
        "the kernel is free again",
    )
