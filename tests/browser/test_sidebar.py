"""The sidebar against a real hub: it shows what runs, and what is done in it happens."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from playwright.sync_api import Page, expect

from . import axe
from .conftest import ARTIFACTS, Lab

LOAD = "%load_ext nbfn"
SQUARE = "%%remote --app pool --warm 1 --max 4\ndef square(x):\n    return x * x"
SLOW = (
    "%%remote --app pool --max 2\ndef slow(x):\n    import time\n    time.sleep(0.2)\n    return x"
)


def rows(lab: Lab, part: str, **wanted: Any) -> list[Any]:
    """The rows of the overview that have these values."""
    overview = lab.overview()["overview"]
    if overview is None:
        return []
    return [row for row in overview[part] if all(row[name] == wanted[name] for name in wanted)]


@pytest.fixture
def panel(open_lab: Callable[[], Page], open_sidebar: Callable[[], Any]) -> Any:
    open_lab()
    return open_sidebar()


def test_a_hub_is_started_and_found(
    lab: Lab, open_lab: Callable[[], Page], open_sidebar: Callable[[], Any]
) -> None:
    """Looking starts none, the button does, and one that is killed is seen to be gone."""
    lab.stop_hub()
    open_lab()
    panel = open_sidebar()
    expect(panel.get_by_text("nbfn is not running.")).to_be_visible()
    assert lab.overview()["connection"] == "absent"
    panel.get_by_role("button", name="Start").click()
    expect(panel.get_by_text("Hub running")).to_be_visible()

    os.kill(lab.overview()["overview"]["hub"]["pid"], signal.SIGKILL)
    expect(panel.get_by_text("Hub not running")).to_be_visible()
    expect(panel.get_by_text("as of ")).to_be_visible()
    panel.get_by_role("button", name="Start").click()
    expect(panel.get_by_text("Hub running")).to_be_visible()


def test_the_warm_number_changes_the_pool(
    lab: Lab,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    open_sidebar: Callable[[], Any],
    wait_until: Callable[..., Any],
) -> None:
    page = open_notebook("warm.ipynb", LOAD, SQUARE, "square.remote(12)")
    panel = open_sidebar()
    run_all()
    expect(page.locator(".jp-OutputArea-output", has_text="144")).to_be_visible()
    row = panel.get_by_role("treeitem", name=re.compile("^square, "))
    stepper = row.get_by_role("spinbutton", name="Warm workers of square")
    expect(stepper).to_have_value("1")
    expect(row).to_contain_text("workers 1")

    row.get_by_role("button", name="One warm worker more").dblclick()  # as one click
    expect(stepper).to_have_value("2")
    stepper.press("ArrowUp")
    expect(row).to_contain_text("workers 3")
    workers = wait_until(
        lambda: (found := rows(lab, "workers", function="square")) and len(found) == 3 and found,
        "square has three workers",
    )
    assert all(psutil.pid_exists(worker["pid"]) for worker in workers)
    assert rows(lab, "functions", name="square")[0]["min_containers"] == 3
    page.screenshot(path=ARTIFACTS / "sidebar-warm.png")

    stepper.fill("9")
    stepper.press("Enter")
    expect(row.get_by_text("At most 4 workers (max_containers).")).to_be_visible()
    expect(stepper).to_have_value("4")
    row.get_by_role("button", name="Undo").click()
    expect(stepper).to_have_value("1")
    wait_until(
        lambda: rows(lab, "functions", name="square")[0]["min_containers"] == 1, "it is undone"
    )
    lab.run_python(
        "import nbfn\n"
        "nbfn.Function.from_name('pool', 'square').update_autoscaler(min_containers=2)\n"
    )
    expect(stepper).to_have_value("2")  # whoever changed it


def test_what_others_do_shows_at_once(lab: Lab, panel: Any) -> None:
    """A function that a script registers is in the tree without a click."""
    lab.run_python(
        "import nbfn\n"
        "app = nbfn.App('script')\n"
        "@app.function(serialized=True)\n"
        "def from_a_script(x): return x\n"
        "app.deploy()\n"
    )
    expect(panel.get_by_role("treeitem", name="from_a_script")).to_be_visible(timeout=2000)


def test_a_map_is_cancelled_after_a_reload(
    lab: Lab,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    open_sidebar: Callable[[], Any],
    wait_until: Callable[..., Any],
) -> None:
    """The kernel is blocked and its widgets are gone; the sidebar does not need them."""
    page = open_notebook("cancel.ipynb", LOAD, SLOW, "list(slow.map(range(2000)))")
    run_all()
    [call] = wait_until(
        lambda: rows(lab, "calls", function="slow", state="running"), "the map is running"
    )
    page.reload()
    page.wait_for_function("() => window.jupyterapp !== undefined")
    page.evaluate("async () => { await jupyterapp.restored; }")
    panel = open_sidebar()
    bar = panel.get_by_role("progressbar", name="Progress of slow.map")
    expect(bar).to_be_visible()
    page.screenshot(path=ARTIFACTS / "sidebar-map.png")
    panel.get_by_role("button", name="Cancel slow.map").click()
    expect(panel.get_by_role("treeitem", name="slow.map, cancelled")).to_be_visible()
    wait_until(
        lambda: not rows(lab, "calls", id=call["id"], state="running"), "the map is cancelled"
    )
    wait_until(
        lambda: all(
            session["kernel"]["execution_state"] == "idle"
            for session in lab.request("GET", "api/sessions")
        ),
        "the kernel is free again",
    )


def deploy(lab: Lab, body: str, after: str = "") -> None:
    """Deploy the Functions of an App ``real`` from a script, as another client of the hub."""
    lab.run_python(f"import nbfn, os, time\napp = nbfn.App('real')\n{body}\napp.deploy()\n{after}")


FAILING = """\
@app.function(serialized=True, max_containers=2)
def picky(x):
    if x % 4 == 3:
        print('about to fail', x)
        raise ValueError(f'bad input {x}')
    return x
