"""Every state of every widget on one page, in three themes and in a narrow column: pictures, words, contrast, width."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from .conftest import ARTIFACTS

#: Pixels in which the tallest of its cells has room, also when it is narrow.
HEIGHT = 4000
HERE = Path(__file__).parent
AUDIT = (HERE / "audit.js").read_text()

MAPS = """\
for name in g.LIVE:
    g.live(name)
g.detached()
g.reconnecting()"""
ENDS = """\
for name in ("succeeded", "failed in parts", "failed", "cancelled"):
    g.ended(name)"""
SAVED = """\
for name in g.LIVE:
    g.saved(name)"""
HANDLES = """\
for name in g.HANDLES:
    g.handle_of(name)"""
CARDS = '''\
import nbfn
from typing import Literal

app = nbfn.App("gallery")

@app.function()
def embed(text: str, how: Literal["fast", "slow"] = "fast", shout: bool = False, more: list = []) -> list[float]:
    """Return one vector for a text.

    Not shown."""

@app.function()
def nothing():
    pass

@app.function(min_containers=1)
def always_there_with_quite_a_long_name(pages: dict[str, list[tuple[int, str]]], *args: int, **more: str) -> None:
    "Keep a worker warm."

@app.function()
def count(to: int):
    "Count."
    yield from range(to)

@app.function()
@nbfn.fastapi_endpoint()
def hello(name: str = "world") -> str:
    "Greet whoever asks by HTTP."
    return f"hello {name}"

@app.cls()
class Model:
    "A model that is loaded once."
    @nbfn.method()
    def predict(self, x: int) -> int:
        return x

@app.cls()
class Greeter:
    "Greets in its own way."
    word: str = nbfn.parameter()
    times: int = nbfn.parameter(default=1)
    @nbfn.method()
    def greet(self, name: str) -> str:
        return f"{self.word}, {name}"
    @nbfn.method()
    def wave(self) -> None:
        pass

app.deploy()
other = nbfn.App("draft")
@other.function()
def later(x: int) -> int:
    return x

functions = (embed, nothing, always_there_with_quite_a_long_name, count, hello, later)
for thing in (*functions, Model, Greeter, Model().predict):
    display(thing)'''
#: Of each state what is read there: the mark, and the word beside it.
WORDS = {
    "maps": [
        *("○ queued", "○ queued", "◌ starting", "● running", "● running", "● running"),
        *("○ queued", "● running", "● running", "◇ detached", "↻ reconnecting"),
    ],
    "ends": [
        "✓ embed.map · 1,000 succeeded",
        *2 * ["▲ embed.map · failed · 993 succeeded, 7 failed"],
        *2 * ["▲ embed.map · failed · 320 succeeded, 1 failed, 8 cancelled, 671 not run"],
        *2 * ["■ embed.map · cancelled · 319 succeeded, 2 failed, 8 cancelled, 671 not run"],
    ],
    "saved": [
        *("○ embed v4 · queued", "○ embed v4 · queued", "◌ embed v4 · starting"),
        *("● embed v4 · running · 612 / 1,000", "● embed v4 · running · 60 / ?"),
        *("● embed v4 · running · 612 / 1,000 · 7 failed", "○ embed v4 · queued · 0 / 1,000"),
        *("● embed v4 · running · 1,000 / ?", "● embed v4 · running · 10,000 / 40,000"),
    ],
    "handles": [
        "○ train v2 queued 3:12 · fc-",
        "◌ train v2 starting 3:12",
        "● train v2 running 3:12",
        "↻ train v2 reconnecting 3:12",
        "✓ train v2 · succeeded 3:12",
        "✗ train v2 failed 3:12",
        "■ train v2 cancelled 3:12",
        "○ train v2 · expired",
    ],
    "cards": [
        "embed v1 gallery warm",
        "nothing v1 gallery warm",
        "always_there_with_quite_a_long_name v1 gallery warm",
        "count v1 gallery · generator",
        "hello v1 gallery · web endpoint",
        "later draft Call…",
        "Model v1 gallery · class warm",
        "Greeter v1 gallery · class Copy import",
        "Model.predict v1 gallery · method Call…",
    ],
}
GROUPS = {"maps": MAPS, "ends": ENDS, "saved": SAVED, "handles": HANDLES, "cards": CARDS}


def area(page: Page, group: str) -> Locator:
    number = [*GROUPS].index(group) + 1
    return page.locator(".jp-Notebook .jp-CodeCell").nth(number).locator(".jp-OutputArea")


def shown(page: Page, group: str) -> list[str]:
    """What can be read of each widget, and of each picture of one that is gone."""
    # Beside the cards, a line shows the call with which `deploy` checks the web endpoint.
    which = ".jp-nbfn-ui-root, .jp-nbfn-snapshot"
    which = ".jp-nbfn-function-root" if group == "cards" else which
    found = area(page, group).locator(which).all()
    return [" ".join(one.inner_text().split()) for one in found]


def lacking(page: Page, group: str) -> list[str]:
    """Return the words of a group that cannot be read where they belong."""
    found, wanted = shown(page, group), WORDS[group]
    if len(found) != len(wanted):
        return wanted
    return [word for word, text in zip(wanted, found, strict=True) if word not in text]


def open_all(page: Page) -> None:
    """Open what can be opened: of one map, and the form of one card."""
    failing = area(page, "maps").locator(".jp-nbfn-map-root").nth(5)
    for part in ("Errors (7 in 2 groups)", "Logs (120 lines)", "Workers"):
        failing.locator("summary", has_text=part).click()
    failing.get_by_role("button", name="Traceback").first.click()
    expect(failing.locator("tbody tr")).to_have_count(3)
    expect(failing.locator("pre")).to_be_visible()
    card = area(page, "cards").locator(".jp-nbfn-function-root").first
    card.get_by_role("button", name="Call…").click()


def test_the_gallery(
    lab: Any,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    use_theme: Callable[[str], None],
    wait_until: Callable[..., Any],
) -> None:
    shutil.copy(HERE / "gallery.py", lab.work / "gallery.py")
    page = open_notebook("gallery.ipynb", "%load_ext nbfn\nimport gallery as g", *GROUPS.values())
    page.evaluate("() => jupyterapp.shell.collapseLeft()")
    page.set_viewport_size({"width": 1000, "height": HEIGHT})
    run_all()
    expect(area(page, "cards").locator(".jp-nbfn-function-root")).to_have_count(9)
    expect(page.locator("[data-mime-type*='stderr'], [data-mime-type*='error']")).to_have_count(0)
    open_all(page)
    for group in WORDS:
        # Lab lays a cell out when it is seen, and only then its words stand apart.
        area(page, group).evaluate("node => node.scrollIntoView({ block: 'start' })")
        wait_until(lambda group=group: not lacking(page, group), f"all of {group} is there")
    findings: list[str] = []
    looks = {"light": "Light", "dark": "Dark", "contrast": "Dark High Contrast", "narrow": "Light"}
    for look, theme in looks.items():
        use_theme(f"JupyterLab {theme}")
        page.set_viewport_size({"width": 520 if look == "narrow" else 1000, "height": HEIGHT})
        for group in GROUPS:
            at = area(page, group)
            at.evaluate("node => node.scrollIntoView({ block: 'start' })")
            at.screenshot(path=ARTIFACTS / f"gallery-{group}-{look}.png")
            findings += [f"{group}, {look}: {found}" for found in at.evaluate(AUDIT)]
    assert findings == []
