"""The widget of a spawned call on a real page: it lives, its buttons work, and it becomes static."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from .conftest import ARTIFACTS

LOAD = "%load_ext nbfn"
TRAIN = (
    "%%remote --app handles --max 2 --quiet\n"
    "def train(epochs):\n"
    "    import time\n"
    "    for epoch in range(epochs):\n"
    "        print(f'epoch {epoch + 1}/{epochs} loss {1 / (epoch + 1):.2f}')\n"
    "        time.sleep(0.1)\n"
    "    return {'loss': 1 / epochs}"
)


def test_a_handle_lives_and_its_buttons_work(
    lab: Any,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    use_theme: Callable[[str], None],
) -> None:
    page = open_notebook(
        "handles.ipynb",
        LOAD,
        TRAIN,
        "call = train.spawn(600)\ncall",
        "short = train.spawn(4)\nshort",
        "%%remote --app handles --quiet\n"
        "def fit(root):\n"
        "    import pathlib\n"
        "    return 'fitted to ' + (pathlib.Path(root) / 'data-of-handles').read_text()\n"
        "%local\nimport os\nbad = fit.spawn(os.getcwd())\nbad",
    )
    run_all()
    widget = page.locator(".jp-nbfn-handle-root").first
    expect(widget).to_contain_text("train v1")
    expect(widget).to_contain_text("running")
    expect(widget).to_contain_text("loss")
    expect(widget).to_contain_text("· attempt 1")
    logs = widget.get_by_role("button", name="Logs")
    logs.click()
    expect(widget.locator("pre")).to_contain_text("epoch 1/600 loss 1.00")
    expect(logs).to_have_attribute("aria-expanded", "true")
    use_theme("JupyterLab Dark")
    page.screenshot(path=ARTIFACTS / "handle-dark.png")
    use_theme("JupyterLab Light")
    page.screenshot(path=ARTIFACTS / "handle-light.png")

    logs.click()
    expect(widget.locator("pre")).to_be_hidden()
    widget.get_by_role("button", name="Cancel").click()
    cancelled = page.locator(".jp-nbfn-handle-root", has_text="cancelled")
    expect(cancelled).to_be_visible()
    expect(cancelled.get_by_role("button", name="Retry")).to_be_visible()
    expect(cancelled.get_by_role("button", name="Cancel")).to_be_hidden()
    done = page.locator(".jp-nbfn-snapshot", has_text="{'loss': 0.25}")
    expect(done).to_contain_text("succeeded")
    expect(done).to_contain_text("kept until")
    expect(done).not_to_contain_text("/")
    expect(page.locator(".jp-nbfn-handle-root")).to_have_count(2)  # for their Retry buttons

    failed = page.locator(".jp-nbfn-handle-root", has_text="FileNotFoundError")
    expect(failed).to_contain_text("failed")
    failed.scroll_into_view_if_needed()
    page.screenshot(path=ARTIFACTS / "handle-failed.png")
    (lab.work / "data-of-handles").write_text("all of it")
    failed.get_by_role("button", name="Retry").click()
    mended = page.locator(".jp-nbfn-snapshot", has_text="'fitted to all of it'")
    expect(mended).to_contain_text("succeeded")
    expect(page.locator(".jp-nbfn-handle-root")).to_have_count(1)
    expect(cancelled).to_be_visible()
    page.screenshot(path=ARTIFACTS / "handle-ended.png")
