"""The text that Functions and classes display in a real kernel without a front end."""

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


def test_what_is_called_in_another_way_says_so(one_kernel: Run) -> None:
    _, greeter, method, generator, endpoint = one_kernel(
        "import nbfn\napp = nbfn.App('kinds')\n"
        "@app.cls()\nclass Greeter:\n    'Greets.'\n    word: str = nbfn.parameter()\n"
        "    @nbfn.method()\n    def greet(self, name: str) -> str:\n"
        "        'Say it.'\n        return self.word + name\n"
        "@app.function()\ndef count(to: int):\n    yield from range(to)\n"
        "@app.function()\n@nbfn.fastapi_endpoint()\ndef hello(name: str = 'you') -> str:\n    return name\n"
        "app.deploy()",
        "Greeter",
        "Greeter(word='Ahoy').greet",
        "count",
        "hello",
    )
    assert greeter.shown[0]["text/plain"].splitlines() == [
        "C Greeter v1 · app kinds · class · Greeter(word=…) creates an object with its own workers",
        "  Greeter(*, word: str)",
        "  .greet(name: str) -> str",
        "  Greets.",
    ]
    assert method.shown[0]["text/plain"].splitlines() == [
        "ƒ Greeter(word='Ahoy').greet · app kinds · method · its first call creates the object",
        "  Greeter(word='Ahoy').greet(name: str) -> str",
        "  Say it.",
    ]
    assert "· generator · warm 0 ·" in generator.shown[0]["text/plain"]
    assert "· web endpoint · warm 0 ·" in endpoint.shown[0]["text/plain"]
    assert '<a href="http://127.0.0.1:' in endpoint.shown[0]["text/html"]


def test_an_unchanged_cell_says_how_many_workers_are_warm_now(one_kernel: Run) -> None:
    cell = "%%remote --app cards --warm 1\ndef lukewarm(x): return x"
    first, _, again = one_kernel(cell, "lukewarm.keep_warm(0)", cell)
    assert " · warm 1" in first.shown[0]["text/plain"]
    assert "unchanged" in again.shown[0]["text/plain"]
    assert "warm" not in again.shown[0]["text/plain"].replace("lukewarm", "")
