"""What the types of a Function and of its calls are; read by mypy and pyright, never run.

A line that must be refused carries the ignore that both would call unnecessary if they accepted it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any, assert_type

import nbfn
from nbfn import Function, FunctionCall

app = nbfn.App("typing")


@app.function()
def square(x: int, *, unit: str = "") -> int:
    return x * x


@app.function(timeout=60, retries=2)
async def fetched(url: str) -> bytes:
    return url.encode()


@app.function()
def counted(upto: int) -> Iterator[int]:
    yield from range(upto)


@app.function()
def echoed(upto: int) -> Generator[int, str, None]:
    yield upto


@app.function()
async def ticks(upto: int) -> AsyncIterator[float]:
    yield float(upto)


@app.function()
async def tocks(upto: int) -> AsyncGenerator[float, None]:
    yield float(upto)


@app.function()
def loose(x: int) -> Any:
    return x


@app.function()
@nbfn.concurrent(max_inputs=10)
async def many(x: int) -> str:
    return str(x)


@app.function()
@nbfn.batched(max_batch_size=4, wait_ms=10)
async def gathered(xs: list[int]) -> list[str]:
    return [str(x) for x in xs]


@app.function()
@nbfn.fastapi_endpoint(method="POST")
async def endpoint(name: str = "world") -> dict[str, str]:
    return {"hello": name}


@app.function()
@nbfn.concurrent(max_inputs=10)
@nbfn.asgi_app()
def site() -> Callable[..., None]:
    return print


def plain() -> None:
    assert_type(square.remote(3), int)
    assert_type(square.remote(3, unit="m"), int)
    assert_type(square.local(3), int)
    assert_type(square.spawn(3), FunctionCall[int])
    assert_type(square.spawn(3).get(timeout=1), int)
    assert_type(list(square.map([1, 2])), list[int])
    assert_type(next(square.map([1, 2])), int)
    assert_type(list(square.starmap([(1,), (2,)], order_outputs=False)), list[int])
    assert_type(square.for_each([1, 2]), None)
    assert_type(list(square.map(fetched.map(["u"]))), list[int])
    assert_type(square.spawn_map([1, 2]), FunctionCall[int])
    assert_type(list(square.spawn_map([1, 2]).iter()), list[int])
    assert_type(square.spawn_map([1, 2]).num_inputs(), int)
    assert_type(FunctionCall.gather(square.spawn(3), fetched.spawn("u")), list[Any])
    assert_type(square.with_options(timeout=5).remote(3), int)
    assert_type(square.with_concurrency(max_inputs=5).remote(3), int)
    assert_type(square.hydrate().remote(3), int)
    assert_type(square.get_raw_f(), Callable[..., Any])
    assert_type(square.get_current_stats().backlog, int)
    assert_type(square.object_id, str)
    assert_type(many.remote(3), str)
    assert_type(loose.remote(3), Any)


def asynchronous_bodies() -> None:
    assert_type(fetched.remote("u"), bytes)
    assert_type(fetched.spawn("u"), FunctionCall[bytes])
    assert_type(list(fetched.map(["u"])), list[bytes])
    _ = assert_type(fetched.local("u"), Coroutine[Any, Any, bytes])
    _ = assert_type(many.local(3), Coroutine[Any, Any, str])


def generators() -> None:
    assert_type(list(counted.remote_gen(3)), list[int])
    assert_type(list(echoed.remote_gen(3)), list[int])
    assert_type(list(ticks.remote_gen(3)), list[float])
    assert_type(list(tocks.remote_gen(3)), list[float])
    assert_type(counted.local(3), Iterator[int])
    assert_type(ticks.local(3), AsyncIterator[float])


def batches() -> None:
    assert_type(gathered.remote(3), str)
    assert_type(list(gathered.map([1, 2])), list[str])
    _ = assert_type(gathered.local([1, 2]), Coroutine[Any, Any, list[str]])


async def endpoints() -> None:
    assert_type(endpoint.get_web_url(), str | None)
    assert_type(await endpoint.local("ada"), dict[str, str])
    assert_type(site.local(), Callable[..., None])


async def awaited() -> None:
    assert_type(await square.remote.aio(3), int)
    assert_type(await fetched.remote.aio("u"), bytes)
    assert_type(await fetched.local("u"), bytes)
    assert_type(await square.spawn.aio(3), FunctionCall[int])
    call = square.spawn(3)
    assert_type(await call.get.aio(timeout=1), int)
    assert_type(await call, int)
    assert_type(await FunctionCall.gather.aio(call, call), list[Any])
    assert_type([y async for y in square.spawn_map([1]).iter()], list[int])
    assert_type([y async for y in square.map.aio(square.map.aio([1]))], list[int])
    assert_type([y async for y in square.map.aio([1])], list[int])
    assert_type([y async for y in square.map([1])], list[int])
    assert_type([y async for y in square.starmap.aio([(1,)])], list[int])
    assert_type([y async for y in ticks.remote_gen.aio(3)], list[float])
    assert_type(await square.for_each.aio([1]), None)
    assert_type(await (await square.hydrate.aio()).remote.aio(3), int)


def elsewhere() -> None:
    found = Function.from_name("app", "function")
    assert_type(found, Function[..., Any])
    assert_type(found.remote(1, "2", three=3), Any)
    assert_type(FunctionCall.from_id("fc-1").get(), Any)


def as_annotation(
    f: Function[[int], str], g: Function[[int], str, Coroutine[Any, Any, str]]
) -> None:
    assert_type(f.local(1), str)
    _ = assert_type(g.local(1), Coroutine[Any, Any, str])
    assert_type(f.remote(1) + g.remote(1), str)


def of_an_app() -> None:
    assert_type(square.app.name, str | None)
    square.app.deploy(tag="first")


async def refused() -> None:
    square.remote("3")  # type: ignore[arg-type]
    square.remote()  # type: ignore[call-arg]
    square.remote(3, unit=1)  # type: ignore[arg-type]
    square.remote(3, units="m")  # type: ignore[call-arg]
    await square.remote.aio("3")  # type: ignore[arg-type]
    square.local("3")  # type: ignore[arg-type]
    square.spawn("3")  # type: ignore[arg-type]
    await square.spawn.aio("3")  # type: ignore[arg-type]
    counted.remote_gen("3")  # type: ignore[arg-type]
    square.map(3)  # type: ignore[arg-type]
    square.map([3], order=False)  # type: ignore[call-arg]
    square.starmap([3])  # type: ignore[list-item]
    square.for_each(3)  # type: ignore[arg-type]
    square(3)  # type: ignore[operator]
    app.function(timeout="long")  # type: ignore[arg-type]
