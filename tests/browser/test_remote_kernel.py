"""The remote kernel in JupyterLab: its cells run in a session, with plots and widgets as at home."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from .conftest import KERNEL_READY
from .test_quickstart import cell, look, output

PLOT = """
import matplotlib.pyplot as plt

plt.figure(figsize=(4, 1.5))
plt.plot([1, 3, 2])
plt.show()
"""

SLIDER = """
import ipywidgets

slider = ipywidgets.IntSlider(value=3, description='times')
product = ipywidgets.Label()

def multiply(change):
    product.value = f"kept × {change['new']} = {kept * change['new']}"

slider.observe(multiply, 'value')
ipywidgets.VBox([slider, product])
"""

CELLS = (
    "kept = 20\nprint('hello from the session')",
    "%%local\nprint('kept' in globals(), 'is what this side knows')",
    PLOT.strip(),
    SLIDER.strip(),
    "kept / 0",
)


def test_cells_run_in_the_session(
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    use_theme: Callable[[str], None],
) -> None:
    page = open_notebook("magic.ipynb", *CELLS, kernel="nbfn-remote")
    run_all()
    expect(cell(page, 0)).to_contain_text("started in")
    expect(cell(page, 0)).to_contain_text("hello from the session")
    expect(cell(page, 1)).to_contain_text("False is what this side knows")
    expect(cell(page, 2).locator("img")).to_be_visible()
    expect(cell(page, 4)).to_contain_text("ZeroDivisionError")
    handle = cell(page, 3).locator(".noUi-handle")
    handle.focus()
    handle.press("ArrowRight")
    expect(cell(page, 3)).to_contain_text("kept × 4 = 80")
    look(page, "magic-kernel", output(page, 0).first)
    look(page, "magic-kernel-error", cell(page, 4))
    use_theme("JupyterLab Dark")
    look(page, "magic-kernel-dark", output(page, 0).first)
    look(page, "magic-kernel-error-dark", cell(page, 4))


LOCAL_SLIDER = "%%local\nimport ipywidgets\nhere = ipywidgets.IntSlider(description='here')\nhere_shown = ipywidgets.Label()\nhere.observe(lambda change: setattr(here_shown, 'value', f\"here is {change['new']}\"), 'value')\nipywidgets.VBox([here, here_shown])"

NAP = (
    "%%remote --max 2\n"
    "def nap(seconds):\n"
    "    import time\n"
    "    for _ in range(round(seconds / 0.05)): time.sleep(0.05)\n"
    "    return seconds"
)


def reload(page: Page) -> None:
    """Save the notebook and open its page again."""
    page.evaluate("async () => { await jupyterapp.commands.execute('docmanager:save') }")
    page.reload()
    page.wait_for_function("() => window.jupyterapp !== undefined")
    page.wait_for_function("() => jupyterapp.shell.currentWidget?.sessionContext !== undefined")
    page.wait_for_function(KERNEL_READY)


def move(page: Page, number: int) -> None:
    """Move the slider of a cell by one step."""
    handle = cell(page, number).locator(".noUi-handle")
    handle.focus()
    handle.press("ArrowRight")


def test_widgets_live_after_a_reload(
    open_notebook: Callable[..., Page], run_all: Callable[[], None]
) -> None:
    """Those of the session, as those of any kernel; and those of `%%local` cells."""
    page = open_notebook(
        "reloaded.ipynb", "kept = 20", SLIDER.strip(), LOCAL_SLIDER, kernel="nbfn-remote"
    )
    run_all()
    expect(cell(page, 2).locator(".noUi-handle")).to_be_visible()
    move(page, 1)
    expect(cell(page, 1)).to_contain_text("kept × 4 = 80")
    move(page, 2)
    expect(cell(page, 2)).to_contain_text("here is 1")
    reload(page)
    expect(cell(page, 1)).to_contain_text("kept × 4 = 80")
    move(page, 1)
    expect(cell(page, 1)).to_contain_text("kept × 5 = 100")
    expect(cell(page, 2)).to_contain_text("here is 1")
    move(page, 2)
    expect(cell(page, 2)).to_contain_text("here is 2")
