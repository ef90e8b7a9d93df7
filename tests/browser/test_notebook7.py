"""Notebook 7 loads the plugins that it has a place for: panel, marks, and logs below the notebook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nbformat
from playwright.sync_api import BrowserContext, expect

from .conftest import ARTIFACTS, TOKEN, Lab


def test_panel_marks_and_logs(
    lab: Lab, browser_context: BrowserContext, wait_until: Callable[..., Any]
) -> None:
    # Not the fixture `page`: Notebook's own code reports an error when the settings of an extension are loaded.
    page = browser_context.new_page()
    cells = (
        "%load_ext nbfn",
        "%%remote --app seven\ndef area(r):\n    print('radius', r)\n    return 3 * r",
        "area.remote(2)",
    )
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "python3"}},
    )
    nbformat.write(notebook, lab.work / "seven.ipynb")
    page.goto(f"{lab.url}/notebooks/seven.ipynb?token={TOKEN}")
    first = page.locator(".jp-Notebook .jp-Cell").first
    expect(first).to_be_visible()
    wait_until(
        lambda: any(
            session["kernel"]["execution_state"] == "idle" and session["kernel"]["connections"]
            for session in lab.request("GET", "api/sessions")
        ),
        "the kernel is connected",
    )
    first.click()
    for _ in cells:
        page.keyboard.press("Shift+Enter")
    expect(page.locator(".jp-nbfn-cellMark")).to_have_text("✓ v1")
    expect(page.locator(".jp-OutputArea-output", has_text="6").last).to_be_visible()

    panel = page.locator("#nbfn-sidebar")
    expect(panel).to_be_hidden()
    page.keyboard.press("Alt+Shift+F")
    expect(panel.get_by_role("treeitem", name="area").first).to_be_visible()
    panel.get_by_role("treeitem", name="area").first.click(button="right")
    page.locator(".lm-Menu").get_by_text("Show Logs").click()
    log = page.locator(".jp-nbfn-logs")
    expect(log.locator(".jp-nbfn-logText", has_text="radius 2")).to_be_visible()
    page.screenshot(path=ARTIFACTS / "notebook7.png")
    log.get_by_role("searchbox").fill("nothing of this")
    expect(log).to_contain_text("No line matches the filters.")
    page.close()
    lab.end_kernels()
