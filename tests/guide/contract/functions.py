"""Defines small Functions that several test files call: a result, several arguments, a failure, a generator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import nbfn

app = nbfn.App()


@app.function()
def square(x: int) -> int:
    return x * x


@app.function()
def add(a: Any, b: Any = 0, *, c: Any = 0) -> Any:
    return a + b + c


@app.function()
def fail_at_2(x: int) -> int:
    if x == 2:
        raise ValueError("ohno")
    return x


@app.function()
def count_up(n: int) -> Iterator[int]:
    yield from range(n)
