"""What the panel looks like in every state, in three themes and three widths, without a hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from nbfn.jupyter.server import schema as s

from . import axe
from .conftest import ARTIFACTS
from .panel_server import ERRORS, PanelServer, as_html, ended, function, id_of

AUDIT = (Path(__file__).parent / "audit.js").read_text()
THEMES = {
    "light": "JupyterLab Light",
    "dark": "JupyterLab Dark",
    "contrast": "JupyterLab Dark High Contrast",
}
WIDTHS = (220, 330, 600)
HEIGHT = 1500
#: JupyterLab makes a sidebar no narrower than this variable says.
NARROW = """
document.addEventListener('DOMContentLoaded', () => {
  document.documentElement.style.setProperty('--jp-sidebar-min-width', '200px');
});"""
SET_WIDTH = """width => {
  const split = jupyterapp.shell.node.querySelector('#jp-main-split-panel');
  const total = split.clientWidth;
  jupyterapp.shell._hsplitPanel.setRelativeSizes([width / total, 1 - width / total, 0]);
}"""


@pytest.fixture
def server(page: Page) -> PanelServer:
    server = PanelServer()
    page.route("**/nbfn/api/**", server.answer)
    return server


@pytest.fixture
def panel(
    page: Page, server: PanelServer, open_lab: Callable[[], Page], open_sidebar: Callable[[], Any]
) -> Locator:
    page.add_init_script(NARROW)
    open_lab()
    panel: Locator = open_sidebar()
    expect(panel.get_by_role("status").first).to_be_visible()
    return panel


def refresh(page: Page) -> None:
    """Make the page fetch the overview, as after an event that was lost."""
    with page.expect_response("**/nbfn/api/overview**"):
        page.evaluate("() => jupyterapp.commands.execute('nbfn:refresh')")


def fits(panel: Locator) -> bool:
    return bool(panel.evaluate("node => node.scrollWidth <= node.clientWidth"))


def look(page: Page, panel: Locator, use_theme: Callable[[str], None], name: str) -> None:
    """Take a picture in each theme and width; nothing may be found by axe-core or the audit."""
    page.set_viewport_size({"width": 1280, "height": HEIGHT})
    found: list[str] = []
    for theme, title in THEMES.items():
        use_theme(title)
        for width in WIDTHS:
            page.evaluate(SET_WIDTH, width)
            page.wait_for_function(
                "width => Math.abs(document.querySelector('#nbfn-sidebar').clientWidth - width) < 8",
                arg=width,
            )
            page.mouse.move(1270, 10)
            panel.screenshot(path=ARTIFACTS / f"panel-{name}-{theme}-{width}.png")
            where = f"{name}, {theme}, {width}"
            found += [f"{where}: {finding}" for finding in panel.evaluate(AUDIT)]
            if not fits(panel):
                found.append(f"{where}: is wider than the panel")
        found += [f"{name}, {theme}: {finding}" for finding in axe.findings(page, "#nbfn-sidebar")]
    assert found == []


# --- states: what the server has, and what the user does ------------------------------------------------


def rows_of_every_kind(page: Page, panel: Locator, server: PanelServer) -> None:
    expect(panel.get_by_role("treeitem", name="embed, busy")).to_contain_text("queue 331")
    expect(panel.get_by_role("treeitem", name="embed.map, running")).to_contain_text("7 failed")


def nothing(page: Page, panel: Locator, server: PanelServer) -> None:
    server.functions = server.calls = server.workers = ()
    refresh(page)
    expect(panel.get_by_text("Put %%remote above a def and run the cell.")).to_be_visible()
    expect(panel.get_by_text("No worker runs.")).to_be_visible()


def absent(page: Page, panel: Locator, server: PanelServer) -> None:
    server.connection, server.has_overview = "absent", False
    page.reload()
    page.wait_for_function("() => window.jupyterapp !== undefined")
    page.evaluate("async () => { await jupyterapp.restored; }")
    page.evaluate("() => jupyterapp.shell.activateById('nbfn-sidebar')")
    expect(panel.get_by_text("nbfn is not running.")).to_be_visible()
    expect(panel.get_by_role("tree")).to_have_count(0)


def stale(page: Page, panel: Locator, server: PanelServer) -> None:
    expect(panel.get_by_text("Hub running")).to_be_visible()
    server.is_down = True
    page.evaluate("() => jupyterapp.commands.execute('nbfn:refresh')")
    expect(panel.get_by_role("alert")).to_contain_text("The Jupyter server does not respond.")
    expect(panel.get_by_text("as of ")).to_be_visible()
    expect(panel.get_by_role("spinbutton").first).to_be_disabled()
    expect(panel.get_by_role("button", name="Cancel embed.map")).to_be_disabled()


def form(page: Page, panel: Locator, server: PanelServer) -> None:
    panel.get_by_role("button", name="Call embed…").click()
    expect(panel.get_by_label("text", exact=False).first).to_be_focused()
    panel.get_by_role("form", name="Call embed").get_by_role("button", name="Call").click()
    expect(panel.get_by_text("size is missing.")).to_be_visible()
    expect(panel.locator("[name=size]")).to_be_focused()


def called(page: Page, panel: Locator, server: PanelServer) -> None:
    new = ended("embed", id=id_of("new", "fc"), kind="spawn")
    server.result = "[0.25, 0.5, <b>0.75</b>]"
    server.on_change = lambda: setattr(server, "calls", (new, *server.calls))
    fill(panel)
    refresh(page)
    expect(panel.get_by_role("group", name="Result of embed")).to_contain_text("<b>0.75</b>")


def call_failed(page: Page, panel: Locator, server: PanelServer) -> None:
    new = ended("embed", id=id_of("new", "fc"), kind="spawn", state="failed", succeeded=0, failed=1)
    server.traceback = ERRORS[0].traceback
    server.on_change = lambda: setattr(server, "calls", (new, *server.calls))
    fill(panel)
    refresh(page)
    expect(panel.get_by_role("region", name="Traceback")).to_contain_text("<b>not</b>")


def fill(panel: Locator) -> None:
    panel.get_by_role("button", name="Call embed…").click()
    panel.locator("[name=text]").fill("hello")
    panel.locator("[name=size]").fill("3")
    panel.locator("[name=size]").press("Enter")


def versions(page: Page, panel: Locator, server: PanelServer) -> None:
    execute(page, "nbfn:show-versions", functionId=id_of("embed"))
    expect(panel.get_by_role("button", name="Roll embed back to v3")).to_be_visible()


def limits(page: Page, panel: Locator, server: PanelServer) -> None:
    stepper = panel.get_by_role("spinbutton", name="Warm workers of embed")
    stepper.fill("8")
    stepper.press("Enter")
    stepper.press("ArrowUp")
    expect(panel.get_by_text("At most 8 workers (max_containers).")).to_be_visible()
    expect(panel.get_by_role("button", name="Undo: 1 warm workers for embed again")).to_be_visible()


def refused(page: Page, panel: Locator, server: PanelServer) -> None:
    server.refusal = s.Problem(message="The hub is stopping; start it again, then retry.")
    panel.get_by_role("button", name="Cancel embed.map").click()
    row = panel.get_by_role("treeitem", name="embed.map, running")
    expect(row.get_by_role("alert")).to_contain_text("The hub is stopping")
    expect(row.get_by_role("button", name="Cancel embed.map")).to_be_enabled()


def call_details(page: Page, panel: Locator, server: PanelServer) -> None:
    execute(page, "nbfn:show-call", callId=id_of("embed", "fc"))
    row = panel.get_by_role("treeitem", name="embed.map, running")
    expect(row).to_contain_text("inputs 3, 17, 40, 41, 99")
    expect(row).to_contain_text("17 warning: <i>deprecated</i>")
    row.get_by_role("button", name="Traceback").first.click()
    expect(row.get_by_role("region", name="Traceback")).to_contain_text("Cell In[12], line 4")


def filtered(page: Page, panel: Locator, server: PanelServer) -> None:
    panel.get_by_role("searchbox").fill("no such thing")
    expect(panel.get_by_text("No Function matches the filter.")).to_be_visible()
    expect(panel.get_by_text("No call matches the filter.")).to_be_visible()
    expect(panel.get_by_text("No worker matches the filter.")).to_be_visible()


def health(page: Page, panel: Locator, server: PanelServer) -> None:
    panel.locator(".jp-AccordionPanel-title", has_text="Health").click()
    expect(panel.get_by_text("Install torch in its Python, then call it again.")).to_be_visible()
    expect(panel.get_by_text("killed by signal 9, peak 7.9 GB")).to_be_visible()


STATES = [
    rows_of_every_kind,
    nothing,
    absent,
    stale,
    form,
    called,
    call_failed,
    versions,
    limits,
    refused,
    call_details,
    filtered,
    health,
]


def execute(page: Page, command: str, **args: Any) -> None:
    page.evaluate("([id, args]) => { void jupyterapp.commands.execute(id, args) }", [command, args])


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_the_look_of(
    state: Callable[[Page, Locator, PanelServer], None],
    page: Page,
    panel: Locator,
    server: PanelServer,
    use_theme: Callable[[str], None],
) -> None:
    page.set_viewport_size({"width": 1280, "height": HEIGHT})
    state(page, panel, server)
    look(page, panel, use_theme, state.__name__)


# --- what the user does ----------------------------------------------------------------------------------


def test_html_in_names_is_text(page: Page, panel: Locator, server: PanelServer) -> None:
    as_html(server)
    refresh(page)
    expect(panel.get_by_text("<img src=x onerror=window.hacked=1>").first).to_be_visible()
    assert panel.locator("img").count() == 0
    assert page.evaluate("() => window.hacked") is None


def test_a_call_with_errors_at_their_fields(
    page: Page, panel: Locator, server: PanelServer
) -> None:
    server.refusal = s.Problem(message="size must be positive.", field="size")
    fill(panel)
    expect(panel.get_by_role("alert")).to_have_text("size must be positive.")
    expect(panel.locator("[name=size]")).to_have_attribute("aria-invalid", "true")
    expect(panel.locator("[name=size]")).to_be_focused()


def test_the_stepper_ignores_wheel_and_double_click(panel: Locator, server: PanelServer) -> None:
    stepper = panel.get_by_role("spinbutton", name="Warm workers of embed")
    stepper.focus()
    stepper.hover()
    panel.page.mouse.wheel(0, -300)
    expect(stepper).to_have_value("1")
    row = panel.get_by_role("treeitem", name="embed, busy")
    row.get_by_role("button", name="One warm worker more").dblclick()
    expect(stepper).to_have_value("2")
    stepper.dblclick()
    expect(stepper).to_have_value("2")
    panel.get_by_role("button", name="Undo: 1 warm workers for embed again").click()
    expect(stepper).to_have_value("1")


def test_the_autoscaler_dialog(page: Page, panel: Locator, server: PanelServer) -> None:
    execute(page, "nbfn:show-autoscaler", functionId=id_of("embed"))
    dialog = page.locator(".jp-Dialog")
    expect(dialog.get_by_label("Least workers")).to_be_focused()
    dialog.get_by_label("Most workers").fill("0.5")
    dialog.get_by_role("button", name="Apply").click()
    expect(dialog.get_by_role("alert")).to_have_text("Most workers is not a whole number.")
    dialog.get_by_label("Most workers").fill("12")
    dialog.screenshot(path=ARTIFACTS / "panel-autoscaler.png")
    assert axe.findings(page, ".jp-Dialog") == []
    dialog.get_by_label("Most workers").press("Enter")
    expect(dialog).to_have_count(0)
    assert server.requests == [
        ("PATCH", f"functions/{id_of('embed')}/autoscaler", {"max_containers": 12})
    ]


@pytest.mark.parametrize(
    ("command", "args", "label", "request_sent"),
    [
        ("delete-function", {"functionId": id_of("embed")}, "Delete", "functions/{}"),
        ("stop-function", {"functionId": id_of("embed")}, "Stop", "functions/{}/stop"),
        ("stop-worker", {"workerId": f"wk-1Qz7b{'0' * 17}"}, "Stop", "workers/{}/stop"),
        ("end-session", {"callId": id_of("session", "fc")}, "End session", "calls/{}/cancel"),
    ],
)
def test_what_cannot_be_undone_is_asked_first(
    page: Page,
    panel: Locator,
    server: PanelServer,
    command: str,
    args: dict[str, str],
    label: str,
    request_sent: str,
) -> None:
    dialog = page.locator(".jp-Dialog")
    for button in ("Cancel", label):
        execute(page, f"nbfn:{command}", **args)
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        assert axe.findings(page, ".jp-Dialog") == []
        assert server.requests == []
        dialog.get_by_role("button", name=button, exact=True).click()
        expect(dialog).to_have_count(0)
    page.wait_for_timeout(0)
    expect(panel.get_by_text("Hub running")).to_be_visible()
    [(_, path, _)] = server.requests
    assert path == request_sent.format(*args.values())


def test_the_tab_has_its_icon(page: Page, panel: Locator) -> None:
    tab = page.locator(".jp-SideBar.jp-mod-left .lm-TabBar-tab[data-id=nbfn-sidebar]")
    expect(tab).to_have_attribute("title", "nbfn: Functions, calls and workers")
    expect(tab.locator("svg[data-icon='nbfn:nbfn']")).to_be_visible()


def test_the_keyboard_reaches_everything(page: Page, panel: Locator, server: PanelServer) -> None:
    """One tab stop in each section; from there, arrow keys, letters, Enter and Del."""
    # JupyterLab focuses its launcher when it has opened.
    expect(page.locator(".jp-Launcher")).to_be_focused()
    trees = panel.get_by_role("tree").all()
    assert len(trees) == 3
    for tree in trees:
        assert tree.locator("[tabindex='0']").count() == 1
    panel.get_by_role("treeitem", name="churn, 2 Functions").focus()
    page.keyboard.press("ArrowDown")
    embed = panel.get_by_role("treeitem", name="embed, busy")
    expect(embed).to_be_focused()
    page.keyboard.type("tr")
    expect(
        panel.get_by_role("treeitem", name="train_the_whole_model_again, failing")
    ).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    expect(embed).to_have_count(0)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(embed).to_be_focused()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    stepper = panel.get_by_role("spinbutton", name="Warm workers of embed")
    expect(stepper).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(stepper).to_have_value("2")
    page.keyboard.press("Escape")
    expect(embed).to_be_focused()
    page.keyboard.press("Enter")
    expect(panel.get_by_role("form", name="Call embed").locator("[name=text]")).to_be_focused()
    page.keyboard.press("Escape")
    expect(embed).to_be_focused()
    page.keyboard.press("Delete")
    expect(page.locator(".jp-Dialog")).to_contain_text("Delete churn/embed?")
    page.keyboard.press("Escape")
    expect(page.locator(".jp-Dialog")).to_have_count(0)


def test_a_thousand_functions_are_not_all_drawn(
    page: Page, panel: Locator, server: PanelServer
) -> None:
    server.functions = tuple(function(f"f{number}") for number in range(1000))
    refresh(page)
    panel.get_by_role("treeitem", name="churn, 1000 Functions").focus()
    page.keyboard.press("End")
    last = panel.get_by_role("treeitem", name="f999, idle")
    expect(last).to_be_focused()
    expect(last).to_be_in_viewport()
    assert panel.get_by_role("treeitem").count() < 150
