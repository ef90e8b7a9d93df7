"""The widgets of maps and Functions on a real page: buttons while a cell blocks, and what is saved."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from nbfn.config import Places

from .conftest import ARTIFACTS

WIDGET = "application/vnd.jupyter.widget-view+json"
LOAD = "%load_ext nbfn"
CHOOSY = """%%remote --app {app} --max 2 --quiet
def choosy(x, gate='{gate}', allowed='{allowed}'):
    import time
    from pathlib import Path
    print('looks at', x)
    while x >= 40 and not Path(gate).exists():
        time.sleep(0.02)
    time.sleep(0.02)
    if x % 10 == 3 and not Path(allowed).exists():
        raise ValueError(f'not {{x}} today')
    return x * 10
"""
LOUD = "\n%local\nget_ipython()._nbfn_observer.quiet.clear()"


def cell(page: Page, number: int) -> Locator:
    return page.locator(".jp-Notebook .jp-CodeCell").nth(number)


def look(page: Page, name: str, use_theme: Callable[[str], None], at: Locator) -> None:
    """Take a picture in both themes."""
    for theme in ("Dark", "Light"):
        use_theme(f"JupyterLab {theme}")
        at.evaluate("node => node.scrollIntoView({ block: 'center' })")
        page.screenshot(path=ARTIFACTS / f"{name}-{theme.lower()}.png")


def saved(lab: Any, page: Page, name: str) -> Any:
    page.evaluate("async () => { await jupyterapp.commands.execute('docmanager:save') }")
    return json.loads((lab.work / name).read_text())


def widgets_in(notebook: Any) -> list[Any]:
    return [
        o for c in notebook["cells"] for o in c.get("outputs", ()) if WIDGET in o.get("data", {})
    ]


def test_failures_are_looked_into_and_run_again(
    lab: Any,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    use_theme: Callable[[str], None],
    wait_until: Callable[..., Any],
) -> None:
    gate, allowed = lab.work / "gate-of-failures", lab.work / "allowed-of-failures"
    page = open_notebook(
        "failures.ipynb",
        LOAD,
        CHOOSY.format(app="failures", gate=gate, allowed=allowed) + LOUD,
        "results = list(choosy.map(range(50), return_exceptions=True))",
        "import time\n"
        "while any(isinstance(result, Exception) for result in results):\n"
        "    time.sleep(0.02)  # put in place from outside\n"
        "print(sum(results), 'in all')",
    )
    run_all()
    widget = cell(page, 2).locator(".jp-nbfn-map-root")
    expect(widget).to_contain_text("40 / 50")
    expect(widget).to_contain_text("p95")
    widget.locator("summary", has_text="Errors (4 in 1 group)").click()
    widget.get_by_role("button", name="Traceback").click()
    expect(widget.locator("pre")).to_contain_text("raise ValueError(f'not {x} today')")
    widget.locator("summary", has_text="Logs").click()
    widget.get_by_role("searchbox").fill("at 33")
    expect(widget.locator(".jp-nbfn-map-log")).to_have_text("looks at 33")
    widget.locator("summary", has_text="Workers").click()
    expect(widget.locator("tbody tr").first).to_contain_text("busy")
    look(page, "map-opened", use_theme, widget)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    widget.get_by_role("button", name="Copy id").click()
    expect(widget.get_by_role("button", name="Copy id")).to_have_text("Copied")
    assert re.fullmatch(r"fc-\w{22}", page.evaluate("() => navigator.clipboard.readText()"))
    assert widgets_in(saved(lab, page, "failures.ipynb")) == []

    allowed.touch()
    widget.get_by_role("button", name="Retry 4").click()  # the cell still blocks
    expect(widget).to_contain_text("4 inputs run again")
    gate.touch()
    expect(cell(page, 3)).to_contain_text("12250 in all")
    expect(cell(page, 2)).to_contain_text(
        "4 inputs ran again on v1: 4 succeeded · the results are in `results`"
    )
    expect(cell(page, 2).locator(".jp-nbfn-snapshot").first).to_contain_text(
        "choosy.map · 50 succeeded"
    )
    expect(page.locator(".jp-nbfn-map-root")).to_have_count(0)
    look(page, "map-mended", use_theme, cell(page, 2))
    assert widgets_in(saved(lab, page, "failures.ipynb")) == []


def test_a_map_is_left_to_itself_and_its_failures_run_again_after_its_end(
    lab: Any,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    use_theme: Callable[[str], None],
) -> None:
    gate, allowed = lab.work / "gate2", lab.work / "allowed2"
    page = open_notebook(
        "detached.ipynb",
        LOAD,
        CHOOSY.format(app="detached", gate=gate, allowed=allowed) + LOUD,
        "results = list(choosy.map(range(50), return_exceptions=True))",
        "print('not reached')",
    )
    run_all()
    widget = cell(page, 2).locator(".jp-nbfn-map-root")
    expect(widget).to_contain_text("40 / 50")
    widget.get_by_role("button", name="Detach").click()
    expect(cell(page, 2)).to_contain_text("detached: choosy goes on in the background (fc-")
    expect(widget).to_contain_text("detached")
    expect(widget.get_by_role("button", name="Detach")).to_be_hidden()
    look(page, "map-detached", use_theme, cell(page, 2))
    gate.touch()
    retry = widget.get_by_role("button", name="Retry failed (5)")
    expect(retry).to_be_visible()
    look(page, "map-finished-with-failures", use_theme, cell(page, 2))
    notebook = saved(lab, page, "detached.ipynb")
    assert widgets_in(notebook) == []
    assert "45 succeeded, 5 failed" in json.dumps(notebook, ensure_ascii=False)
    allowed.touch()
    retry.click()
    expect(cell(page, 2)).to_contain_text(
        "5 inputs ran again on v1: 5 succeeded · the results are in place"
    )
    expect(cell(page, 2)).to_contain_text("50 succeeded")

    # What was saved while the widget lived opens without it, in a page with another kernel.
    lab.request("DELETE", f"api/sessions/{lab.request('GET', 'api/sessions')[0]['id']}")
    page = open_notebook("detached.ipynb")
    expect(page.locator(".jp-nbfn-snapshot")).to_contain_text("45 succeeded, 5 failed")
    expect(page.locator("body")).not_to_contain_text("model not found")
    look(page, "map-reopened", use_theme, cell(page, 2))


@contextlib.contextmanager
def without_a_hub(lab: Any, wait_until: Callable[..., Any]) -> Iterator[None]:
    """Kill it, and let none start: what marks a hub as there is held meanwhile."""
    places = Places.of(Path(lab.environment["NBFN_HOME"]))
    pid = lab.overview()["overview"]["hub"]["pid"]
    with places.lock_file.open("a") as lock:

        def locked() -> bool:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            return False

        os.kill(pid, signal.SIGKILL)
        wait_until(locked, "the hub is dead")
        yield


def test_a_map_outlives_the_hub(
    lab: Any,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    wait_until: Callable[..., Any],
) -> None:
    gate = lab.work / "gate3"
    page = open_notebook(
        "hub.ipynb",
        LOAD,
        f"%%remote --app outlives --max 2 --quiet\n"
        "def steady(x):\n"
        "    import time\n"
        "    from pathlib import Path\n"
        f"    while x >= 20 and not Path('{gate}').exists(): time.sleep(0.02)\n"
        "    time.sleep(0.03)\n"
        f"    return x * 10" + LOUD,
        "results = list(steady.map(range(60)))\nresults == [x * 10 for x in range(60)]",
    )
    run_all()
    widget = cell(page, 2).locator(".jp-nbfn-map-root")
    expect(widget).to_contain_text("20 / 60")
    expect(widget).to_contain_text("2 running")
    with without_a_hub(lab, wait_until):
        expect(widget).to_contain_text("reconnecting")
        expect(widget).to_contain_text("hub restarting")
        expect(widget).to_contain_text("left —")
        expect(widget).to_contain_text("20 / 60")
        widget.scroll_into_view_if_needed()
        page.screenshot(path=ARTIFACTS / "map-reconnecting.png")
        gate.touch()  # what runs ends while nobody hears of it
    expect(cell(page, 2).locator(".jp-nbfn-snapshot")).to_contain_text("steady.map · 60 succeeded")
    expect(cell(page, 2)).to_contain_text("True")


def test_a_map_as_a_value_and_the_card_of_its_function(
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    use_theme: Callable[[str], None],
) -> None:
    page = open_notebook(
        "values.ipynb",
        LOAD,
        "%%remote --app values --max 2 --quiet\n"
        "from typing import Literal\n"
        "def embed(x: int, how: Literal['fast', 'slow'] = 'fast', shout: bool = False, more: list = []):\n"
        "    'Return what was asked for, in a list.'\n"
        "    return [x, how, shout, more]\n%local\nget_ipython()._nbfn_observer.quiet.clear()",
        "embed.map(range(3))",
        "embed",
        "import time, pathlib\n"
        "while not pathlib.Path('card-was-used').exists():\n"
        "    time.sleep(0.05)\n"
        "print('goes on')",
    )
    run_all()
    expect(cell(page, 2)).to_contain_text("embed.map · 3 succeeded")
    card = cell(page, 3).locator(".jp-nbfn-function-root")
    expect(card).to_contain_text("embed v1")
    card.get_by_role("button", name="One worker more").click()  # while a cell blocks
    expect(card).to_contain_text("warm 1 ·")
    card.get_by_role("button", name="Call…").click()
    card.get_by_label(re.compile("^x")).fill("7")
    card.get_by_label(re.compile("^how")).select_option("'slow'")
    card.get_by_label(re.compile("^shout")).check()
    card.get_by_label(re.compile("^more")).fill("[1, 2")
    card.get_by_role("button", name="Run").click()
    expect(card).to_contain_text("more: SyntaxError")
    card.get_by_label(re.compile("^more")).fill("[1, 2]")
    card.get_by_role("button", name="Run").click()
    expect(card.locator("pre")).to_have_text("[7, 'slow', True, [1, 2]]")
    look(page, "function-card", use_theme, card)
    page.set_viewport_size({"width": 520, "height": 800})
    look(page, "function-card-narrow", use_theme, card)
    page.set_viewport_size({"width": 1280, "height": 800})
    card.get_by_role("button", name="One worker fewer").click()
    expect(card).to_contain_text("warm 0 ·")
