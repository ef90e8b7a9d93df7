"""What nbfn adds to JupyterLab: status bar, running sessions, launcher, menus, settings, consoles."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .conftest import ARTIFACTS, Lab
from .test_commands import LOAD, SLOW, execute, sources

SLEEPER = (
    "import nbfn, time\n"
    "app = nbfn.App('sleepers')\n"
    "@app.function(serialized=True, max_containers=1)\n"
    "def sleeper(path):\n"
    "    import os, time\n"
    "    secret = 'mine'\n"
    "    print('waiting')\n"
    "    while not os.path.exists(path): time.sleep(0.05)\n"
    "    return path\n"
    "app.deploy()\n"
    "call = sleeper.spawn(PATH)\n"
    "while not nbfn.Client.attach().overview().workers: time.sleep(0.1)\n"
)


#: The script that made the call has ended, so that the call is detached.
ACTIVE = ("starting", "running", "detached")


@pytest.fixture
def sleeper(lab: Lab, wait_until: Callable[..., Any]) -> Any:
    """A spawned call that runs until the test has ended."""
    gate = lab.work / "gate"
    gate.unlink(missing_ok=True)
    lab.run_python(SLEEPER.replace("PATH", repr(str(gate))))
    find = lambda: next(  # noqa: E731
        (c for c in lab.overview()["overview"]["calls"] if c["state"] in ACTIVE), None
    )
    yield wait_until(find, "the call runs")
    gate.touch()
    wait_until(lambda: find() is None, "the call has ended")


def test_the_status_bar_counts_what_runs_and_opens_the_panel(
    lab: Lab, open_lab: Callable[[], Page], sleeper: Any
) -> None:
    page = open_lab()
    status = page.locator("#jp-bottom-panel, .jp-StatusBar-Widget").get_by_role(
        "button", name="nbfn"
    )
    expect(status).to_have_text("nbfn ● 1 running")
    page.screenshot(path=ARTIFACTS / "lab-status.png")
    (lab.work / "gate").touch()
    expect(status).to_have_text("nbfn ○ idle")
    expect(page.locator("#nbfn-sidebar")).to_be_hidden()
    status.click()
    expect(page.locator("#nbfn-sidebar")).to_be_visible()


def test_the_running_panel_lists_and_ends_calls_and_workers(
    lab: Lab, open_lab: Callable[[], Page], sleeper: Any, wait_until: Callable[..., Any]
) -> None:
    page = open_lab()
    page.evaluate("() => jupyterapp.shell.activateById('jp-running-sessions')")
    panel = page.locator("#jp-running-sessions")
    call = panel.locator(".jp-RunningSessions-item", has_text="sleeper.spawn")
    expect(call).to_contain_text("detached")
    workers = panel.locator(".jp-RunningSessions-item", has_text="busy")
    expect(workers.first).to_be_visible()
    page.screenshot(path=ARTIFACTS / "lab-running.png")
    call.hover()
    call.get_by_title("Cancel").click()
    expect(call).to_have_count(0)
    wait_until(
        lambda: (
            lab.request("GET", f"nbfn/api/calls/{sleeper['id']}")["call"]["state"] == "cancelled"
        ),
        "the call is cancelled",
    )


def test_the_launcher_has_cards_with_their_own_icons(open_lab: Callable[[], Page]) -> None:
    page = open_lab()
    section = page.locator(".jp-Launcher-section", has_text="Remote Notebook")
    for name, icon in (
        ("Remote Notebook", "nbfn:remote-notebook"),
        ("Notebook with %%remote", "nbfn:notebook"),
        ("Show Functions and Calls", "nbfn:nbfn"),
    ):
        card = section.locator(".jp-LauncherCard", has_text=name)
        expect(card.locator(f"svg[data-icon='{icon}']")).to_be_visible()
    section.scroll_into_view_if_needed()
    page.screenshot(path=ARTIFACTS / "lab-launcher.png")
    section.locator(".jp-LauncherCard", has_text="Notebook with %%remote").click()
    page.wait_for_function(
        "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.name === 'nbfn'"
    )


def test_every_command_is_in_the_palette(open_lab: Callable[[], Page]) -> None:
    page = open_lab()
    expect(page.locator(".jp-Launcher")).to_be_focused()
    page.keyboard.press("Control+Shift+C")
    palette = page.locator(".jp-ModalCommandPalette")
    palette.locator("input").fill("nbfn")
    expect(palette.get_by_text("Connect to a Hub…")).to_be_visible()
    page.screenshot(path=ARTIFACTS / "lab-palette.png")
    labels = page.evaluate(
        "() => jupyterapp.commands.listCommands().filter(id => id.startsWith('nbfn:'))"
        ".filter(id => !id.startsWith('nbfn:row-menu'))"
        ".map(id => [id, jupyterapp.commands.label(id, {}), jupyterapp.commands.caption(id, {})])"
    )
    assert {"nbfn:toggle-remote", "nbfn:insert-call", "nbfn:open-logs", "nbfn:connect-hub"} <= {
        label[0] for label in labels
    }
    assert "Toggle %%remote" in {label[1] for label in labels}
    assert [label for label in labels if not label[1]] == []


def test_the_menu_of_a_row_acts_on_that_row(
    open_notebook: Callable[..., Page], lab: Lab, open_sidebar: Callable[[], Any], sleeper: Any
) -> None:
    page = open_notebook("menu.ipynb", "'a cell'")
    panel = open_sidebar()
    row = panel.locator("[data-function]", has_text="sleeper")
    row.click(button="right")
    menu = page.locator(".lm-Menu")
    expect(menu.get_by_text("Insert Import")).to_be_visible()
    page.screenshot(path=ARTIFACTS / "lab-row-menu.png")
    menu.get_by_text("Insert Import").click()
    expect(page.locator(".jp-Notebook .jp-Cell")).to_have_count(2)
    page.wait_for_function(
        "() => jupyterapp.shell.currentWidget.content.widgets[1].model.sharedModel.getSource()"
    )
    assert 'nbfn.Function.from_name("sleepers", "sleeper")' in sources(page)[1]


def test_attach_here_shows_the_call_in_the_notebook(
    open_notebook: Callable[..., Page], lab: Lab, sleeper: Any
) -> None:
    page = open_notebook("attach.ipynb", "'a cell'")
    execute(page, "nbfn:attach-call", callId=sleeper["id"])
    expect(page.locator(".jp-OutputArea-output", has_text="sleeper")).to_be_visible()
    assert sources(page)[1] == f"%load_ext nbfn\n%fn attach {sleeper['id']}"


def test_go_to_cell_opens_the_notebook(
    open_notebook: Callable[..., Page], lab: Lab, wait_until: Callable[..., Any]
) -> None:
    page = open_notebook("defines.ipynb", LOAD, *["'filler'"] * 30, SLOW.replace("shapes", "far"))
    execute(page, "notebook:run-all-cells")
    [row] = wait_until(
        lambda: [
            row
            for row in (lab.overview()["overview"] or {"functions": []})["functions"]
            if row["owner"].endswith("defines.ipynb")
        ],
        "slow is registered",
    )
    open_notebook("other.ipynb", "'a cell'")
    execute(page, "nbfn:go-to-cell", functionId=row["id"])
    page.wait_for_function(
        "() => jupyterapp.shell.currentWidget?.context?.path === 'defines.ipynb'"
        " && jupyterapp.shell.currentWidget.content.activeCellIndex === 31"
    )
    expect(page.locator(".jp-mod-active.jp-Cell", has_text="def slow")).to_be_in_viewport()


def test_a_console_on_a_worker_sees_the_running_input(
    open_lab: Callable[[], Page], lab: Lab, sleeper: Any, wait_until: Callable[..., Any]
) -> None:
    [worker] = wait_until(
        lambda: [w for w in lab.overview()["overview"]["workers"] if w["state"] == "busy"],
        "a worker runs the input",
    )
    page = open_lab()
    execute(page, "nbfn:open-console", workerId=worker["id"])
    console = page.locator(".jp-CodeConsole")
    expect(console).to_contain_text("with the globals of sleeper")
    page.wait_for_function(
        "() => jupyterapp.shell.currentWidget?.console?.sessionContext?.session?.kernel"
        "?.connectionStatus === 'connected'"
    )
    page.evaluate(
        "() => { void jupyterapp.shell.currentWidget.console.inject("
        "\"frames[0].f_locals['secret'] * 2\") }"
    )
    expect(console.locator(".jp-OutputArea-output", has_text="minemine")).to_be_visible()
    page.screenshot(path=ARTIFACTS / "lab-console.png")
    os.kill(worker["pid"], signal.SIGKILL)
    wait_until(lambda: lab.request("GET", "api/kernels") == [], "the kernel is gone")


def test_settings_are_in_force(open_notebook: Callable[..., Page], lab: Lab) -> None:
    folder = Path(lab.environment["JUPYTER_CONFIG_DIR"], "lab/user-settings/nbfn")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "settings.jupyterlab-settings"
    file.write_text('{"defaultApp": "mine", "density": "compact", "interrupt": "detach"}')
    try:
        page = open_notebook("settings.ipynb", "def f(): ...")
        expect(page.locator("body")).to_have_attribute("data-nbfn-density", "compact")
        execute(page, "nbfn:toggle-remote")
        page.wait_for_function(
            "() => jupyterapp.shell.currentWidget.content.widgets[0].model.sharedModel.getSource()"
            " === '%%remote --app mine\\ndef f(): ...'"
        )
        page = open_notebook("kernel.ipynb", "import os\nos.environ['NBFN_INTERRUPT']")
        execute(page, "notebook:run-all-cells")
        expect(page.locator(".jp-OutputArea-output", has_text="'detach'")).to_be_visible()
    finally:
        file.unlink()
        lab.request("PUT", "nbfn/api/settings", {})
