"""Commands of nbfn in JupyterLab's notebooks: remote cells, code about Functions, marks, and the drag of a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, expect

from .conftest import ARTIFACTS, Lab

LOAD = "%load_ext nbfn"
AREA = "%%remote --app shapes\ndef area(radius: float) -> float:\n    return 3 * radius**2"
SLOW = (
    "%%remote --app shapes --max 2\n"
    "def slow(x):\n    import time\n    print('input', x)\n    time.sleep(0.5)\n    return x"
)


def execute(page: Page, command: str, **args: Any) -> None:
    """Execute a command without waiting for its end."""
    page.evaluate(
        "([command, args]) => { void jupyterapp.commands.execute(command, args) }", [command, args]
    )


def sources(page: Page) -> list[str]:
    """The sources of the cells of the open notebook."""
    found: list[str] = page.evaluate(
        "() => jupyterapp.shell.currentWidget.content.widgets"
        ".map(cell => cell.model.sharedModel.getSource())"
    )
    return found


def activate(page: Page, index: int) -> None:
    page.evaluate(
        "index => { jupyterapp.shell.currentWidget.content.activeCellIndex = index }", index
    )


def mark(page: Page, index: int) -> Locator:
    return page.locator(".jp-Notebook .jp-Cell").nth(index).locator(".jp-nbfn-cellMark")


def replace(page: Page, index: int, source: str) -> None:
    page.evaluate(
        "([index, source]) => jupyterapp.shell.currentWidget.content.widgets[index]"
        ".model.sharedModel.setSource(source)",
        [index, source],
    )


def test_toggle_adds_the_magic_and_removes_it(open_notebook: Callable[..., Page]) -> None:
    page = open_notebook("toggle.ipynb", "def f(): ...")
    activate(page, 0)
    page.keyboard.press("Escape")
    page.locator(".jp-Notebook .jp-Cell").first.click()
    page.keyboard.press("Alt+r")
    page.wait_for_function(
        "() => jupyterapp.shell.currentWidget.content.widgets[0].model.sharedModel.getSource()"
        ".startsWith('%%remote')"
    )
    assert sources(page) == ["%%remote\ndef f(): ..."]
    assert page.evaluate("() => jupyterapp.commands.isToggled('nbfn:toggle-remote')")
    execute(page, "nbfn:toggle-remote")
    page.wait_for_function(
        "() => !jupyterapp.shell.currentWidget.content.widgets[0].model.sharedModel.getSource()"
        ".startsWith('%%remote')"
    )
    assert sources(page) == ["def f(): ..."]


def test_run_remotely_in_the_cell_toolbar(
    lab: Lab, open_notebook: Callable[..., Page], run_all: Callable[[], None]
) -> None:
    page = open_notebook("run-remotely.ipynb", LOAD, "import os\nprint('on', os.getpid())")
    activate(page, 1)
    button = page.locator(".jp-cell-toolbar [data-command='nbfn:run-remotely']").first
    execute(page, "notebook:run-all-cells")
    expect(page.locator(".jp-OutputArea-output", has_text="on ")).to_be_visible()
    activate(page, 1)
    expect(button).to_be_visible()
    page.screenshot(path=ARTIFACTS / "lab-cell-toolbar.png")
    button.click()
    expect(page.locator(".jp-OutputArea-output", has_text="ran on wk-")).to_be_visible()
    assert sources(page)[1].startswith("%%remote\nimport os")


def test_marks_say_registered_edited_and_running(
    lab: Lab,
    open_notebook: Callable[..., Page],
    use_theme: Callable[[str], None],
    wait_until: Callable[..., Any],
) -> None:
    page = open_notebook("marks.ipynb", LOAD, AREA, SLOW, "handle = slow.spawn_map(range(40))")
    expect(mark(page, 1)).to_contain_text("new")
    execute(page, "notebook:run-all-cells")
    expect(mark(page, 1)).to_have_text("✓ v1")
    expect(mark(page, 1)).to_have_attribute("title", "Registered: shapes/area v1.")
    expect(mark(page, 2)).to_contain_text("running on v1")
    expect(mark(page, 0)).to_have_count(0)

    replace(page, 1, AREA + " + 1")
    replace(page, 2, SLOW + " + 1")
    expect(mark(page, 1)).to_have_text("▲ edited")
    expect(mark(page, 2)).to_contain_text("edited")
    expect(mark(page, 2)).to_contain_text("running on v1")
    for theme in ("Light", "Dark"):
        use_theme(f"JupyterLab {theme}")
        page.screenshot(path=ARTIFACTS / f"lab-marks-{theme.lower()}.png")
    replace(page, 1, AREA)
    expect(mark(page, 1)).to_have_text("✓ v1")
    [call] = [c for c in lab.overview()["overview"]["calls"] if c["function"] == "slow"]
    lab.request("POST", f"nbfn/api/calls/{call['id']}/cancel")
    expect(mark(page, 2)).to_have_text("▲ edited")


def test_insert_call_import_and_drag_a_row(
    lab: Lab,
    open_notebook: Callable[..., Page],
    open_sidebar: Callable[[], Any],
) -> None:
    lab.run_python(
        "import nbfn\napp = nbfn.App('dragged')\n"
        "@app.function(serialized=True)\n"
        "def volume(side: float, *, unit: str = 'm') -> float: return side**3\n"
        "app.deploy()\n"
    )
    page = open_notebook("insert.ipynb", "1 + 1")
    panel = open_sidebar()
    row = panel.locator("[data-function]", has_text="volume")
    expect(row).to_be_visible()
    function = row.get_attribute("data-function")
    activate(page, 0)
    execute(page, "nbfn:insert-call", functionId=function)
    expected = (
        'import nbfn\n\nvolume = nbfn.Function.from_name("dragged", "volume")\n'
        "volume.remote(side=1.0)"
    )
    expect(page.locator(".jp-Notebook .jp-Cell")).to_have_count(2)
    page.wait_for_function(
        "() => jupyterapp.shell.currentWidget.content.widgets[1].model.sharedModel.getSource()"
    )
    assert sources(page)[1] == expected
    execute(page, "notebook:run-cell")
    expect(page.locator(".jp-OutputArea-output", has_text="1.0")).to_be_visible()
    execute(page, "nbfn:insert-import", functionId=function)
    page.wait_for_function("() => jupyterapp.shell.currentWidget.content.widgets.length >= 3")
    expect(page.locator(".jp-Notebook .jp-Cell", has_text="volume_2 =")).to_be_visible()

    count = len(sources(page))
    page.set_viewport_size({"width": 1280, "height": 1400})
    start = row.bounding_box()
    target = page.locator(".jp-Notebook .jp-Cell").first.bounding_box()
    assert start is not None
    assert target is not None
    row.hover(position={"x": 60, "y": 10})
    with page.expect_response("**/nbfn/api/functions/**"):
        page.mouse.down()
    page.wait_for_timeout(0)
    page.mouse.move(start["x"] + 40, start["y"] + 20, steps=3)
    page.mouse.move(target["x"] + 200, target["y"] + 10, steps=8)
    page.screenshot(path=ARTIFACTS / "lab-drag.png")
    page.mouse.up()
    expect(page.locator(".jp-Notebook .jp-Cell")).to_have_count(count + 1)
    page.set_viewport_size({"width": 1280, "height": 800})
    assert sources(page)[0] == expected.replace("volume =", "volume_3 =").replace(
        "\nvolume.", "\nvolume_3."
    )
