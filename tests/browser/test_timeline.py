"""The timeline on a real page: maps with failures, a slow worker and a lost one; keys, wheel, table, replay."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from .conftest import ARTIFACTS, ROOT, TOKEN, Lab

LOAD = "%load_ext nbfn"
#: Failures, inputs of different lengths, and one that is much slower than the others.
UNEVEN = """%%remote --app {app} --max 2 --quiet
def uneven(x):
    import time
    time.sleep(0.05 if x != 7 else 1.5)
    if x % 6 == 4:
        raise ValueError(f'no {{x}} <b>today</b>')
    return x * 10
"""
MAP = "results = list(uneven.map(range(24), return_exceptions=True))"
AUDIT = (Path(__file__).parent / "audit.js").read_text()
AXE = (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture
def open_timeline(page: Page) -> Callable[..., Locator]:
    """``open_timeline(call="")`` opens it by its command and returns it."""

    def open_timeline(call: str = "") -> Locator:
        page.evaluate(
            "call => { void jupyterapp.commands.execute('nbfn:open-timeline', { callId: call }) }",
            call,
        )
        timeline = page.locator(".jp-nbfn-tl").last
        expect(timeline.locator(".jp-nbfn-tl-tools")).to_be_visible()
        return timeline

    return open_timeline


@pytest.fixture
def uneven(
    lab: Lab, open_notebook: Callable[..., Page], run_all: Callable[[], None], request: Any
) -> Page:
    """A notebook whose map has ended."""
    name = re.sub(r"\W+", "-", request.node.name).strip("-")
    page = open_notebook(f"{name}.ipynb", LOAD, UNEVEN.format(app=name[:40]), MAP, "'done'")
    run_all()
    expect(page.locator(".jp-Notebook .jp-OutputArea-output").last).to_have_text("'done'")
    return page


@pytest.fixture
def newest(lab: Lab, wait_until: Callable[..., Any]) -> Callable[[str], str]:
    """``newest("f")`` returns the id of the newest call of a Function."""

    def find(function: str) -> str:
        overview = lab.overview()["overview"] or {"calls": []}
        return next((c["id"] for c in overview["calls"] if c["function"] == function), "")

    return lambda function: wait_until(lambda: find(function), f"{function} has been called")


def drawn(timeline: Locator) -> int:
    return int(timeline.locator("canvas").get_attribute("data-drawn") or 0)


def findings(page: Page, timeline: Locator) -> list[str]:
    """What axe-core and the audit of looks find."""
    page.evaluate(AXE)
    found: list[str] = page.evaluate(
        """async () => (await axe.run('.jp-nbfn-tl')).violations.map(
            v => `${v.id}: ${v.help} ${v.nodes[0].html}`)"""
    )
    return found


def test_a_map_with_failures_says_why_it_was_slow(
    uneven: Page,
    newest: Callable[[str], str],
    open_timeline: Callable[..., Locator],
    use_theme: Callable[[str], None],
) -> None:
    timeline = open_timeline(newest("uneven"))
    summary = timeline.locator(".jp-nbfn-tl-summary")
    expect(summary).to_contain_text("24 inputs on 2 workers")
    expect(summary).to_contain_text("4 failed attempts")
    expect(summary).to_contain_text("[7] 1.5 s")  # the slowest one, first
    expect(summary.locator(".jp-nbfn-tl-advice")).not_to_have_count(0)
    expect(timeline.locator(".jp-nbfn-tl-label")).to_have_count(2)
    expect(timeline.locator(".jp-nbfn-tl-host")).to_have_count(1)
    assert drawn(timeline) >= 20

    summary.get_by_role("button", name="failed attempts").click()
    details = timeline.locator(".jp-nbfn-tl-details")
    expect(details).to_contain_text("uneven[4]")
    expect(details).to_contain_text("failed")
    expect(details.locator("pre")).to_contain_text("ValueError: no 4 <b>today</b>")
    expect(details.locator("pre b")).to_have_count(0)
    for theme in ("JupyterLab Dark", "JupyterLab Dark High Contrast", "JupyterLab Light"):
        use_theme(theme)
        uneven.wait_for_timeout(300)
        assert findings(uneven, timeline) == []
        name = theme.removeprefix("JupyterLab ").lower().replace(" ", "-")
        uneven.screenshot(path=ARTIFACTS / f"timeline-{name}.png")


def test_keys_wheel_and_drag_move_the_time_and_the_selection(
    uneven: Page, newest: Callable[[str], str], open_timeline: Callable[..., Locator]
) -> None:
    timeline = open_timeline(newest("uneven"))
    chart = timeline.get_by_role("application")
    said, details = timeline.locator(".jp-nbfn-tl-said"), timeline.locator(".jp-nbfn-tl-details")
    fit = timeline.get_by_role("button", name="Show everything")
    expect(fit).to_have_attribute("aria-pressed", "true")
    chart.focus()
    uneven.keyboard.press("f")
    expect(said).to_contain_text("uneven[4] · failed")
    uneven.keyboard.press("f")
    expect(said).not_to_contain_text("uneven[4]")
    uneven.keyboard.press("ArrowRight")
    expect(details).to_be_visible()
    lane = details.locator("dd").nth(5)
    uneven.keyboard.press("ArrowUp")  # there are two workers
    first = lane.text_content() or ""
    uneven.keyboard.press("ArrowDown")
    expect(lane).not_to_have_text(first)
    uneven.keyboard.press("ArrowUp")
    expect(lane).to_have_text(first)
    ticks = timeline.locator(".jp-nbfn-tl-ticks")
    before = ticks.text_content() or ""
    uneven.keyboard.press("+")
    expect(fit).to_have_attribute("aria-pressed", "false")
    expect(ticks).not_to_have_text(before)
    zoomed = ticks.text_content() or ""
    uneven.keyboard.press("Shift+ArrowRight")
    expect(ticks).not_to_have_text(zoomed)
    uneven.keyboard.press("Escape")
    expect(details).to_have_count(0)
    uneven.keyboard.press("Home")
    expect(fit).to_have_attribute("aria-pressed", "true")
    uneven.wait_for_function(  # the chart is as wide as before the details were shown
        "() => document.querySelector('.jp-nbfn-tl-ticks').clientWidth + 1 >="
        " document.querySelector('.jp-nbfn-tl-canvas').clientWidth"
    )
    before = ticks.text_content() or ""
    box = timeline.locator("canvas").bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + 40)
    uneven.mouse.move(*middle)
    uneven.mouse.wheel(0, -400)
    expect(ticks).not_to_have_text(before)
    uneven.keyboard.press("Home")
    expect(ticks).to_have_text(before)
    uneven.mouse.move(*middle)
    uneven.mouse.down()
    uneven.mouse.move(middle[0] - 200, middle[1], steps=4)
    uneven.mouse.up()
    expect(ticks).not_to_have_text(before)


def test_the_table_has_the_same_inputs(
    uneven: Page, newest: Callable[[str], str], open_timeline: Callable[..., Locator]
) -> None:
    timeline = open_timeline(newest("uneven"))
    timeline.get_by_role("button", name="as a table").click()
    rows = timeline.locator(".jp-nbfn-tl-table tbody tr")
    expect(rows).to_have_count(24)
    timeline.get_by_label("Only failures").check()
    expect(rows).to_have_count(4)
    rows.nth(0).get_by_role("button").click()
    expect(timeline.locator(".jp-nbfn-tl-details")).to_contain_text("uneven[4]")
    assert findings(uneven, timeline) == []
    uneven.screenshot(path=ARTIFACTS / "timeline-table.png")


def test_replay_here_runs_the_input_in_the_notebook(
    uneven: Page, newest: Callable[[str], str], open_timeline: Callable[..., Locator]
) -> None:
    call = newest("uneven")
    timeline = open_timeline(call)
    timeline.get_by_role("button", name="failed attempts").click()
    timeline.get_by_role("button", name="Replay here").click()
    cells = uneven.locator(".jp-Notebook .jp-CodeCell")
    expect(cells).to_have_count(5)
    expect(cells.nth(4)).to_contain_text(f"%fn replay --run {call}[4]")
    expect(cells.nth(4)).to_contain_text("ValueError")
    expect(cells.nth(4)).to_contain_text("%debug opens the debugger")
    uneven.screenshot(path=ARTIFACTS / "timeline-replay.png")


def test_the_map_widget_opens_the_timeline_and_replays(
    open_notebook: Callable[..., Page], run_all: Callable[[], None]
) -> None:
    page = open_notebook(
        "widget-timeline.ipynb",
        LOAD,
        UNEVEN.format(app="widget-timeline")
        + "\n%local\nget_ipython()._nbfn_observer.quiet.clear()",
        "calls = []\nresults = list(uneven.map(range(60), return_exceptions=True))",
    )
    run_all()
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    widget = cells.nth(2).locator(".jp-nbfn-map-root")
    button = widget.get_by_role("button", name="Timeline")
    button.click()
    timeline = page.locator(".jp-nbfn-tl")
    expect(timeline.locator(".jp-nbfn-tl-label").first).to_be_visible()
    expect(timeline.locator(".jp-nbfn-tl-live")).to_be_visible()
    expect(timeline.locator(".jp-nbfn-tl-summary")).to_contain_text("60 inputs on 2 workers")
    expect(timeline.locator(".jp-nbfn-tl-live")).to_have_count(0)
    widget.locator("summary", has_text="Errors").click()
    widget.get_by_role("button", name="Replay here").first.click()
    expect(cells).to_have_count(4)
    expect(cells.nth(3)).to_contain_text("ValueError")
    page.screenshot(path=ARTIFACTS / "timeline-widget.png")


def test_a_live_map_grows_and_a_lost_worker_is_shown(
    lab: Lab,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    newest: Callable[[str], str],
    wait_until: Callable[..., Any],
    open_timeline: Callable[..., Locator],
) -> None:
    gate = lab.work / "gate"
    gate.unlink(missing_ok=True)
    page = open_notebook(
        "lost.ipynb",
        LOAD,
        f"""%%remote --app lost --max 2 --quiet
