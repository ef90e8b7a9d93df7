"""The line of a `remote` call on a real page: its state, and Cancel while the cell blocks; on both kernels."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from .test_quickstart import cell, look

NAP = (
    "%%remote --max 2\n"
    "def nap(seconds):\n"
    "    import time\n"
    "    for _ in range(round(seconds / 0.05)): time.sleep(0.05)\n"
    "    return 'rested'"
)
CELLS = (
    NAP,
    "nap.remote(600)",
    "nap.remote(2)",
    (
        "import threading\n"
        "threads = [threading.Thread(target=nap.remote, args=(600,)) for _ in range(3)]\n"
        "for thread in threads: thread.start()\n"
        "print('started')"
    ),
)


@pytest.mark.parametrize("kernel", ["python3", "nbfn-remote"])
def test_a_blocking_call_shows_its_state_and_is_cancelled(
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    use_theme: Callable[[str], None],
    kernel: str,
) -> None:
    load = ["%load_ext nbfn"] if kernel == "python3" else ["started = True"]
    page = open_notebook(f"blocking-{kernel}.ipynb", *load, *CELLS, kernel=kernel)
    run_all()
    line = cell(page, 2).locator(".jp-nbfn-blocking-root")
    expect(line).to_contain_text("nap.remote v1")
    expect(line).to_contain_text(re.compile(r"running \d+\.\d s · wk-\w{6} · fc-\w{4}"))
    look(page, f"blocking-{kernel}", line)
    use_theme("JupyterLab Dark")
    look(page, f"blocking-{kernel}-dark", line)
    use_theme("JupyterLab Light")
    line.get_by_role("button", name=re.compile("Cancel nap.remote")).click()
    ended = cell(page, 2).locator(".jp-nbfn-snapshot")
    expect(ended).to_contain_text(re.compile(r"■ nap\.remote v1 · cancelled"))
    expect(line).to_have_count(0)
    look(page, f"blocking-{kernel}-cancelled", cell(page, 2))

    # The failed cell has stopped those below.
    page.evaluate("() => { jupyterapp.shell.currentWidget.content.activeCellIndex = 3 }")
    page.evaluate("() => { void jupyterapp.commands.execute('notebook:run-cell') }")
    rested = cell(page, 3).locator(".jp-nbfn-snapshot")
    expect(rested).to_contain_text(re.compile(r"✓ nap\.remote v1 · succeeded 2\.\d s"))
    expect(cell(page, 3)).to_contain_text("'rested'")
    expect(cell(page, 3).get_by_text("'rested'")).to_have_count(1)

    # Threads of a cell that has ended: one line each, and each with its own button.
    page.evaluate("() => { jupyterapp.shell.currentWidget.content.activeCellIndex = 4 }")
    page.evaluate("() => { void jupyterapp.commands.execute('notebook:run-cell') }")
    lines = cell(page, 4).locator(".jp-nbfn-blocking-root .jp-nbfn-ui-head:visible")
    expect(lines).to_have_count(3)
    look(page, f"blocking-{kernel}-threads", cell(page, 4))
    buttons = cell(page, 4).get_by_role("button", name=re.compile("Cancel nap.remote"))
    buttons.first.click()
    expect(lines.last).to_contain_text("cancelled")
    for left in (2, 1):
        expect(buttons).to_have_count(left)
        buttons.first.click()
    expect(cell(page, 4).locator(".jp-nbfn-snapshot")).to_contain_text("3 cancelled")
