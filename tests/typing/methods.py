"""What the types of a class's methods are; read by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, assert_type

import nbfn
from nbfn import FunctionCall

app = nbfn.App("typing")


@app.cls(max_containers=2)
@nbfn.concurrent(max_inputs=4)
class Model:
    name: str = nbfn.parameter(default="small")

    @nbfn.enter()
    def load(self) -> None:
        self.weights = [1.0]

    @nbfn.method()
    def scored(self, x: float, *, digits: int = 2) -> float:
        assert_type(self.load(), None)
        assert_type(self.named.remote(x), str)
        return round(self.weights[0] * x, digits)

    @nbfn.method()
    async def named(self, x: float) -> str:
        return str(x)

    @nbfn.method()
    def items(self, upto: int) -> Iterator[int]:
        yield from range(upto)

    @nbfn.method()
    async def ticks(self, upto: int) -> AsyncIterator[int]:
        yield upto

    @nbfn.method()
    def loose(self, x: int) -> Any:
        return x

    @nbfn.batched(max_batch_size=4, wait_ms=10)
    def together(self, xs: list[int]) -> list[str]:
        return [str(x) for x in xs]

    @nbfn.exit()
    def close(self) -> None: ...


async def used() -> None:
    model = Model()
    assert_type(model.scored.remote(1.0), float)
    assert_type(model.scored.local(1.0, digits=1), float)
    assert_type(model.scored.spawn(1.0), FunctionCall[float])
    assert_type(list(model.scored.map([1.0])), list[float])
    assert_type(await model.scored.remote.aio(1.0), float)
    assert_type(model.named.remote(1.0), str)
    _ = assert_type(model.named.local(1.0), Coroutine[Any, Any, str])
    assert_type(list(model.items.remote_gen(3)), list[int])
    assert_type([n async for n in model.ticks.remote_gen.aio(3)], list[int])
    assert_type(model.loose.remote(1), Any)
    assert_type(model.together.remote(1), str)
    assert_type(list(model.together.map([1])), list[str])


def refused() -> None:
    model = Model()
    model.scored.remote("1")  # type: ignore[arg-type]
    model.scored.remote()  # type: ignore[call-arg]
    model.scored.remote(1.0, digit=2)  # type: ignore[call-arg]
    model.scored.local(1.0, digits="2")  # type: ignore[arg-type]
    model.items.remote_gen("3")  # type: ignore[arg-type]
    model.scored(1.0)  # type: ignore[operator]
