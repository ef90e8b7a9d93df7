"""Tests of maps that continue in the background, that are abandoned, and whose failed inputs are retried."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn.client import call_observer
from nbfn.client.calls import result_collector
from nbfn.client.calls.map_result import MapResult
from nbfn.exception import Detached
from tests.conftest import wait_until

app = nbfn.App()


@app.function()
def square(x: int) -> int:
    return x * x


@app.function()
def choosy(x: Any, allowed: str) -> int:
    if x % 3 == 0 and not Path(allowed).exists():
        raise ValueError(f"not {x} today")
    return int(x) * 10


@app.function(max_containers=2)
def held(x: int, gate: str) -> int:
    import time

    while x >= 3 and not Path(gate).exists():
        time.sleep(0.01)
    if x == 1:
        raise ValueError("one")
    return x


def results_of(stream: Any) -> MapResult[Any]:
    assert isinstance(stream, MapResult)
    return stream


def test_collected_results_can_be_read_any_number_of_times() -> None:
    results = results_of(square.map(range(300)))
    assert results.untouched
    results.collect()
    assert list(results) == [x * x for x in range(300)]
    assert list(results) == [x * x for x in range(300)]
    assert next(results) == 0
    assert next(results) == 1
    assert "300 of them, all there" in repr(results)


def test_a_map_waits_while_its_results_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_collector, "MEMORY", result_collector.MemoryBudget(0))
    monkeypatch.setattr(result_collector, "SPARE", 1 << 60)
    pulled: list[int] = []
    results = results_of(square.map(pulled.append(x) or x for x in range(20_000)))  # type: ignore[func-returns-value]
    results.collect()
    assert results._call is not None
    call = results._call
    wait_until(lambda: call.held.startswith("no room on the disk"))
    assert next(results) == 0  # what is there can be read
    assert len(pulled) < 20_000
    monkeypatch.setattr(result_collector, "SPARE", 0)
    assert list(results) == [x * x for x in range(20_000)]
    assert call.held == ""


def test_leaving_a_loop_over_collected_results_ends_nothing(tmp_path: Path) -> None:
    results = results_of(
        held.map(range(5), kwargs={"gate": str(tmp_path / "g")}, return_exceptions=True)
    )
    results.collect()
    assert next(iter(results)) == 0
    (tmp_path / "g").touch()
    found = list(results)
    assert found[0] == 0
    assert isinstance(found[1], ValueError)
    assert found[2:] == [2, 3, 4]


def test_collected_results_end_with_the_error_of_a_map_that_raises(tmp_path: Path) -> None:
    results = results_of(
        choosy.map([1, 2, 3], kwargs={"allowed": str(tmp_path / "no")}, order_outputs=True)
    )
    results.collect()
    for _ in range(2):
        with pytest.raises(ValueError, match="not 3 today"):
            list(results)


def test_failures_run_again_into_the_collected_results(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    results = results_of(
        choosy.map(range(1, 8), kwargs={"allowed": str(allowed)}, return_exceptions=True)
    )
    results.collect()
    assert [isinstance(value, ValueError) for value in results] == [x % 3 == 0 for x in range(1, 8)]
    assert results.failures == [2, 5]
    again = results.retry()
    assert sorted(again) == [2, 5]
    assert all(isinstance(value, ValueError) for value in again.values())
    assert results.failures == [2, 5]
    allowed.touch()
    assert results.retry() == {2: 30, 5: 60}
    assert list(results) == [x * 10 for x in range(1, 8)]
    assert results.failures == []
    assert results.retry() == {}


def test_large_inputs_run_again_too(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"

    @app.function(name="measured")
    def measured(data: bytes, allowed: str) -> int:
        if not Path(allowed).exists():
            raise ValueError("not today")
        return len(data)

    results = results_of(
        measured.map(
            [b"x" * 3_000_000, b"y"], kwargs={"allowed": str(allowed)}, return_exceptions=True
        )
    )
    assert len(list(results)) == 2
    assert results.failures == [0, 1]
    allowed.touch()
    assert results.retry() == {0: 3_000_000, 1: 1}


def test_what_failed_runs_again_with_todays_version(tmp_path: Path) -> None:
    deployed = nbfn.App("again")

    def half(x: int) -> float:
        return 1 / x

    first = deployed.function(name="half")(half)
    deployed.deploy()
    results = results_of(first.map([2, 0], return_exceptions=True))
    assert isinstance(list(results)[1], ZeroDivisionError)

    def mended(x: int) -> float:
        return 1 / x if x else 0.0

    today = nbfn.App("again")
    today.function(name="half")(mended)
    today.deploy()
    assert results.retry() == {1: 0.0}


class Watching(call_observer.CallObserver):
    """An observer as a notebook is one: its maps can be detached."""

    def __init__(self) -> None:
        self.calls: list[call_observer.CallView] = []

    def call_started(self, call: call_observer.CallView) -> call_observer.CallSink:
        self.calls.append(call)
        sink = call_observer.TextSink()
        sink.detachable = True
        return sink


@pytest.fixture
def watching() -> Iterator[Watching]:
    watching = Watching()
    call_observer.set_observer(watching)
    yield watching
    call_observer.set_observer(None)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_map_that_is_detached_goes_on_and_has_all_results(
    tmp_path: Path, watching: Watching, ordered: bool
) -> None:
    gate = tmp_path / "gate"
    results = results_of(
        held.map(
            range(6), kwargs={"gate": str(gate)}, return_exceptions=True, order_outputs=ordered
        )
    )
    taken: list[Any] = []
    ended: list[BaseException] = []

    def loop() -> None:
        try:
            for value in results:
                try:
                    taken.append(value)
                except Exception:
                    continue
        except Detached as error:
            ended.append(error)

    waiting = threading.Thread(target=loop)
    waiting.start()
    wait_until(lambda: len(taken) == 3)
    results.detach()
    waiting.join(10)
    assert len(ended) == 1
    assert results.call_id in str(ended[0])
    gate.touch()
    found = list(results)
    assert sorted(v for v in found if isinstance(v, int)) == [0, 2, 3, 4, 5]
    if ordered:
        assert [v for v in found if isinstance(v, int)] == [0, 2, 3, 4, 5]
        assert isinstance(found[1], ValueError)
    assert results.failures == [1]


def test_without_a_memory_a_detached_map_has_what_comes_later(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    results = results_of(held.map(range(6), kwargs={"gate": str(gate)}, return_exceptions=True))
    taken: list[Any] = []

    def loop() -> None:
        with pytest.raises(Detached):
            taken.extend(value for value in results)

    waiting = threading.Thread(target=loop)
    waiting.start()
    wait_until(lambda: results._count == 3)
    results.detach()
    waiting.join(10)
    gate.touch()
    assert list(results) == [3, 4, 5]


def test_a_map_that_runs_hears_of_a_newer_version(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    newest: list[int] = []

    class Sink(call_observer.TextSink):
        def progress(self, p: Any) -> None:
            newest.append(p.newest)

    class Observer(call_observer.CallObserver):
        def call_started(self, call: call_observer.CallView) -> call_observer.CallSink:
            return Sink()

    def wait(x: int, gate: str) -> int:
        import time

        while not Path(gate).exists():
            time.sleep(0.01)
        return x

    def other(x: int, gate: str) -> int:
        return -x

    first = nbfn.App("newer")
    waiting = first.function(name="wait")(wait)
    first.deploy()
    call_observer.set_observer(Observer())
    try:
        results = results_of(waiting.map([1, 2], kwargs={"gate": str(gate)}))
        results.collect()
        wait_until(lambda: newest[-1:] == [0])
        second = nbfn.App("newer")
        second.function(name="wait")(other)
        second.deploy()
        wait_until(lambda: newest[-1] == 2)
        gate.touch()
        assert list(results) == [1, 2]
    finally:
        call_observer.set_observer(None)
