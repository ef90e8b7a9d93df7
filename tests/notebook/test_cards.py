"""What a Function and a class display, in a real kernel without a page: the text twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Run = Callable[..., list[Any]]


def test_a_function_shows_what_it_is(one_kernel: Run) -> None:
    _, shown, _, again = one_kernel(
        "%%remote --quiet --app cards\n"
        "def embed(x: int, how: str = 'fast') -> list:\n    'Embed <it>.'\n    return [x]",
        "embed",
        "embed.keep_warm(1)",
        "embed",
    )
    text = shown.shown[0]["text/plain"]
    assert text.startswith("ƒ embed v1 · app cards · warm 0 · workers ")
    assert "embed(x: int, how: str = 'fast') -> list" in text
    assert "Embed &lt;it&gt;." in shown.shown[0]["text/html"]
    assert (
        "nbfn.Function.from_name(&#x27;cards&#x27;, &#x27;embed&#x27;)"
        in shown.shown[0]["text/html"]
    )
    assert "application/vnd.jupyter.widget-view+json" not in shown.shown[0]
    assert "warm 1" in again.shown[0]["text/plain"]
    one_kernel("embed.keep_warm(0)")


def test_a_function_that_nobody_called_is_not_registered_by_showing_it(one_kernel: Run) -> None:
    shown, known = one_kernel(
        "import nbfn\napp = nbfn.App()\n@app.function()\ndef later(x: int): return x\nlater",
        "later.is_hydrated",
    )
    assert "not registered yet" in shown.shown[0]["text/plain"]
    assert known.result == "False"


def test_a_class_and_what_is_not_there(one_kernel: Run) -> None:
    _, shown, missing = one_kernel(
        "%%remote --quiet --app cards\nimport nbfn\n"
        "class Model:\n    @nbfn.method()\n    def predict(self, x: int): return x",
        "Model",
        "import nbfn\nnbfn.Function.from_name('cards', 'nothing')",
    )
    text = shown.shown[0]["text/plain"]
    assert text.startswith("C Model v1 · app cards · class · warm 0 · ")
    assert ".predict(x: int)" in text
    assert "Function.from_name('cards', 'nothing'): " in missing.shown[0]["text/plain"]
