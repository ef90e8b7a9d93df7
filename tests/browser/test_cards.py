"""The cards of a class and its methods on a real page; what is copied from cards and handles works elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

CELLS = (
    "%load_ext nbfn\nimport nbfn",
    """%%remote --app cards --quiet
class Model:
    "Doubles, and remembers."
    @nbfn.method()
    def twice(self, x: int, times: int = 1) -> int:
        "Return it doubled."
        return x * 2 ** times
""",
    """%%remote --app cards --quiet
class Greeter:
    word: str = nbfn.parameter()
    times: int = nbfn.parameter(default=1)

    @nbfn.method()
    def greet(self, name: str) -> str:
        return ", ".join([self.word] * self.times + [name])
""",
    "Model",
    "Greeter",
    "Model().twice",
    """%%remote --app cards --quiet
def wait(name, root):
    import time
    from pathlib import Path
    while not Path(root, name).exists():
        time.sleep(0.02)
    return name
%local
import os
call = wait.spawn("gate-of-cards", os.getcwd())
call""",
    """import time
while "result" not in globals() or result != "gate-of-cards":
    time.sleep(0.02)
print("Get has bound it")""",
)


@pytest.fixture
def copied_by(
    browser_context: BrowserContext, page: Page, wait_until: Callable[..., Any]
) -> Callable[[Locator, str], str]:
    """``copied_by(widget, "Copy id")`` presses the button and returns what it put into the clipboard."""
    browser_context.grant_permissions(["clipboard-read", "clipboard-write"])

    def copied_by(at: Locator, name: str) -> str:
        page.evaluate("() => navigator.clipboard.writeText('')")
        at.get_by_role("button", name=name).click()
        copied: str = wait_until(
            lambda: page.evaluate("() => navigator.clipboard.readText()"), f"{name} copies"
        )
        # It says so for a moment, and is itself again.
        expect(at.get_by_role("button", name=name)).to_be_visible()
        return copied

    return copied_by


def test_classes_methods_and_what_is_copied(
    lab: Any,
    page: Page,
    open_notebook: Callable[..., Page],
    run_all: Callable[[], None],
    copied_by: Callable[[Locator, str], str],
) -> None:
    open_notebook("cards.ipynb", *CELLS)
    run_all()
    cards = page.locator(".jp-nbfn-function-root")
    handle = page.locator(".jp-nbfn-handle-root")
    expect(handle).to_contain_text("running")
    model, greeter, twice = (cards.nth(number) for number in range(3))

    # All objects are alike: one pool, whose warm number can be set; a method has a form.
    expect(model).to_contain_text(".twice(x: int, times: int = 1) -> int")
    expect(model).to_contain_text("Doubles, and remembers.")
    model.get_by_role("button", name="One worker more").click()
    expect(model).to_contain_text("warm 1 ·")
    model.get_by_role("button", name="One worker fewer").click()
    expect(model).to_contain_text("warm 0 ·")
    twice.get_by_role("button", name="Call…").click()
    twice.get_by_label("x int").fill("5")
    twice.get_by_label("times int").fill("2")
    twice.get_by_role("button", name="Run").click()
    expect(twice.locator("pre")).to_have_text("20")

    # Objects differ: the card says how one is made, and offers nothing that would mean nothing.
    expect(greeter).to_contain_text("Greeter(*, word: str, times: int = 1)")
    expect(greeter).to_contain_text("Greeter(word=…) creates an object with its own workers")
    expect(greeter.get_by_role("group", name="Workers kept warm")).to_be_hidden()
    expect(greeter.get_by_role("button", name="Call…")).to_be_hidden()

    copied = copied_by(greeter, "Copy import")
    assert copied == "import nbfn\nGreeter = nbfn.Cls.from_name('cards', 'Greeter')"
    said = lab.run_python(f"{copied}\nprint(Greeter(word='Ahoy', times=2).greet.remote('Ada'))")
    assert said.stdout.strip() == "Ahoy, Ahoy, Ada"

    call = copied_by(handle, "Copy id")
    assert call.startswith("fc-")
    copied = copied_by(handle, "Copy code")
    assert copied == f'nbfn.FunctionCall.from_id("{call}").get()'
    handle.get_by_role("button", name="Get").click()  # does not block the page, nor the cell
    (lab.work / "gate-of-cards").touch()
    expect(page.locator(".jp-OutputArea", has_text="Get has bound it")).to_be_visible()
    expect(page.locator(".jp-nbfn-snapshot")).to_contain_text("✓ wait v1 · succeeded")
    assert lab.run_python(f"import nbfn\nprint({copied})").stdout.strip() == "gate-of-cards"
