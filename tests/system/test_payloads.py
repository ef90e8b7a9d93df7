"""Values that are too large, or cannot be pickled, rebuilt or trusted (docs/guarantees.md, F24, F25, F26)."""

from __future__ import annotations

import statistics
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import nbfn
from nbfn.client.client import Client
from nbfn.exception import Error, ExecutionError, SerializationError

app = nbfn.App()
MB = 2**20


@app.function()
def echo(value: Any) -> Any:
    return value


@app.function()
def give(what: str) -> Any:
    if what == "lock":
        return {"inner": [threading.Lock()]}
    if what == "generator":
        return (n for n in range(3))
    if what == "bomb":
        return Bomb()
    raise Unfit("one", two=2)


class Bomb:
    """Cannot be unpickled."""

    def __reduce__(self) -> Any:
        return _explode, ("boom",)


def _explode(text: str) -> None:
    raise ValueError(text)


class Unfit(Exception):
    """Its recipe is wrong: what it was made of is not what it says."""

    def __init__(self, one: str, *, two: int) -> None:
        super().__init__(f"{one} and {two}")

    def __reduce__(self) -> Any:
        return _explode, ("not like that",)


def test_f24_200_mb_there_and_back_hold_up_nobody(home: Path) -> None:
    @app.function(name="small")
    def small(number: int) -> int:
        return number

    small.keep_warm(1)
    small.remote(0)
    echo.remote(0)
    hub = psutil.Process(Client.attach().overview().hub.pid)
    before, done, times = hub.memory_info().rss, threading.Event(), []

    def meanwhile() -> None:
        while not done.is_set():
            begun = time.perf_counter()
            small.remote(1)
            times.append(time.perf_counter() - begun)

    thread = threading.Thread(target=meanwhile)
    thread.start()
    try:
        data = bytes(200 * MB)
        assert echo.remote(data) == data
    finally:
        done.set()
        thread.join()
    assert hub.memory_info().rss - before < 30 * MB
    # Both cores copy meanwhile, and this process holds its GIL for that; the rule is about the hub.
    assert statistics.median(times) < 0.1, sorted(times)


def test_f25_what_cannot_be_pickled_is_named(home: Path) -> None:
    for value, name in (("lock", "_thread.lock"), ("generator", "generator")):
        with pytest.raises((SerializationError, nbfn.exception.InvalidError), match=name):
            give.remote(value)
    with pytest.raises(SerializationError, match=r"_thread\.lock"):
        echo.remote(threading.Lock())
    assert echo.remote(1) == 1


def test_f25_an_exception_that_cannot_be_rebuilt_keeps_its_text(home: Path) -> None:
    with pytest.raises(Exception, match="one and 2") as caught:
        give.remote("unfit")
    assert isinstance(caught.value, (Unfit, ExecutionError))
    assert "raise Unfit" in "".join(getattr(caught.value, "__notes__", [])) or caught.traceback


def test_f26_a_result_that_cannot_be_unpickled_harms_only_who_asks(home: Path) -> None:
    with pytest.raises(ExecutionError, match="boom"):
        give.remote("bomb")
    call = give.spawn("bomb")
    for _ in range(2):
        with pytest.raises(Error, match="boom"):
            call.get()
    results = list(give.map(["bomb", "lock"], return_exceptions=True))
    assert [type(error) for error in results] == [ExecutionError, SerializationError]
    assert echo.remote(2) == 2
