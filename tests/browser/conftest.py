"""JupyterLab in a real browser: one server and one browser for all tests, one page for each.

Notebooks are written to disk and opened, never typed. Every test leaves a screenshot in
tests/artifacts/.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from nbfn.config import Places

#: Milliseconds that anything in the page may take.
PATIENCE = 30_000
TOKEN = "nbfn-browser-tests"
ROOT = Path(__file__).parents[2]
ARTIFACTS = ROOT / "tests" / "artifacts"

#: What the console calls errors and is none: a request that fails is the page's own matter,
#: after a reload the widgets of a running cell speak to a page that does not know them, and the view of
#: an ipywidgets widget that closes right after it was shown may post a resize to itself when it is gone
#: (`DOMWidgetView.setLayout` does not look; a bare ``Label`` has it, too). Lab also asks a kernel that dies about
#: its debugger.
NO_ERRORS = (
    "Failed to load resource",
    "Comm not found for comm id",
    "Cannot read properties of null (reading 'processLuminoMessage')",
    "Could not restore the debugger state",
)

KERNEL_READY = """async () => {
  const panel = jupyterapp.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
  return panel.sessionContext.session?.kernel?.connectionStatus === 'connected';
}"""


@dataclass
class Lab:
    """A JupyterLab server with an NBFN_HOME of its own."""

    url: str
    work: Path
    environment: dict[str, str]
    pid: int

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the server as its own page would; None when the answer has no body."""
        request = urllib.request.Request(
            f"{self.url}/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {TOKEN}"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.loads(reply.read() or b"null")

    def overview(self) -> Any:
        """What the sidebar would be told."""
        return self.request("GET", "nbfn/api/overview")

    def run_python(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run a script beside the notebooks, as another client of the same hub."""
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.work,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    def stop_hub(self) -> None:
        """End the hub and its workers; nothing happens when there is none."""
        subprocess.run(
            [sys.executable, "-m", "nbfn", "hub", "stop", "--end-session"],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )

    def end_kernels(self) -> None:
        """End all sessions of notebooks with their kernels."""
        for session in self.request("GET", "api/sessions"):
            self.request("DELETE", f"api/sessions/{session['id']}")

    def open_again(self, page: Page, name: str) -> None:
        """Open a notebook in a page that knows nothing; its kernel may be busy."""
        page.goto(f"{self.url}/lab/tree/{name}?token={TOKEN}&reset")
        page.wait_for_function("() => window.jupyterapp !== undefined")
        page.wait_for_function("() => jupyterapp.shell.currentWidget?.context?.isReady === true")

    def forget_everything(self) -> None:
        """End the hub, and delete what it has stored, so that the panel shows nothing of the tests before."""
        home = Path(self.environment["NBFN_HOME"])
        if home.exists():
            self.stop_hub()
            shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="package")
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        yield lab


@contextlib.contextmanager
def a_lab() -> Iterator[Lab]:
    """Have a JupyterLab server, which is stopped at the end with its hub."""
    base = Path(tempfile.mkdtemp(prefix="nb-", dir="/tmp"))  # short: socket paths have a limit
    work = base / "work"
    work.mkdir()
    environment = _environment(base)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    ARTIFACTS.mkdir(exist_ok=True)
    with (ARTIFACTS / "jupyterlab.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser"),
                *(f"--port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1"),
                *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={work}"),
                "--LabApp.expose_app_in_browser=True",
            ],
            env=environment,
            stdout=log,
            stderr=log,
        )
    lab = Lab(url, work, environment, process.pid)
    try:
        _wait_until(lambda: _answers(lab, process), "JupyterLab answers")
        yield lab
    finally:
        _stop(process)
        lab.stop_hub()
        places = Places.of(base / "home")
        for left in (places.runtime, places.shm):
            shutil.rmtree(left, ignore_errors=True)
        shutil.rmtree(base, ignore_errors=True)


def _environment(base: Path) -> dict[str, str]:
    """The environment of a user who has never used Jupyter or nbfn."""
    dialog = base / "config/lab/user-settings/@jupyterlab/apputils-extension"
    dialog.mkdir(parents=True)
    (dialog / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "run",
        "IPYTHONDIR": "ipython",
        "NBFN_HOME": "home",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NBFN_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {name: str(base / place) for name, place in places.items()}


def _answers(lab: Lab, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        pytest.fail(f"JupyterLab has stopped: see {ARTIFACTS / 'jupyterlab.log'}")
    try:
        lab.request("GET", "api/status")
    except urllib.error.URLError:
        return False
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


def _wait_until(holds: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (value := holds()):
        if time.monotonic() > end:
            pytest.fail(f"Waited {seconds:.0f} s in vain until {what}.")
        time.sleep(0.05)
    return value


@pytest.fixture(scope="package")
def wait_until() -> Callable[..., Any]:
    """Poll ``wait_until(predicate, what)`` and return its first true value."""
    return _wait_until


@pytest.fixture(scope="package")
def browser_context() -> Iterator[BrowserContext]:
    with a_browser() as context:
        yield context


@contextlib.contextmanager
def a_browser() -> Iterator[BrowserContext]:
    """Have a browser."""
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    assert executable, "The browser tests need Chromium; 'make chromium' installs it."
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(PATIENCE)
        yield context
        browser.close()


@pytest.fixture(autouse=True)
def no_hub_of_other_tests(lab: Lab) -> None:
    """Each test begins without a hub, as after an installation."""
    lab.forget_everything()


@pytest.fixture
def page(lab: Lab, browser_context: BrowserContext, request: Any) -> Iterator[Page]:
    """A page of one's own; its sessions end with the test, its last sight is kept.

    An error in the browser's console fails the test: Lab swallows those of an extension.
    """
    page = browser_context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)) if _is_ours(error) else None)
    page.on("console", lambda message: errors.append(message.text) if _is_error(message) else None)
    yield page
    try:
        page.screenshot(path=ARTIFACTS / f"{request.node.name}.png")
    finally:
        page.close()
        lab.end_kernels()
    assert errors == []


def _is_ours(error: PlaywrightError) -> bool:
    # Lab removes its splash from the page twice when a theme change and the end of a start meet. ipywidgets asks
    # a kernel that restarts for its comms, and Lab cancels the request.
    stack = error.stack or ""
    if "Canceled future for comm_info_request" in error.message:
        return "nbfn" in stack
    return "removeChild" not in error.message or "nbfn" in stack or "react" in stack


def _is_error(message: ConsoleMessage) -> bool:
    return message.type == "error" and not any(text in message.text for text in NO_ERRORS)


@pytest.fixture
def open_lab(lab: Lab, page: Page) -> Callable[[], Page]:
    """``open_lab()`` shows JupyterLab with nothing open but the launcher."""

    def open_lab() -> Page:
        page.goto(f"{lab.url}/lab?token={TOKEN}&reset")
        page.wait_for_function("() => window.jupyterapp !== undefined")
        page.evaluate("async () => { await jupyterapp.restored; }")
        expect(page.locator("#jupyterlab-splash")).to_have_count(0)
        return page

    return open_lab


@pytest.fixture
def open_notebook(lab: Lab, page: Page) -> Callable[..., Page]:
    """``open_notebook("name.ipynb", *cells)`` opens it, its kernel connected.

    Without cells the file of that name must be in ``lab.work`` already.
    """

    def open_notebook(name: str, *cells: str, kernel: str = "python3") -> Page:
        if cells:
            notebook = nbformat.v4.new_notebook(
                cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
                metadata={"kernelspec": {"name": kernel, "display_name": kernel}},
            )
            nbformat.write(notebook, lab.work / name)
        page.goto(f"{lab.url}/lab/tree/{name}?token={TOKEN}&reset")
        page.wait_for_function("() => window.jupyterapp !== undefined")
        page.wait_for_function("() => jupyterapp.shell.currentWidget?.sessionContext !== undefined")
        page.wait_for_function(KERNEL_READY)
        return page

    return open_notebook


@pytest.fixture
def run_all(page: Page) -> Callable[[], None]:
    """``run_all()`` starts all cells of the open notebook and does not wait for them."""

    def run_all() -> None:
        page.evaluate("() => { void jupyterapp.commands.execute('notebook:run-all-cells') }")

    return run_all


@pytest.fixture
def use_theme(page: Page) -> Iterator[Callable[[str], None]]:
    """``use_theme("JupyterLab Dark")`` changes Lab's look, until the end of the test."""

    def use_theme(name: str) -> None:
        page.evaluate(
            "name => jupyterapp.commands.execute('apputils:change-theme', { theme: name })", name
        )
        light = "true" if "Light" in name else "false"
        expect(page.locator(f"body[data-jp-theme-light={light}]")).to_be_attached()
        expect(page.locator("#jupyterlab-splash")).to_have_count(0)

    yield use_theme
    use_theme("JupyterLab Light")


@pytest.fixture
def open_sidebar(page: Page) -> Callable[[], Any]:
    """``open_sidebar()`` shows the nbfn panel and returns it."""

    def open_sidebar() -> Any:
        page.evaluate("() => jupyterapp.shell.activateById('nbfn-sidebar')")
        return page.locator("#nbfn-sidebar")

    return open_sidebar
