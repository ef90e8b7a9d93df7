"""Notebooks saved during a run and after it, opened again in a fresh page, with their kernel and without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from .conftest import ARTIFACTS

AUDIT = (Path(__file__).parent / "audit.js").read_text()
#: Where a front end says that a widget cannot be shown.
DEAD = ".jupyter-widgets-disconnected, .jp-RenderedWidget, .lm-Widget:has-text('model not found')"

CELLS = [
    "%load_ext nbfn",
    """%%remote --app reopened --max 6
def wait(x, gate='gate-of-reopened', root={root!r}):
    import time
    from pathlib import Path
    print('looks at', x)
    while x >= 3 and not Path(root, gate).exists():
        time.sleep(0.02)
    return x
""",
    "wait",
    "call = wait.spawn(3)\ncall",
    "list(wait.map(range(4)))",
]


def outputs(page: Page) -> Locator:
    return page.locator(".jp-Notebook .jp-OutputArea")


def save(lab: Any, page: Page, name: str) -> None:
    page.evaluate("async () => { await jupyterapp.commands.execute('docmanager:save') }")
    saved = json.dumps(json.loads((lab.work / name).read_text()))
    assert "application/vnd.jupyter.widget-view+json" not in saved


def look_again(lab: Any, page: Page, name: str) -> None:
    """Open it in a page that knows nothing; a kernel that is busy does not matter."""
    lab.open_again(page, name)
    expect(page.locator(".jp-nbfn-snapshot").first).to_be_visible()


def test_a_notebook_reads_well_whenever_it_was_saved(
    lab: Any,
    page: Page,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    use_theme: Callable[[str], None],
) -> None:
    name = "reopened.ipynb"
    open_notebook(name, *(cell.replace("{root!r}", repr(str(lab.work))) for cell in CELLS))
    run_all()
    expect(page.locator(".jp-nbfn-function-root")).to_be_visible()
    expect(page.locator(".jp-nbfn-handle-root")).to_contain_text("running")
    running = page.locator(".jp-nbfn-map-root", has_text="3 / 4")
    expect(running).to_be_visible()
    save(lab, page, name)

    def seen(when: str, counts: dict[str, int]) -> None:
        for text, count in counts.items():
            expect(page.locator(".jp-nbfn-snapshot", has_text=text)).to_have_count(count)
        expect(page.locator(DEAD)).to_have_count(0)
        for theme in ("Dark", "Light"):
            use_theme(f"JupyterLab {theme}")
            page.screenshot(path=ARTIFACTS / f"reopened-{when}-{theme.lower()}.png")
            found = [say for at in outputs(page).all() for say in at.evaluate(AUDIT)]
            assert found == []

    during = {"wait(x, gate": 1, "wait v1 · ": 2, "shows it": 2}
    look_again(lab, page, name)  # its kernel is busy
    seen("during", during)
    lab.end_kernels()
    look_again(lab, page, name)
    seen("without-kernel", during)

    open_notebook(name)
    run_all()
    expect(running).to_be_visible()
    (lab.work / "gate-of-reopened").touch()
    for end in ("wait.map · 4 succeeded", "wait v1 · succeeded"):
        expect(page.locator(".jp-nbfn-snapshot", has_text=end)).to_be_visible()
    save(lab, page, name)
    lab.end_kernels()
    look_again(lab, page, name)
    seen(
        "after",
        {"wait(x, gate": 1, "wait v1 · succeeded": 1, "wait.map · 4 succeeded": 1, "shows it": 0},
    )
