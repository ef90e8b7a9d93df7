"""What the constructor of a class with parameters takes; read by pyright, never run."""

from __future__ import annotations

from typing import assert_type

import nbfn

app = nbfn.App("typing")


@app.cls()
class Model:
    size: int = nbfn.parameter()
    name: str = nbfn.parameter(default="small")

    @nbfn.method()
    def scored(self, x: float) -> float:
        return x * self.size


@app.cls()
class Older:
    def __init__(self, size: int) -> None:
        self.size = size

    @nbfn.method()
    def scored(self, x: float) -> float:
        return x * self.size


def used() -> None:
    assert_type(Model(size=3), Model)
    assert_type(Model(size=3, name="large").scored.remote(1.0), float)
    assert_type(Older(3).scored.remote(1.0), float)


def refused() -> None:
    Model()  # type: ignore[call-arg]
    Model(3)  # type: ignore[call-arg]
    Model(size="3")  # type: ignore[arg-type]
    Model(size=3, names="large")  # type: ignore[call-arg]
    Older()  # type: ignore[call-arg]
