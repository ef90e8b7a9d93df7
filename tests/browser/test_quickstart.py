"""The quickstart in JupyterLab: prints, progress, plot, error; Cancel while the cell blocks."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from .conftest import ARTIFACTS

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
#: Milliseconds that the whole standard library may take on a busy machine.
LONG = 120_000

SLOW = """%%remote --app cancel
import time

def slow(x):
    print("at", x)
    time.sleep(0.1)
    if x % 20 == 7:
        raise ValueError(f"bad input {x}")
    return x
"""


def cell(page: Page, number: int) -> Locator:
    """A code cell of the open notebook, counted from 0."""
    return page.locator(".jp-Notebook .jp-CodeCell").nth(number)


def output(page: Page, number: int) -> Locator:
    return cell(page, number).locator(".jp-OutputArea-output")


def look(page: Page, name: str, at: Locator) -> None:
    # Lab takes cells out of the page that are out of sight: jump, then look.
    at.evaluate("node => node.scrollIntoView({ block: 'center' })")
    expect(at).to_be_in_viewport()
    page.screenshot(path=ARTIFACTS / f"{name}.png")


def test_the_quickstart(
    lab: Any,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    open_sidebar: Callable[[], Any],
    use_theme: Callable[[str], None],
) -> None:
    for name in ("quickstart.ipynb", "from_name.ipynb"):
        shutil.copy(NOTEBOOKS / name, lab.work / name)
    page = open_notebook("quickstart.ipynb")
    panel = open_sidebar()
    run_all()

    expect(cell(page, 1)).to_contain_text("app quickstart · captures")
    expect(cell(page, 2)).to_contain_text("decoder: ")  # a print of a worker
    progress = cell(page, 3).get_by_role("progressbar")
    expect(progress).to_be_visible()
    expect(panel).to_contain_text("measure.map")
    expect(cell(page, 3)).to_contain_text("Logs")
    look(page, "quickstart-running", progress)  # the README's picture
    # Some files cannot be parsed: the widget stays, for its buttons.
    snapshot = cell(page, 3).locator(".jp-nbfn-map-root")
    expect(snapshot).to_contain_text("measure.map", timeout=LONG)
    expect(progress).to_have_count(0)
    expect(cell(page, 3)).to_contain_text("files cannot be parsed")
    expect(cell(page, 4)).to_contain_text("complexity  lines  function")
    expect(cell(page, 7).locator("img")).to_be_visible(timeout=LONG)
    # The spawned call prints under its own cell, after others have run.
    expect(cell(page, 6)).to_contain_text("files read", timeout=LONG)
    expect(cell(page, 8)).to_contain_text("self")
    expect(cell(page, 9)).to_contain_text("FileNotFoundError")
    expect(cell(page, 9)).to_contain_text("measure ran on wk-")
    look(page, "quickstart-map", snapshot)
    snapshot.locator("summary", has_text="Logs").click()
    look(page, "quickstart-plot", cell(page, 7))
    look(page, "quickstart-error", cell(page, 9))
    use_theme("JupyterLab Dark")
    look(page, "quickstart-map-dark", snapshot)
    look(page, "quickstart-error-dark", cell(page, 9))


def test_cancel_works_while_the_cell_blocks(
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    use_theme: Callable[[str], None],
) -> None:
    page = open_notebook(
        "cancel.ipynb",
        "%load_ext nbfn",
        SLOW,
        "import time\n"
        "try:\n"
        "    results = list(slow.map(range(900), return_exceptions=True))\n"
        "finally:\n"
        "    ended = time.time()\n",
        "print('the notebook goes on')",
    )
    run_all()
    progress = cell(page, 2).get_by_role("progressbar")
    expect(progress).to_have_attribute("aria-valuetext", re.compile(r"^[1-9]\d* of "))
    expect(progress).to_have_attribute("aria-valuemax", "900")
    cell(page, 2).locator("summary", has_text="Logs").click()
    expect(cell(page, 2)).to_contain_text("at 10")
    look(page, "map-running", progress)
    use_theme("JupyterLab Dark")
    look(page, "map-running-dark", progress)
    cancel = cell(page, 2).get_by_role("button", name="Cancel")
    cancel.click()
    expect(progress).to_have_count(0, timeout=3_000)
    expect(cell(page, 2).locator(".jp-nbfn-map-root")).to_contain_text("cancelled")
    expect(cell(page, 2).get_by_role("button", name=re.compile("Retry failed"))).to_be_visible()
    look(page, "map-cancelled-dark", cell(page, 2))
    use_theme("JupyterLab Light")
    look(page, "map-cancelled", cell(page, 2))
