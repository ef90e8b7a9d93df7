"""Displays of calls find their calls again in a page that is opened later: with a kernel, without it, without a hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, expect

from .conftest import ARTIFACTS, TOKEN

LOAD = "%load_ext nbfn"
WAIT = """%%remote --app rebinding --max 4 --quiet
def wait(x, gate, root={root!r}):
    import time
    from pathlib import Path
    print('looks at', x)
    while x >= 3 and not Path(root, gate).exists():
        time.sleep(0.02)
    if x == 5: raise ValueError('five')
    print('has seen', x)
    return x * 10
"""


def cells(lab: Any, *more: str) -> list[str]:
    return [LOAD, WAIT.format(root=str(lab.work)), *more]


def save(page: Page) -> None:
    page.evaluate("async () => { await jupyterapp.commands.execute('docmanager:save') }")


def open_again(lab: Any, page: Page, name: str) -> None:
    """Open the notebook in a page that knows nothing; its kernel may be busy."""
    page.goto(f"{lab.url}/lab/tree/{name}?token={TOKEN}&reset")
    page.wait_for_function("() => window.jupyterapp !== undefined")
    page.wait_for_function("() => jupyterapp.shell.currentWidget?.context?.isReady === true")


def display(page: Page, number: int = 0) -> Locator:
    return page.locator(".jp-nbfn-display").nth(number)


def test_a_spawned_call_is_live_again_after_a_reload_with_its_kernel(
    lab: Any, page: Page, open_notebook: Callable[..., Page], run_all: Callable[[], None]
) -> None:
    name = "rebind-spawn.ipynb"
    open_notebook(name, *cells(lab, "call = wait.spawn(3, 'gate-of-spawn')\ncall"))
    run_all()
    expect(page.locator(".jp-nbfn-handle-root")).to_contain_text("running")
    save(page)
    open_again(lab, page, name)
    widget = display(page).locator(".jp-nbfn-handle-root")
    expect(widget).to_contain_text("running")
    widget.get_by_role("button", name="Logs").click()
    expect(widget.locator("pre")).to_contain_text("looks at 3")
    page.screenshot(path=ARTIFACTS / "rebind-spawn.png")
    (lab.work / "gate-of-spawn").touch()
    expect(page.locator(".jp-nbfn-snapshot")).to_contain_text("30")
    expect(page.locator(".jp-nbfn-handle-root")).to_have_count(0)
