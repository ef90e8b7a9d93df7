"""Tests that failures that every attempt would repeat are not retried, such as results that cannot be pickled."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn.exception import DeserializationError, InvalidError, SerializationError

app = nbfn.App("final-failures")
#: A retry would come after a minute: what is raised within `SOON` was not retried.
LATE = nbfn.Retries(max_retries=3, initial_delay=60.0)
AT_ONCE = nbfn.Retries(max_retries=3, initial_delay=0.0)
SOON = 30


@app.function(retries=LATE)
def plain(x: int) -> int:
    return x


@app.function(retries=LATE)
async def later(x: int) -> int:
    return x


@app.function(retries=LATE)
@nbfn.concurrent(max_inputs=4)
def threaded(x: int) -> int:
    return x


@app.function(retries=LATE)
@nbfn.concurrent(max_inputs=4)
async def gathered(x: int) -> int:
    return x


@app.function(retries=LATE)
@nbfn.batched(max_batch_size=4, wait_ms=50)
def batch(x: list[int]) -> list[int]:
    return x


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@app.function(retries=LATE)
@logged
def wrapped(x: int) -> int:
    return x


@app.cls(retries=LATE)
class Model:
    @nbfn.method()
    def apply(self, x: int) -> int:
        return x


ANY: list[Any] = [plain, later, threaded, gathered, batch, wrapped, Model().apply]


@pytest.mark.parametrize("function", ANY, ids=lambda function: function.tag)
def test_wrong_arguments_fail_at_once(function: Any) -> None:
    for args, kwargs in (((1, 2), {}), ((), {"y": 1}), ((), {})):
        with pytest.raises((TypeError, InvalidError), match=r"argument"):
            function.spawn(*args, **kwargs).get(timeout=SOON)


def test_wrong_arguments_of_a_map_fail_at_once() -> None:
    call = plain.spawn_map([1, 2], [3, 4])
    for index in range(2):
        with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
            call.get(timeout=SOON, index=index)
    results = list(plain.map([1, 2], [3, 4], return_exceptions=True))
    assert [type(result) for result in results] == [TypeError, TypeError]


class Broken:
    """Cannot be unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _broken, ()


def _broken() -> None:
    raise ValueError("broken for ever")


@pytest.mark.parametrize("function", ANY, ids=lambda function: function.tag)
def test_an_argument_that_cannot_be_unpickled_fails_at_once(function: Any) -> None:
    with pytest.raises(DeserializationError, match="cannot be unpickled.*broken for ever"):
        function.spawn(Broken()).get(timeout=SOON)


def test_an_input_of_a_batch_is_run_again_when_only_its_neighbour_was_wrong(
    tmp_path: Path,
) -> None:
    patient = batch.with_options(retries=AT_ONCE).with_batching(max_batch_size=2, wait_ms=2000)
    right, wrong = patient.spawn(7), patient.spawn(1, 2)
    assert right.get(timeout=SOON) == 7
    with pytest.raises(InvalidError, match="takes 1 positional argument; a caller gave 2"):
        wrong.get(timeout=SOON)


@app.function(retries=LATE)
def a_lock() -> Any:
    return [threading.Lock()]


@app.function(retries=LATE)
async def a_lock_later() -> Any:
    return threading.Lock()


@app.function(retries=LATE)
@nbfn.concurrent(max_inputs=2)
def a_lock_in_a_thread() -> Any:
    return threading.Lock()


@pytest.mark.parametrize(
    "function", [a_lock, a_lock_later, a_lock_in_a_thread], ids=lambda function: function.tag
)
def test_a_result_that_cannot_be_pickled_fails_at_once(function: Any) -> None:
    name = function.tag
    with pytest.raises(SerializationError, match=f"The result of '{name}' holds .*_thread.lock"):
        function.spawn().get(timeout=SOON)


@app.function(retries=LATE)
def a_generator(count: int) -> Any:
    return (x for x in range(count))


@app.function(retries=LATE)
@nbfn.batched(max_batch_size=4, wait_ms=0)
def no_list(x: list[int]) -> Any:
    return 3


def test_a_result_that_cannot_be_sent_fails_at_once() -> None:
    with pytest.raises(InvalidError, match="'a_generator' returned a generator"):
        a_generator.spawn(2).get(timeout=SOON)
    with pytest.raises(InvalidError, match="'no_list' must return a list"):
        no_list.spawn(2).get(timeout=SOON)


def counted(folder: Path) -> int:
    """Count one more attempt and return how many there were."""
    with (folder / "attempts").open("a") as file:
        file.write("x")
    return len((folder / "attempts").read_text())


class Elsewhere:
    """Opens a file when it is unpickled, which is not there at first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if counted(self.folder) < 3:
            raise ConnectionRefusedError("not up yet")


@app.function(retries=AT_ONCE)
def opened(thing: Elsewhere) -> str:
    return str(thing.folder.name)


def test_an_argument_that_lacks_something_of_the_machine_is_tried_again(tmp_path: Path) -> None:
    assert opened.remote(Elsewhere(tmp_path)) == tmp_path.name


@app.function(retries=AT_ONCE)
def typed(folder: Path) -> int:
    if (attempt := counted(folder)) < 3:
        raise TypeError("typed() takes a break")
    return attempt


@app.function(retries=AT_ONCE)
async def typed_later(folder: Path) -> int:
    await asyncio.sleep(0)
    return typed.local(folder)


@app.function(retries=AT_ONCE)
@logged
def typed_within(folder: Path) -> int:
    if (attempt := counted(folder)) < 3:
        typed_within.local()  # a wrong call that the body makes
    return attempt


def injected(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(folder: Path) -> Any:
        if (attempt := counted(folder)) < 3:
            raise TypeError("the wrapper's own")
        return function(folder, attempt)

    return wrapper


@app.function(retries=AT_ONCE)
@injected
def with_more(folder: Path, attempt: int) -> int:
    return attempt


@app.function(retries=AT_ONCE)
def pickles(folder: Path) -> int:
    if (attempt := counted(folder)) < 3:
        raise SerializationError("what the body says")
    return attempt


@pytest.mark.parametrize(
    "function",
    [typed, typed_later, typed_within, with_more, pickles],
    ids=lambda function: function.tag,
)
def test_such_an_error_of_the_body_is_retried(function: Any, tmp_path: Path) -> None:
    assert function.remote(tmp_path) == 3
