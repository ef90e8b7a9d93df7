"""Tests that `f.remote` and similar methods behave like ordinary callables, in Python and in libraries."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import pickle
import pydoc
import subprocess
import sys
import typing
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

import nbfn

app = nbfn.App("callables")


@app.function()
def double(x: int, times: int = 2) -> int:
    """Return it doubled."""
    return x * times


@app.function()
async def later(x: int) -> int:
    return x + 1


@app.function()
def called(function: Callable[[Any], Any], x: Any) -> Any:
    return function(x)


@app.function()
def named(self: int = 0, function: int = 0, instance: int = 0, args: int = 0) -> tuple[int, ...]:
    return self, function, instance, args


@app.function()
def counted(self: int, owner: int) -> Any:
    yield from range(self, owner)


@app.cls()
class Adder:
    more: int = nbfn.parameter(default=1)

    @nbfn.method()
    def add(self, x: int) -> int:
        return x + self.more

    @nbfn.method()
    def copied(self, x: int) -> int:
        return int(copy.deepcopy(copy.copy(self.add))(x))

    @nbfn.method()
    def sent(self, x: int) -> int:
        return int(called.remote(self.add.remote, x))


@pytest.fixture(scope="module", autouse=True)
def known(hub_home: object) -> None:
    """A handle can be sent once the hub knows it."""
    for handle in (double, later, called, named, Adder):
        handle.hydrate()  # type: ignore[attr-defined]


remote_double = double.remote


@app.function()
def through_a_captured_method(x: int) -> int:
    return int(remote_double(x))


OPERATIONS = [
    double.remote, double.spawn, double.map, double.starmap, double.for_each, double.spawn_map, double.hydrate,
    double.keep_warm, counted.remote_gen, later.remote, Adder(more=3).add.remote, Adder(more=3).keep_warm,
    Adder.hydrate, Adder.lookup, app.run, app.deploy, app.set_tags, nbfn.App.lookup, nbfn.Function.lookup,
    nbfn.Function.remote, nbfn.Function.map, nbfn.FunctionCall.gather, nbfn.FunctionCall.get, nbfn.Client.attach,
    nbfn.Secret.create_deployed, nbfn.Secret.objects.create, nbfn.calls,
]  # fmt: skip
IDS = [f"{number}-{one.__name__}" for number, one in enumerate(OPERATIONS)]


@pytest.mark.parametrize("operation", OPERATIONS, ids=IDS)
def test_every_operation_says_of_itself_what_a_method_says(operation: Any) -> None:
    assert not inspect.iscoroutinefunction(operation)
    assert not asyncio.iscoroutinefunction(operation)
    assert callable(operation)
    assert operation.__name__ == operation.__qualname__.rpartition(".")[2]
    assert operation.__name__[0] != "_"
    assert operation.__module__.startswith("nbfn")
    assert operation.__doc__
    assert operation.__doc__.splitlines()[0] in pydoc.render_doc(operation)
    assert functools.wraps(operation)(lambda: None).__name__ == operation.__name__
    typing.get_type_hints(operation)


@pytest.mark.parametrize("operation", OPERATIONS, ids=IDS)
def test_every_operation_is_copied(operation: Any) -> None:
    for made in (copy.copy(operation), copy.deepcopy(operation)):
        assert made.__qualname__ == operation.__qualname__
        assert type(made) is type(operation)


def test_the_twin_of_a_blocking_one_is_a_coroutine_function() -> None:
    for blocking in (double.remote, double.spawn, double.hydrate, app.deploy, nbfn.Client.attach):
        assert inspect.iscoroutinefunction(blocking.aio)
        assert asyncio.iscoroutinefunction(blocking.aio)


def test_the_signature_is_that_of_the_function() -> None:
    assert str(inspect.signature(double.remote)) == "(x: 'int', times: 'int' = 2) -> 'int'"
    assert list(inspect.signature(double.spawn).parameters) == ["x", "times"]
    assert list(inspect.signature(Adder().add.remote).parameters) == ["x"]
    assert list(inspect.signature(Adder().add).parameters) == ["x"]
    assert list(inspect.signature(double.keep_warm).parameters) == ["warm_pool_size"]
    assert next(iter(inspect.signature(double.map).parameters)) == "input_iterators"
    assert list(inspect.signature(nbfn.Client.attach).parameters) == ["start"]
    found = nbfn.Function.from_name("elsewhere", "f").remote
    assert list(inspect.signature(found).parameters) == ["args", "kwargs"]
    assert typing.get_type_hints(double.remote)["return"] is int


@pytest.mark.parametrize("how", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
def test_it_is_pickled(how: Any) -> None:
    assert how.loads(how.dumps(double.remote))(4) == 8
    assert how.loads(how.dumps(functools.partial(double.remote, times=3)))(4) == 12
    assert list(how.loads(how.dumps(double.map))([1, 2])) == [2, 4]
    assert how.loads(how.dumps(Adder(more=2).add.remote))(1) == 3
    assert asyncio.run(how.loads(how.dumps(later.remote.aio))(1)) == 2
    for fixed in (nbfn.Client.attach, nbfn.FunctionCall.gather, nbfn.calls, nbfn.Function.remote):
        assert how.loads(how.dumps(fixed)) == fixed


def test_it_is_copied() -> None:
    for copied in (copy.copy(double.remote), copy.deepcopy({"f": [double.remote]})["f"][0]):
        assert copied == double.remote
        assert copied(2) == 4
    assert copy.deepcopy(double) is double
    assert copy.deepcopy(Adder) is Adder
    assert repr(copy.copy(Adder.add)) == "Adder.add"  # type: ignore[attr-defined]


def test_two_of_one_handle_are_equal() -> None:
    assert double.remote == double.remote
    assert len({double.remote, double.remote, double.spawn, later.remote}) == 3
    assert double.remote != later.remote
    assert double.remote != double.spawn
    assert double.remote != print


def test_it_is_referred_to_weakly() -> None:
    held = double.remote
    assert weakref.ref(held)() is held
    method = weakref.WeakMethod(double.remote)()  # type: ignore[arg-type]
    assert method is not None
    assert method(2) == 4


def test_another_function_calls_it() -> None:
    assert called.remote(double.remote, 3) == 6
    assert called.remote(Adder(more=5).add.remote, 3) == 8
    assert list(called.map([double.remote, later.remote], [1, 1])) == [2, 2]
    assert through_a_captured_method.remote(4) == 8


def test_a_method_that_its_own_object_passes_on_is_called() -> None:
    assert Adder(more=2).copied.remote(1) == 3
    assert Adder(more=2).sent.remote(1) == 3


def test_libraries_call_it() -> None:
    assert list(map(double.remote, [1, 2])) == [2, 4]
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(double.remote, [1, 2])) == [2, 4]
    assert asyncio.run(asyncio.to_thread(double.remote, 3)) == 6
    assert functools.reduce(double.remote, [2, 3, 4]) == 24
    assert np.vectorize(double.remote)(np.array([1, 2])).tolist() == [2, 4]
    assert functools.lru_cache(double.remote)(3) == 6


PROGRAM = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor

import nbfn

app = nbfn.App("pool")


@app.function()
def double(x):
    return 2 * x


if __name__ == "__main__":
    double.hydrate()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(sys.argv[1])) as pool:
        print(list(pool.map(double.remote, [1, 2])))
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_process_pool_calls_it(method: str, tmp_path: Path) -> None:
    program = tmp_path / "pool.py"
    program.write_text(PROGRAM)
    ran = subprocess.run(
        [sys.executable, program, method], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.stdout == "[2, 4]\n", ran.stderr


def test_parameters_have_any_name() -> None:
    for number, name in enumerate(("self", "function", "instance", "args")):
        wanted = tuple(int(n == number) for n in range(4))
        given: Any = {name: 1}
        assert named.remote(**given) == wanted
        assert named.spawn(**given).get() == wanted
        assert named.local(**given) == wanted
        assert asyncio.run(named.remote.aio(**given)) == wanted
        assert list(called.starmap([(named.remote, 1)])) == [(1, 0, 0, 0)]
    assert list(counted.remote_gen(self=1, owner=3)) == [1, 2]