"""


def item(panel: Any, name: str) -> Any:
    return panel.get_by_role("treeitem", name=name)


def execute(page: Page, row: Any, command: str) -> None:
    """Execute a command about the Function of a row, as its menu does."""
    page.evaluate(
        "([id, args]) => { void jupyterapp.commands.execute(id, args) }",
        [command, {"functionId": row.get_attribute("data-function")}],
    )


def test_a_frozen_hub_is_seen_and_seen_to_return(lab: Lab, panel: Any) -> None:
    """The rows stay, grey and with their time, and nothing can be changed; then all is as before."""
    deploy(lab, "@app.function(serialized=True)\ndef frozen(x): return x")
    expect(item(panel, "frozen")).to_be_visible()
    hub = lab.overview()["overview"]["hub"]["pid"]
    os.kill(hub, signal.SIGSTOP)
    try:
        expect(panel.get_by_text("Hub unreachable")).to_be_visible()
        expect(panel.get_by_role("alert")).to_be_visible()
        expect(panel.get_by_text("as of ")).to_be_visible()
        expect(item(panel, "frozen").get_by_role("spinbutton")).to_be_disabled()
        panel.screenshot(path=ARTIFACTS / "sidebar-frozen.png")
    finally:
        os.kill(hub, signal.SIGCONT)
    expect(panel.get_by_text("Hub running")).to_be_visible()
    expect(item(panel, "frozen").get_by_role("spinbutton")).to_be_enabled()
    expect(panel.get_by_text("as of ")).to_have_count(0)


def test_a_function_is_called_from_its_form(lab: Lab, panel: Any) -> None:
    deploy(
        lab,
        "@app.function(serialized=True)\n"
        "def divide(a: int, b: int = 2) -> float:\n"
        "    'Divide a number.'\n"
        "    return a / b",
    )
    item(panel, "divide").get_by_role("button", name="Call divide…").click()
    form = panel.get_by_role("form", name="Call divide")
    expect(form).to_contain_text("Divide a number.")
    form.locator("[name=a]").fill("x")
    form.locator("[name=a]").press("Enter")
    expect(form.get_by_text("a is not an integer.")).to_be_visible()
    form.locator("[name=a]").fill("3")
    form.locator("[name=a]").press("Enter")
    expect(panel.get_by_role("group", name="Result of divide")).to_contain_text("1.5")
    form.locator("[name=b]").fill("0")
    form.locator("[name=b]").press("Enter")
    traceback = form.get_by_role("region", name="Traceback")
    expect(traceback).to_contain_text("ZeroDivisionError: division by zero")
    panel.screenshot(path=ARTIFACTS / "sidebar-form.png")


def test_a_call_from_a_form_is_cancelled(lab: Lab, panel: Any, wait_until: Any) -> None:
    deploy(
        lab,
        "@app.function(serialized=True)\ndef endless():\n    while True:\n        time.sleep(0.1)",
    )
    item(panel, "endless").get_by_role("button", name="Call endless…").click()
    form = panel.get_by_role("form", name="Call endless")
    form.get_by_role("button", name="Call", exact=True).click()
    expect(form.get_by_text("running")).to_be_visible()
    form.get_by_role("button", name="Cancel").click()
    expect(form.get_by_text("cancelled")).to_be_visible()
    wait_until(lambda: rows(lab, "calls", function="endless", state="cancelled"), "it is cancelled")


def test_the_autoscaler_is_changed_in_its_dialog(lab: Lab, page: Page, panel: Any) -> None:
    deploy(lab, "@app.function(serialized=True, max_containers=3)\ndef scaled(x): return x")
    execute(page, item(panel, "scaled"), "nbfn:show-autoscaler")
    dialog = page.locator(".jp-Dialog")
    dialog.get_by_label("Most workers").fill("5")
    dialog.get_by_label("Idle time").fill("7.5")
    dialog.get_by_role("button", name="Apply").click()
    expect(dialog).to_have_count(0)
    stepper = item(panel, "scaled").get_by_role("spinbutton")
    expect(stepper).to_have_attribute("aria-valuemax", "5")
    [row] = rows(lab, "functions", name="scaled")
    assert (row["max_containers"], row["scaledown_window"]) == (5, 7.5)


def test_versions_are_rolled_back(lab: Lab, page: Page, panel: Any, wait_until: Any) -> None:
    for answer in (1, 2):
        deploy(lab, f"@app.function(serialized=True)\ndef release(): return {answer}")
    row = item(panel, "release")
    expect(row).to_contain_text("v2")
    execute(page, row, "nbfn:show-versions")
    panel.get_by_role("button", name="Roll release back to v1").click()
    expect(row.get_by_role("listitem").first).to_contain_text("v")
    lab.run_python("import nbfn; assert nbfn.Function.from_name('real', 'release').remote() == 1")


def test_a_function_is_stopped_and_deleted(
    lab: Lab, page: Page, panel: Any, wait_until: Any
) -> None:
    deploy(lab, "@app.function(serialized=True, min_containers=1)\ndef doomed(x): return x")
    row = item(panel, "doomed")
    expect(row).to_contain_text("workers 1")
    execute(page, row, "nbfn:stop-function")
    page.locator(".jp-Dialog").get_by_role("button", name="Stop").click()
    expect(item(panel, "doomed, stopped")).to_be_visible()
    wait_until(lambda: not rows(lab, "workers", function="doomed"), "its worker is gone")
    row.focus()
    page.keyboard.press("Delete")
    page.locator(".jp-Dialog").get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    assert rows(lab, "functions", name="doomed") == []


def test_a_map_with_failures_opens_to_its_errors_and_is_retried(
    lab: Lab, page: Page, panel: Any
) -> None:
    deploy(
        lab, FAILING, "list(picky.map(range(8), return_exceptions=True)); picky.spawn_map(range(8))"
    )
    row = item(panel, "picky.").first
    expect(row).to_contain_text("2 failed")
    row.focus()
    page.keyboard.press("Enter")
    expect(row).to_contain_text("ValueError: bad input")
    expect(row).to_contain_text("about to fail")
    row.get_by_role("button", name="Traceback").first.click()
    expect(row.get_by_role("region", name="Traceback")).to_contain_text("bad input")
    panel.screenshot(path=ARTIFACTS / "sidebar-errors.png")
    assert axe.findings(page, "#nbfn-sidebar") == []


def test_workers_are_drained_and_stopped(lab: Lab, page: Page, panel: Any, wait_until: Any) -> None:
    deploy(
        lab,
        "@app.function(serialized=True, scaledown_window=600)\ndef pid(): return os.getpid()",
        "pid.remote()",
    )

    def workers() -> list[Any]:
        return rows(lab, "workers", function="pid")

    row = panel.locator("[data-worker]", has_text="pid").filter(has_text="idle")
    [first] = wait_until(workers, "there is a worker")
    row = panel.locator(f"[data-worker='{first['id']}']")
    expect(row).to_contain_text(f"pid {first['pid']}")
    row.get_by_role("button", name="Drain").click()
    expect(row).to_have_count(0)
    assert not psutil.pid_exists(first["pid"])
    lab.run_python("import nbfn; nbfn.Function.from_name('real', 'pid').remote()")
    [second] = wait_until(workers, "there is another one")
    row = panel.locator(f"[data-worker='{second['id']}']")
    row.get_by_role("button", name="Stop").click()
    page.locator(".jp-Dialog").get_by_role("button", name="Stop").click()
    expect(row).to_have_count(0)
    wait_until(lambda: not psutil.pid_exists(second["pid"]), "the process has ended")


def test_the_health_names_a_lost_worker(lab: Lab, panel: Any, wait_until: Any) -> None:
    deploy(
        lab,
        "@app.function(serialized=True, retries=0)\ndef crash(): os.kill(os.getpid(), 9)",
        "crash.spawn()",
    )
    panel.locator(".jp-AccordionPanel-title", has_text="Health").click()
    expect(panel.get_by_text("Last lost workers")).to_be_visible()
    expect(panel.locator(".jp-nbfn-health")).to_contain_text("signal 9")
    expect(panel.locator(".jp-nbfn-health")).to_contain_text("crash")
    panel.screenshot(path=ARTIFACTS / "sidebar-health.png")


def test_a_spawned_call_whose_kernel_is_gone_is_detached(
    lab: Lab,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    open_sidebar: Callable[[], Any],
    wait_until: Any,
) -> None:
    open_notebook("detached.ipynb", LOAD, SLOW, "call = slow.spawn_map(range(3000)); print('made')")
    panel = open_sidebar()
    run_all()
    running = item(panel, "slow.").filter(has_text="detached.ipynb")
    expect(running).to_be_visible()
    lab.end_kernels()
    expect(item(panel, "Detached: their notebook is gone, 1")).to_be_visible()
    expect(running).to_contain_text("detached")
    running.get_by_role("button", name="Cancel").click()
    expect(item(panel, "Detached")).to_have_count(0)
    expect(running).to_contain_text("cancelled")


def test_script_cells_and_sessions_are_not_functions(
    lab: Lab,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    open_sidebar: Callable[[], Any],
    wait_until: Any,
) -> None:
    """A session is apart, without Cancel, and ends only after a question."""
    page = open_notebook("session.ipynb", "x = 12\nprint('there', x)", kernel="nbfn-remote")
    panel = open_sidebar()
    run_all()
    expect(page.locator(".jp-OutputArea-output", has_text="there 12")).to_be_visible()
    expect(item(panel, "Sessions of the remote kernel, 1")).to_be_visible()
    row = panel.locator("[data-session]")
    expect(row.get_by_role("button", name="Cancel")).to_have_count(0)
    assert panel.locator("[data-function]").filter(has_text="session").count() == 0
    row.focus()
    page.keyboard.press("Delete")
    dialog = page.locator(".jp-Dialog")
    expect(dialog).to_contain_text("All variables of the notebook in that session are lost.")
    dialog.get_by_role("button", name="Cancel").click()
    expect(row).to_be_visible()
    row.get_by_role("button", name="End the session").click()
    dialog.get_by_role("button", name="End session").click()
    expect(row).to_have_count(0)


def test_the_filter_shows_this_notebook_only(
    lab: Lab,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    open_sidebar: Callable[[], Any],
) -> None:
    deploy(lab, "@app.function(serialized=True)\ndef elsewhere(x): return x")
    page = open_notebook("mine.ipynb", LOAD, "%%remote --app mine\ndef here(x):\n    return x")
    panel = open_sidebar()
    run_all()
    expect(item(panel, "here,")).to_be_visible()
    expect(item(panel, "elsewhere")).to_be_visible()
    panel.get_by_role("radio", name="This notebook").check()
    expect(item(panel, "elsewhere")).to_have_count(0)
    expect(item(panel, "here,")).to_be_visible()
    panel.get_by_role("searchbox").fill("nothing like it")
    panel.get_by_role("button", name="Show all").first.click()
    expect(item(panel, "elsewhere")).to_be_visible()
    assert page.evaluate("() => document.activeElement !== null")


def test_a_result_is_inserted_without_overwriting_a_variable(
    lab: Lab,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    open_sidebar: Callable[[], Any],
) -> None:
    """The menu of the row opens the form; the name of the result is one that the notebook does not use."""
    deploy(lab, "@app.function(serialized=True)\ndef double(x: int): return 2 * x")
    page = open_notebook("insert.ipynb", LOAD, "double_result = 'mine'; result = 'mine too'")
    panel = open_sidebar()
    run_all()
    item(panel, "double, ").get_by_role("button", name="More actions for double").click()
    page.get_by_role("menuitem", name="Call…").click()
    form = panel.get_by_role("form", name="Call double")
    form.locator("[name=x]").fill("21")
    form.locator("[name=x]").press("Enter")
    form.get_by_role("button", name="Insert into notebook").click()
    expect(page.locator(".jp-Notebook .jp-CodeCell")).to_have_count(3)
    expect(page.locator(".jp-Notebook")).to_contain_text("double_result_2 = nbfn.FunctionCall")
    run_all()
    expect(page.locator(".jp-OutputArea-output", has_text="42")).to_be_visible()
