"""The remote kernel in JupyterLab: its cells run in a session, with plots and widgets as at home."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from .conftest import KERNEL_READY, Lab
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


LOCAL_SLIDER = """%%local
import ipywidgets

here = ipywidgets.IntSlider(description='here')
shown = ipywidgets.Label()
here.observe(lambda change: setattr(shown, 'value', f"here is {change['new']}"), 'value')
ipywidgets.VBox([here, shown])"""


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


def session_item(page: Page) -> Any:
    return page.locator(".jp-NotebookPanel:visible .jp-nbfn-session")


def test_the_toolbar_names_the_session_and_asks_before_it_is_ended(
    lab: Lab,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    use_theme: Callable[[str], None],
) -> None:
    page = open_notebook("named.ipynb", "import os\nkept = os.getpid()", kernel="nbfn-remote")
    item = session_item(page)
    expect(item).to_contain_text("○ no session")
    run_all()
    running = re.compile(rf"● session wk-\w{{6}} on {re.escape(socket.gethostname())}")
    expect(item).to_contain_text(running)
    expect(cell(page, 0)).to_contain_text("started in")
    look(page, "session-toolbar", item)
    use_theme("JupyterLab Dark")
    look(page, "session-toolbar-dark", item)
    use_theme("JupyterLab Light")

    # Cancelling the question changes nothing.
    item.get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(socket.gethostname())
    look(page, "session-dialog", dialog)
    dialog.get_by_role("button", name="End session…").click()
    expect(dialog).to_contain_text("All its variables will be lost.")
    look(page, "session-question", dialog)
    dialog.get_by_role("button", name="Cancel").click()
    expect(item).to_contain_text(running)
    before = str(running.search(item.inner_text())[0])  # type: ignore[index]

    # It is there after a reload, and is another one after a restart.
    reload(page)
    expect(session_item(page)).to_contain_text(before)
    item.get_by_role("button").click()
    dialog.get_by_role("button", name="Restart session…").click()
    dialog.get_by_role("button", name="Restart session").click()
    expect(item).not_to_contain_text(before)
    expect(item).to_contain_text(running)

    # Ended from the panel, which asks, too; then the item says so, and the next cell starts another.
    panel = open_sidebar_of(page)
    panel.get_by_role("button", name="End the session of named.ipynb").click()
    expect(dialog).to_contain_text("variables")
    dialog.get_by_role("button", name=re.compile("^End")).click()
    expect(item).to_contain_text("○ no session")
    expect(item.locator("jp-button")).to_have_attribute(
        "title", re.compile("The last session ended")
    )
    run_all()
    expect(item).to_contain_text(running)
    expect(cell(page, 0)).to_contain_text("its variables are lost")

    # A restart of the kernel ends it.
    page.evaluate(
        "async () => { await jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart() }"
    )
    expect(item).to_contain_text("○ no session")
    run_all()
    expect(item).to_contain_text(running)


def open_sidebar_of(page: Page) -> Any:
    page.evaluate("() => jupyterapp.shell.activateById('nbfn-sidebar')")
    return page.locator("#nbfn-sidebar")


def test_a_notebook_on_another_kernel_names_no_session(open_notebook: Callable[..., Page]) -> None:
    page = open_notebook("plain.ipynb", "1")
    expect(page.locator(".jp-nbfn-session")).to_be_hidden()
