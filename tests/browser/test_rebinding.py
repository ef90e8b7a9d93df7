"""Displays of calls find their calls again in a page that is opened later: with a kernel, without it, without a hub."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, expect

from nbfn.jupyter.views.display_registry import CALL_MIME

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
    lab.open_again(page, name)
    widget = display(page).locator(".jp-nbfn-handle-root")
    expect(widget).to_contain_text("running")
    widget.get_by_role("button", name="Logs").click()
    expect(widget.locator("pre")).to_contain_text("looks at 3")
    page.screenshot(path=ARTIFACTS / "rebind-spawn.png")
    (lab.work / "gate-of-spawn").touch()
    expect(page.locator(".jp-nbfn-snapshot")).to_contain_text("30")
    expect(page.locator(".jp-nbfn-handle-root")).to_have_count(0)


def from_hub(page: Page, number: int = 0) -> Locator:
    """A display that is drawn from the hub."""
    return display(page, number).locator(".jp-nbfn-call")


def test_a_spawned_call_is_drawn_from_the_hub_when_its_kernel_is_gone(
    lab: Any,
    page: Page,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    use_theme: Callable[[str], None],
) -> None:
    name = "rebind-gone.ipynb"
    code = "calls = [wait.spawn(x, 'gate-of-gone') for x in (3, 5, 3)]\n"
    open_notebook(name, *cells(lab, code + "display(*calls)"))
    run_all()
    expect(page.locator(".jp-nbfn-handle-root")).to_have_count(3)
    expect(page.locator(".jp-nbfn-handle-root").nth(2)).to_contain_text("running")
    save(page)
    lab.end_kernels()
    lab.open_again(page, name)
    for number in range(3):
        expect(from_hub(page, number)).to_contain_text("wait v1")
    expect(from_hub(page).locator(".jp-nbfn-call-output")).to_contain_text("looks at 3")
    from_hub(page, 2).get_by_role("button", name="Cancel").click()
    expect(from_hub(page, 2)).to_contain_text("cancelled")
    for theme in ("Dark", "Light"):
        use_theme(f"JupyterLab {theme}")
        page.screenshot(path=ARTIFACTS / f"rebind-gone-{theme.lower()}.png")
    (lab.work / "gate-of-gone").touch()
    expect(from_hub(page)).to_contain_text("succeeded")
    expect(from_hub(page)).to_contain_text("has seen 3")
    expect(from_hub(page)).to_contain_text("30")
    expect(from_hub(page, 1)).to_contain_text("ValueError: five")
    from_hub(page, 1).get_by_role("button", name="Retry failed (1)").click()
    again = from_hub(page, 1).locator(".jp-nbfn-call-output")
    expect(again).to_contain_text(re.compile("looks at 5.*looks at 5", re.DOTALL))
    expect(from_hub(page, 1)).to_contain_text("failed")
    page.screenshot(path=ARTIFACTS / "rebind-gone-ended.png")


def test_displays_of_a_restarted_kernel_are_drawn_from_the_hub(
    lab: Any, page: Page, open_notebook: Callable[..., Page], run_all: Callable[[], None]
) -> None:
    name = "rebind-restarted.ipynb"
    code = "call = wait.spawn(3, 'gate-of-restarted')\ncall"
    open_notebook(name, *cells(lab, code))
    run_all()
    widget = page.locator(".jp-nbfn-handle-root")
    expect(widget).to_contain_text("running")
    page.evaluate(
        "async () => { await jupyterapp.shell.currentWidget.sessionContext.restartKernel() }"
    )
    expect(from_hub(page)).to_contain_text("wait v1")  # without a reload
    expect(widget).to_have_count(0)
    save(page)
    lab.open_again(page, name)
    expect(from_hub(page)).to_contain_text("wait v1")
    (lab.work / "gate-of-restarted").touch()
    expect(from_hub(page)).to_contain_text("succeeded")


def test_a_map_and_a_busy_kernel(
    lab: Any, page: Page, open_notebook: Callable[..., Page], run_all: Callable[[], None]
) -> None:
    """The kernel is busy until the map ends: meanwhile its display is drawn from the hub."""
    name = "rebind-map.ipynb"
    wait = WAIT.replace(" --quiet", "").format(root=str(lab.work))
    code = "found = list(wait.map([1, 2, 3, 4], ['gate-of-map'] * 4))\nsum(found)"
    open_notebook(name, LOAD, wait, code)
    run_all()
    expect(page.locator(".jp-nbfn-map-root")).to_contain_text("2 / 4")
    save(page)
    lab.open_again(page, name)
    expect(from_hub(page)).to_contain_text("2 succeeded, ")
    expect(from_hub(page)).to_contain_text("looks at 3")
    page.screenshot(path=ARTIFACTS / "rebind-map.png")
    (lab.work / "gate-of-map").touch()
    expect(page.locator(".jp-nbfn-snapshot", has_text="4 ")).to_be_visible()
    expect(page.locator(".jp-nbfn-call")).to_have_count(0)


def test_a_display_that_was_not_saved_is_added_when_the_kernel_is_free(
    lab: Any, page: Page, open_notebook: Callable[..., Page], run_all: Callable[[], None]
) -> None:
    name = "rebind-unsaved.ipynb"
    wait = WAIT.replace(" --quiet", "").format(root=str(lab.work))
    code = "found = list(wait.map([1, 3], ['gate-of-unsaved'] * 2))"
    open_notebook(name, LOAD, wait, code)
    save(page)
    run_all()
    expect(page.locator(".jp-nbfn-map-root")).to_contain_text("1 / 2")
    lab.open_again(page, name)
    expect(page.locator(".jp-Notebook")).to_be_visible()
    expect(page.locator(".jp-nbfn-display")).to_have_count(0)
    (lab.work / "gate-of-unsaved").touch()
    expect(page.locator(".jp-nbfn-display")).to_contain_text("wait.map")


def test_a_call_that_blocks_its_cell_shows_its_output_and_its_result_on_return(
    lab: Any,
    page: Page,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    use_theme: Callable[[str], None],
) -> None:
    name = "rebind-blocking.ipynb"
    wait = WAIT.replace(" --quiet", "").format(root=str(lab.work))
    open_notebook(name, LOAD, wait, "wait.remote(3, 'gate-of-blocking')")
    run_all()
    expect(page.locator(".jp-nbfn-blocking-root")).to_contain_text("running")
    save(page)
    lab.open_again(page, name)
    shown = from_hub(page)
    expect(shown).to_contain_text("running")
    expect(shown).to_contain_text("looks at 3")
    expect(shown.get_by_role("button", name="Cancel")).to_be_visible()
    use_theme("JupyterLab Dark")
    page.screenshot(path=ARTIFACTS / "rebind-blocking-dark.png")
    use_theme("JupyterLab Light")
    (lab.work / "gate-of-blocking").touch()
    ended = display(page).locator(".jp-nbfn-snapshot")
    expect(ended).to_contain_text("succeeded")
    expect(display(page)).to_contain_text("30")
    page.screenshot(path=ARTIFACTS / "rebind-blocking.png")

    (lab.work / "gate-of-blocking").unlink()
    run_all()
    expect(page.locator(".jp-nbfn-blocking-root")).to_contain_text("running")
    save(page)
    lab.open_again(page, name)
    from_hub(page).get_by_role("button", name="Cancel").click()
    expect(display(page)).to_contain_text("cancelled")


def test_a_script_cell_that_was_left_running_comes_back(
    lab: Any, page: Page, open_notebook: Callable[..., Page], run_all: Callable[[], None]
) -> None:
    name = "rebind-script.ipynb"
    script = (
        f"%%remote --app rebinding -i root={str(lab.work)!r}\nimport time\nfrom pathlib import Path\n"
        "print('has begun')\n"
        "while not Path(root, 'gate-of-script').exists(): time.sleep(0.02)\n'the value'"
    )
    open_notebook(name, LOAD, script)
    run_all()
    expect(page.locator(".jp-nbfn-blocking-root")).to_contain_text("script")
    save(page)
    lab.open_again(page, name)
    expect(from_hub(page)).to_contain_text("has begun")
    (lab.work / "gate-of-script").touch()
    expect(display(page).locator(".jp-nbfn-snapshot")).to_contain_text("succeeded")


def test_without_a_hub_a_display_says_as_of_when_it_is_and_what_to_type(
    lab: Any, page: Page, open_notebook: Callable[..., Page], run_all: Callable[[], None]
) -> None:
    name = "rebind-no-hub.ipynb"
    open_notebook(name, *cells(lab, "call = wait.spawn(3, 'gate-of-no-hub')\ncall"))
    run_all()
    expect(page.locator(".jp-nbfn-handle-root")).to_contain_text("running")
    save(page)
    lab.end_kernels()
    lab.open_again(page, name)
    expect(from_hub(page)).to_contain_text("wait v1")
    lab.stop_hub()
    expect(from_hub(page)).to_contain_text("the hub does not answer")
    expect(from_hub(page)).to_contain_text("%fn attach fc-")
    expect(from_hub(page).get_by_role("button", name="Cancel")).to_be_hidden()
    page.screenshot(path=ARTIFACTS / "rebind-no-hub.png")
    lab.open_again(page, name)
    saved = display(page).locator(".jp-nbfn-snapshot")
    expect(saved).to_contain_text("as of ")
    expect(saved).to_contain_text("%fn attach fc-")
    lab.run_python("import nbfn; nbfn.calls()")  # starts the hub, which goes on with the call
    (lab.work / "gate-of-no-hub").touch()
    expect(from_hub(page)).to_contain_text("succeeded")


def test_the_saved_text_is_as_of_the_save(
    lab: Any,
    page: Page,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    wait_until: Callable[..., Any],
) -> None:
    name = "rebind-saved.ipynb"
    wait = WAIT.replace(" --quiet", "").format(root=str(lab.work))
    code = "for_all = wait.map(range(4), ['gate-of-saved'] * 4)\nfor_all"
    open_notebook(name, LOAD, wait, code, "call = wait.spawn(3, 'gate-of-saved')\ncall")
    run_all()
    expect(page.locator(".jp-nbfn-map-root")).to_contain_text("3 / 4")
    expect(page.locator(".jp-nbfn-handle-root")).to_contain_text("running")

    def saved() -> list[str]:
        save(page)
        notebook = json.loads((lab.work / name).read_text())
        outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
        shown = [output["data"] for output in outputs if CALL_MIME in output.get("data", {})]
        return ["".join(data["text/plain"]) for data in shown]

    mapped, spawned = wait_until(
        lambda: texts if "3 succeeded" in (texts := saved())[0] else None, "the counts are saved"
    )
    assert re.fullmatch(
        r"● wait v1 · running [\d:.]+ ?s? · fc-\w{4} · 3 succeeded, 1 running of 4 · as of .*shows it",
        mapped,
    )
    assert spawned.startswith("● wait v1 · running")
    (lab.work / "gate-of-saved").touch()
    expect(page.locator(".jp-nbfn-handle-root")).to_have_count(0)
    mapped, spawned = saved()
    assert mapped.startswith("✓ wait.map · ")
    assert spawned.endswith("\n  30")


def test_in_notebook_7_a_display_is_live_again(
    lab: Any, page: Page, open_notebook: Callable[..., Page], run_all: Callable[[], None]
) -> None:
    name = "rebind-notebook-7.ipynb"
    open_notebook(name, *cells(lab, "call = wait.spawn(3, 'gate-of-notebook-7')\ncall"))
    run_all()
    expect(page.locator(".jp-nbfn-handle-root")).to_contain_text("running")
    save(page)
    other = page.context.new_page()  # not checked for errors: Notebook 7 has some of its own
    try:
        other.goto(f"{lab.url}/notebooks/{name}?token={TOKEN}")
        widget = display(other).locator(".jp-nbfn-handle-root")
        expect(widget).to_contain_text("running")  # its kernel lives
        lab.end_kernels()
        other.reload()
        expect(from_hub(other)).to_contain_text("wait v1")
        (lab.work / "gate-of-notebook-7").touch()
        expect(from_hub(other)).to_contain_text("succeeded")
        other.screenshot(path=ARTIFACTS / "rebind-notebook-7.png")
    finally:
        other.close()


def test_the_end_of_a_long_call_is_announced_when_its_notebook_is_closed(
    lab: Any,
    page: Page,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    wait_until: Callable[..., Any],
) -> None:
    name = "rebind-notify.ipynb"
    code = "%remote notify on\nlong = wait.spawn(3, 'gate-of-notify')\nlong"
    open_notebook(name, *cells(lab, code))
    run_all()
    expect(page.locator(".jp-nbfn-handle-root")).to_contain_text("running")
    page.goto(f"{lab.url}/lab?token={TOKEN}&reset")
    page.wait_for_function("() => window.jupyterapp !== undefined")
    page.evaluate("async () => { await jupyterapp.restored; }")

    def is_long() -> bool:
        overview = lab.overview()["overview"]
        return any(
            row["notify"] and overview["now"] - row["started"] > 61 for row in overview["calls"]
        )

    wait_until(is_long, "the call has taken over a minute", 120)
    (lab.work / "gate-of-notify").touch()
    toast = page.locator(".Toastify__toast", has_text="wait v1 succeeded after 1:")
    expect(toast).to_be_visible()
    page.screenshot(path=ARTIFACTS / "rebind-notify.png")
