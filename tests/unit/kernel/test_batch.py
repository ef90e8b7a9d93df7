"""What a worker does with a batch: one call, an answer for each input, stopped as one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nbfn.exception import InvalidError
from nbfn.protocol.messages import Batching, CancelInput, Concurrency, LeasedInput, Result, Run
from nbfn.serialization.remote_exception import load_exception
from nbfn.types import InputStatus
from tests.unit.kernel.fake_hub import FakeHub

SLEEP = """
import threading, time
def f(xs):
    print('begun')
    assert threading.current_thread() is threading.main_thread()
    time.sleep(max(xs))
    return xs
"""


def bind(hub: FakeHub, worker: str, source: str, **options: Any) -> None:
    hub.bind(worker, source, batching=Batching(10, 1.0), **options)


def run(hub: FakeHub, worker: str, *arguments: tuple[Any, ...]) -> tuple[LeasedInput, ...]:
    """Send inputs as one batch."""
    inputs = hub.inputs(*arguments)
    batch = tuple(msgspec.structs.replace(entry, batch=inputs[0].lease) for entry in inputs)
    hub.send(worker, Run(batch))
    return batch


def statuses(results: list[Result]) -> set[InputStatus]:
    return {InputStatus(result.status) for result in results}


@pytest.mark.parametrize("at_once", [1, 5])
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_each_input_of_a_batch_is_answered(
    hub: FakeHub, worker: str, kind: str, at_once: int
) -> None:
    source = f"{kind} f(xs, *, ys): return [(x, y, len(xs)) for x, y in zip(xs, ys)]"
    is_async = kind != "def"
    bind(hub, worker, source, is_async=is_async, concurrency=Concurrency(at_once))
    inputs = [
        msgspec.structs.replace(entry, payload=hub.serializer.dump_arguments((n,), {"ys": -n}))
        for n, entry in enumerate(hub.inputs((), (), ()))
    ]
    first = inputs[0].lease
    hub.send(worker, Run(tuple(msgspec.structs.replace(i, batch=first) for i in inputs)))
    results = hub.results(3)
    assert [r.lease for r in results] == [i.lease for i in inputs]
    values = [hub.serializer.load(r.payload) for r in results if r.payload]
    assert values == [(n, -n, 3) for n in range(3)]


def test_neighbouring_batches_are_not_mixed(hub: FakeHub, worker: str) -> None:
    bind(hub, worker, "def f(xs): return [len(xs)] * len(xs)")
    run(hub, worker, (1,), (2,))
    run(hub, worker, (1,), (2,), (3,))
    values = [hub.serializer.load(r.payload) for r in hub.results(5) if r.payload]
    assert values == [2, 2, 3, 3, 3]


def test_a_batch_of_one_gets_lists_too(hub: FakeHub, worker: str) -> None:
    bind(hub, worker, "def f(xs): return [xs]")
    run(hub, worker, (7,))
    (result,) = hub.results(1)
    assert result.payload is not None
    assert hub.serializer.load(result.payload) == [7]


@pytest.mark.parametrize("which", [0, 1])
def test_a_cancelled_batch_stops_by_whichever_input_is_named(
    hub: FakeHub, worker: str, which: int
) -> None:
    bind(hub, worker, SLEEP)
    inputs = run(hub, worker, (60,), (60,))
    hub.until(lambda: "begun" in hub.text())
    hub.send(worker, CancelInput(inputs[which].lease))
    assert statuses(hub.results(2, worker)) == {InputStatus.TERMINATED}
    run(hub, worker, (0,), (0,))
    assert statuses(hub.results(2)) == {InputStatus.SUCCESS}


def test_a_batch_over_its_time_ends_for_all(hub: FakeHub, worker: str) -> None:
    bind(hub, worker, SLEEP, timeout=0.3)
    run(hub, worker, (60,), (0,))
    assert statuses(hub.results(2)) == {InputStatus.TIMEOUT}


def test_what_is_wrong_with_one_callers_arguments_is_told_to_all(hub: FakeHub, worker: str) -> None:
    bind(hub, worker, "def f(xs): return xs")
    run(hub, worker, (1,), (1, 2))
    for result in hub.results(2):
        assert result.payload is not None
        error = load_exception(hub.serializer, result.payload)
        assert isinstance(error, InvalidError)
        assert "takes 1 positional argument; a caller gave 2" in str(error)


def test_a_batch_that_comes_in_several_messages_is_run_as_one(hub: FakeHub, worker: str) -> None:
    bind(hub, worker, "def f(xs): return [(x, len(xs)) for x in xs]")
    inputs = hub.inputs(*((n,) for n in range(5)))
    batch = [msgspec.structs.replace(entry, batch=inputs[1].lease) for entry in inputs[1:]]
    hub.send(worker, Run((inputs[0], batch[0]), goes_on=True))
    hub.send(worker, Run(tuple(batch[1:3]), goes_on=True))
    (alone,) = hub.results(1)  # what is no part of it does not wait for the rest
    assert alone.status == InputStatus.FAILURE, "a batched function got a single value"
    hub.send(worker, CancelInput(batch[1].lease))
    (cancelled,) = hub.results(1)
    assert (cancelled.lease, cancelled.status) == (batch[1].lease, InputStatus.TERMINATED)
    hub.send(worker, Run(tuple(batch[3:])))
    values = [hub.serializer.load(r.payload) for r in hub.results(3) if r.payload]
    assert values == [(1, 3), (3, 3), (4, 3)]
