"""The remote kernel in JupyterLab: its cells run in a session, with plots and widgets as at home."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

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