def steady(x, gate={str(gate)!r}):
    import os, time
    from pathlib import Path
    while x >= 4 and not Path(gate).exists():
        time.sleep(0.02)
    return os.getpid()
""",
        "list(steady.map(range(10)))",
    )
    run_all()
    timeline = open_timeline(newest("steady"))
    expect(timeline.locator(".jp-nbfn-tl-live")).to_be_visible()
    ticks = timeline.locator(".jp-nbfn-tl-ticks")
    before = ticks.text_content() or ""
    expect(ticks).not_to_have_text(before)  # time passes
    page.screenshot(path=ARTIFACTS / "timeline-live.png")

    def busy() -> int:
        rows = lab.overview()["overview"]["workers"]
        return next((w["pid"] for w in rows if w["state"] == "busy"), 0)

    os.kill(wait_until(busy, "a worker is busy"), signal.SIGKILL)
    expect(timeline.locator(".jp-nbfn-tl-lost")).to_have_count(1)
    gate.touch()
    expect(timeline.locator(".jp-nbfn-tl-live")).to_have_count(0)
    timeline.get_by_role("button", name="failed attempt").click()
    details = timeline.locator(".jp-nbfn-tl-details")
    expect(details).to_contain_text("worker lost")
    expect(details).to_contain_text("killed by signal 9")
    page.screenshot(path=ARTIFACTS / "timeline-lost.png")


def synthetic(count: int, lanes: int) -> dict[str, Any]:
    """A page of the route with this many spans."""
    start = 1_700_000_000.0
    per = count // lanes
    lane = {
        "host": "big",
        "pid": 1,
        "function": "fu-1",
        "name": "f",
        "app": "a",
        "asked": start,
        "connected": start,
        "bound": start,
        "loaded": start + 1,
        "ended": 0,
        "cold": True,
        "lost": False,
        "how": "",
        "memory_peak": 0,
    }
    columns: dict[str, list[Any]] = {
        "queued": [start] * count,
        "started": [start + 1 + (n % per) * 0.01 for n in range(count)],
        "seconds": [0.009] * count,
        "busy": [0.009] * count,
        "index": list(range(count)),
        "inputs": [1] * count,
        "lane": [1 + n // per for n in range(count)],
        "call": [1 + (n // 500) % 3 for n in range(count)],
        "attempt": [1] * count,
        "outcome": [2 if n % 997 == 0 else 1 for n in range(count)],
    }
    return {
        "epoch": 1,
        "now": start + 60,
        "matched": count,
        "last": count,
        "more": False,
        "dropped": 0,
        "bins": None,
        "summary": None,
        "spans": columns,
        "running": {name: [] for name in columns},
        "lanes": [{**lane, "number": n + 1, "worker": f"wk-{n}"} for n in range(lanes)],
        "calls": [
            {
                "number": n,
                "id": f"fc-{n}",
                "function": f"fu-{n}",
                "name": f"f{n}",
                "app": "a",
                "version": 1,
                "kind": "map",
            }
            for n in (1, 2, 3)
        ],
    }


def test_a_hundred_thousand_spans_stay_fluent(
    page: Page, open_lab: Callable[[], Page], open_timeline: Callable[..., Locator]
) -> None:
    everything = synthetic(100_000, 40)
    nothing_new = everything | {"spans": everything["running"], "matched": 0}
    pages = {True: json.dumps(everything), False: json.dumps(nothing_new)}
    page.route(
        re.compile("/nbfn/api/timeline"),
        lambda route: route.fulfill(
            body=pages["after=0&" in route.request.url], content_type="application/json"
        ),
    )
    open_lab()
    timeline = open_timeline()
    expect(timeline.locator(".jp-nbfn-tl-label").first).to_be_visible()
    chart = timeline.get_by_role("application")
    chart.focus()
    took = []
    for key in ["+", "+", "+", "+", "Shift+ArrowRight", "Shift+ArrowLeft", "-", "-", "-", "Home"]:
        page.keyboard.press(key)
        page.wait_for_timeout(60)
        took.append(float(timeline.locator("canvas").get_attribute("data-milliseconds") or 0))
    assert timeline.locator(".jp-nbfn-tl-label").count() < 40  # only those in view
    assert sorted(took)[len(took) // 2] < 50, took
    assert drawn(timeline) <= 40 * 1100
    page.screenshot(path=ARTIFACTS / "timeline-many.png")


@pytest.mark.parametrize("width", [360, 760])
def test_it_is_usable_when_narrow(
    uneven: Page, newest: Callable[[str], str], open_timeline: Callable[..., Locator], width: int
) -> None:
    uneven.set_viewport_size({"width": width, "height": 800})
    uneven.evaluate("() => jupyterapp.shell.collapseLeft()")
    timeline = open_timeline(newest("uneven"))
    timeline.get_by_role("button", name="failed attempts").click()
    details = timeline.locator(".jp-nbfn-tl-details")
    expect(details).to_contain_text("ValueError")
    sideways = timeline.evaluate("node => node.scrollWidth - node.clientWidth")
    assert sideways <= 1
    assert findings(uneven, timeline) == []
    uneven.screenshot(path=ARTIFACTS / f"timeline-{width}.png")


def test_it_opens_below_a_notebook_in_notebook_7(
    lab: Lab, uneven: Page, newest: Callable[[str], str]
) -> None:
    call = newest("uneven")
    name = uneven.url.partition("/tree/")[2].partition("?")[0]
    other = uneven.context.new_page()  # not checked for errors: Notebook 7 has some of its own
    try:
        other.goto(f"{lab.url}/notebooks/{name}?token={TOKEN}")
        expect(other.locator("body[data-nbfn-lab]")).to_be_attached()
        expect(other.locator(".jp-Notebook .jp-CodeCell").first).to_be_visible()
        # As the buttons of displays do.
        other.evaluate(
            """call => document.body.dispatchEvent(new CustomEvent(
                'nbfn:timeline', { bubbles: true, cancelable: true, detail: { call } }))""",
            call,
        )
        timeline = other.locator(".jp-nbfn-tl")
        expect(timeline.locator(".jp-nbfn-tl-summary")).to_contain_text("24 inputs on 2 workers")
        expect(timeline.locator("canvas")).to_be_visible()
        timeline.get_by_role("button", name="failed attempts").click()
        expect(timeline.locator(".jp-nbfn-tl-details")).to_contain_text("ValueError: no 4")
        other.screenshot(path=ARTIFACTS / "timeline-notebook7.png")
    finally:
        other.close()
