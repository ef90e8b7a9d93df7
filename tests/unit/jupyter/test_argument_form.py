"""The form of a Function's card: fields from its signature, arguments from the values of the fields."""

from __future__ import annotations

from typing import Any

import pytest

from nbfn.jupyter.argument_form import FormError, arguments_of, fields_of

SIGNATURE = (
    "(a: int, /, b: float = 0.5, c: str = 'x', d: bool = True, "
    "e: typing.Literal['fast', 2] = 'fast', f: list[int] = [1], *, g=None, n: int | None = None)"
)


def filled(**changes: Any) -> tuple[list[Any], dict[str, Any]]:
    fields = fields_of(SIGNATURE)
    texts: dict[str, Any] = {field.name: field.default or "" for field in fields}
    texts["d"] = True
    return arguments_of(fields, texts | {"a": "1"} | changes, {"known": [7, 8]})


def test_fields_have_the_kinds_of_their_annotations() -> None:
    kinds = [(field.name, field.kind) for field in fields_of(SIGNATURE)]
    assert kinds == [
        ("a", "int"),
        ("b", "float"),
        ("c", "str"),
        ("d", "bool"),
        ("e", "choice"),
        ("f", "expression"),
        ("g", "expression"),
        ("n", "expression"),
    ]
    assert fields_of(SIGNATURE)[4].choices == ("'fast'", "2")


def test_what_is_left_as_it_was_is_not_given() -> None:
    assert filled() == ([1], {})


def test_what_is_filled_in_is_typed() -> None:
    args, kwargs = filled(b="2", c="two words", d=False, e="2", f="known + [9]", n="3")
    assert args == [1]
    assert kwargs == {"b": 2.0, "c": "two words", "d": False, "e": 2, "f": [7, 8, 9], "n": 3}


def test_json_is_understood_where_it_is_no_expression() -> None:
    assert filled(g='{"on": true, "off": null}') == ([1], {"g": {"on": True, "off": None}})


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a", "", "a is missing"),
        ("a", "one", "a is 'one', which is not a valid int"),
        ("e", "'slow'", "choose one of 'fast', 2"),
        ("f", "unknown", "f: NameError"),
    ],
)
def test_what_does_not_fit_is_named(name: str, text: str, said: str) -> None:
    with pytest.raises(FormError, match=said):
        filled(**{name: text})


def test_stars_and_signatures_that_cannot_be_read() -> None:
    fields = fields_of("(x, *rest, **more)")
    assert arguments_of(fields, {"x": "1", "rest": "[2, 3]", "more": "{'k': 4}"}, {}) == (
        [1, 2, 3],
        {"k": 4},
    )
    odd = fields_of("(x=<object object at 0x7f>)")
    assert arguments_of(odd, {"args": "[5]", "kwargs": "{}"}, {}) == ([5], {})
