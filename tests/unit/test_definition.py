"""What the hub is told of a function."""

from __future__ import annotations

from typing import Any

from nbfn.definition import _signature

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

    assert _signature(fit) == (
        "(x: 'int', rate: 'float' = 0.1, *, name: 'str' = 'a', table: 'Any' = …) -> 'None'"
    )
    assert _signature(odd) == "(one: 'Any' = …, two: 'Any' = …) -> 'None'"
