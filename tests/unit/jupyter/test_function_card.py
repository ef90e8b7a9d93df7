"""The text and HTML of registration summaries and cards."""

from __future__ import annotations

from types import SimpleNamespace

from nbfn.jupyter.cells.registration_summary import Summary, bundle, captures


def item(name: str, kind: str, size: int = 28) -> SimpleNamespace:
    return SimpleNamespace(name=name, kind=kind, size=size, type="")


def test_modules_helpers_values_and_what_is_heavy() -> None:
    found = [
        item("np", "module"),
        item("helper", "function"),
        item("Point", "class"),
        item("other", "Function"),
        item("threshold", "global"),
        item("table", "closure", 2_400_000),
        item("width", "default"),
        item("weights", "default", 5000),
    ]
    shown = captures(found, {"threshold": 3, "table": [1, 2], "width": 4})
    assert shown == (
        "np",
        "helper()",
        "Point",
        "other",
        "threshold=3 (28 B)",
        "table (2.3 MB)",
        "weights (4.9 kB)",
    )


def test_many_captures_are_cut_and_long_values_not_shown() -> None:
    shown = captures([item(f"n{i}", "module") for i in range(20)], {})
    assert shown[-1] == "and 8 more"
    assert captures([item("s", "global")], {"s": "x" * 100}) == ("s (28 B)",)


def test_html_of_a_card_escapes_and_says_the_same() -> None:
    card = Summary("f", "a", 2, True, 0, ("s='<b>' (9 B)",), "(x: int = '<')")
    shown = bundle([card])
    assert shown["text/plain"] == "✓ f v2 · app a · captures s='<b>' (9 B)"
    assert "<b>'" not in shown["text/html"]
    assert "&lt;b&gt;" in shown["text/html"]
    assert not {"{", "}"} & set(shown["text/html"])
    assert ">✓</span>" in shown["text/html"]


def test_names_that_nobody_has_defined_are_told() -> None:
    card = Summary("f", "a", 1, True, 0, ("np",), undefined=("df",))
    assert card.line() == "✓ f v1 · app a · captures np · not defined so far: df"
    assert "not defined so far: df" in card.html()
