"""Signatures as people read them: what does not fit a line is left out."""

from __future__ import annotations

from typing import Any

import nbfn
from nbfn.client.registration.definition import class_signature, signature_of
from nbfn.declarations.parameters import constructor_shape

TABLE = list(range(1000))


class Silent:
    def __repr__(self) -> str:
        raise RuntimeError


class TwoLines:
    def __repr__(self) -> str:
        return "a\nb"


def test_a_signature_shows_defaults_that_can_be_read_in_a_line() -> None:
    def fit(x: int, rate: float = 0.1, *, name: str = "a", table: Any = TABLE) -> None: ...

    def odd(one: Any = Silent(), two: Any = TwoLines()) -> None: ...  # noqa: B008 - that is the point

    assert signature_of(fit) == (
        "(x: 'int', rate: 'float' = 0.1, *, name: 'str' = 'a', table: 'Any' = …) -> 'None'"
    )
    assert signature_of(odd) == "(one: 'Any' = …, two: 'Any' = …) -> 'None'"


def test_a_class_shows_what_its_constructor_takes() -> None:
    class Plain:
        def __init__(self, size: int) -> None: ...

    class Model:
        name: str = nbfn.parameter()
        size: int = nbfn.parameter(default=3)
        text: str = nbfn.parameter(default="x" * 100)

    assert class_signature(Plain, constructor_shape(Plain)) == "(size: 'int') -> 'None'"
    assert (
        class_signature(Model, constructor_shape(Model))
        == "(*, name: str, size: int = 3, text: str = …)"
    )
