"""What a worker does that runs inputs at once: on one loop, in threads, each with its own context."""

from __future__ import annotations

import pytest

from nbfn.exception import FunctionTimeoutError, InvalidError
from nbfn.hub.launchers.base import Exit
from nbfn.protocol.messages import (
    CancelInput,
    Concurrency,
    Drain,
    Emitted,
    Goodbye,
    ItemsTaken,
    Result,
    Results,
    Run,
    Yielded,
    input_id,
)
from nbfn.serialization.remote_exception import load_exception
from nbfn.types import InputStatus
from tests.unit.kernel.fake_hub import CALL, FakeHub

TEN = Concurrency(10)
#: Returns when ten inputs are in it together.
MEET = """
import asyncio, threading
met = []
async def f(x):
    met.append(x)
    while len(met) < 10: await asyncio.sleep(0.001)
    return threading.current_thread() is threading.main_thread()
"""
MEET_SYNC = """
import threading, time
met = []
def f(x):
    met.append(x)
    while len(met) < 10: time.sleep(0.001)
    return threading.current_thread() is threading.main_thread()
"""
TICK = """
import asyncio
seen = []
async def tick():
    while True:
        seen.append(1)
        await asyncio.sleep(0.001)
async def f(start):
    global task
    if start: task = asyncio.create_task(tick())
    return len(seen)
"""
LEAVE = """
import asyncio
async def f(x):
    print('begun')
    try: await asyncio.sleep(x)
    finally: print('left')
"""


def values(hub: FakeHub, results: list[Result]) -> list[object]:
    assert all(r.payload is not None and r.status == InputStatus.SUCCESS for r in results)
    return [hub.serializer.load(r.payload) for r in results if r.payload is not None]


@pytest.mark.parametrize(("source", "on_main"), [(MEET, True), (MEET_SYNC, False)])
def test_inputs_run_at_once(hub: FakeHub, worker: str, source: str, on_main: bool) -> None:
    hub.bind(worker, source, is_async=on_main, concurrency=TEN)
    hub.run(worker, *((n,) for n in range(10)))
    assert values(hub, hub.results(10, worker)) == [on_main] * 10
    hub.run(worker, *((n,) for n in range(10)))
    assert len(hub.results(10)) == 10


def test_the_loop_goes_on_between_inputs(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, TICK, is_async=True, concurrency=TEN)
    assert hub.call(worker, True) == 0
    hub.until(lambda: hub.call(worker, False) > 3)


@pytest.mark.parametrize("is_async", [True, False])
def test_each_input_has_its_own_context_and_its_own_lines(
    hub: FakeHub, worker: str, is_async: bool
) -> None:
    body = "for n in range(20):\n        print(x, end=''); {}; print('-', x)\n    return nbfn.current_input_id()"
    source = (
        "import asyncio, nbfn\nasync def f(x):\n    " + body.format("await asyncio.sleep(0)")
        if is_async
        else "import time, nbfn\ndef f(x):\n    " + body.format("time.sleep(0.0001)")
    )
    hub.bind(worker, source, is_async=is_async, concurrency=TEN)
    inputs = hub.run(worker, *((n,) for n in range(10)))
    results = {r.lease: r for r in hub.results(10)}
    for number, entry in enumerate(inputs):
        written = [
            m.data.decode() for m in hub.seen if isinstance(m, Emitted) and m.lease == entry.lease
        ]
        assert "".join(written) == f"{number}- {number}\n" * 20
        assert all(text.endswith("\n") for text in written)
        assert values(hub, [results[entry.lease]]) == [input_id(CALL, number)]


def test_the_print_of_a_thread_of_user_code_reaches_an_input_that_runs(
    hub: FakeHub, worker: str
) -> None:
    source = "import threading\ndef f():\n    t = threading.Thread(target=print, args=('hi',)); t.start(); t.join()"
    hub.bind(worker, source, concurrency=TEN)
    hub.call(worker)
    assert hub.text() == "hi\n"


def test_an_unfinished_line_is_sent_at_the_end_and_when_flushed(hub: FakeHub, worker: str) -> None:
    source = "import time\ndef f(wait):\n    print('begun', end='', flush=wait)\n    while wait: time.sleep(0.01)"
    hub.bind(worker, source, concurrency=TEN)
    hub.call(worker, False)
    assert hub.text() == "begun"
    hub.run(worker, (True,))
    hub.until(lambda: hub.text() == "begunbegun")


def test_a_coroutine_is_cancelled_and_its_neighbours_go_on(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, LEAVE, is_async=True, concurrency=TEN)
    stuck, quick = hub.run(worker, (60,), (0.3,))
    hub.until(lambda: hub.text() == "begun\nbegun\n")
    hub.send(worker, CancelInput(stuck.lease))
    first, second = hub.results(2)
    assert (first.lease, first.status) == (stuck.lease, InputStatus.TERMINATED)
    assert (second.lease, second.status) == (quick.lease, InputStatus.SUCCESS)
    assert hub.text() == "begun\nbegun\nleft\nleft\n"


def test_a_coroutine_over_its_time_ends_alone(hub: FakeHub, worker: str) -> None:
    source = "import asyncio\nasync def f(x): await asyncio.sleep(x)"
    hub.bind(worker, source, is_async=True, concurrency=TEN, timeout=0.2)
    hub.run(worker, (60,), (0.0,))
    quick, late = hub.results(2, worker)
    assert (quick.status, late.status) == (InputStatus.SUCCESS, InputStatus.TIMEOUT)
    assert late.payload is not None
    assert isinstance(load_exception(hub.serializer, late.payload), FunctionTimeoutError)
    assert hub.call(worker, 0.0) is None


@pytest.mark.parametrize("why", ["cancel", "timeout"])
def test_a_thread_that_is_to_stop_takes_its_worker_with_it(
    hub: FakeHub, worker: str, why: str
) -> None:
    timeout = 0.3 if why == "timeout" else 60.0
    source = "import time\ndef f(x):\n    print(x)\n    while True: time.sleep(0.01)"
    hub.bind(worker, source, concurrency=TEN, timeout=timeout)
    inputs = hub.run(worker, ("a",))
    hub.until(lambda: "a" in hub.text())
    hub.run(worker, ("b",))  # it gets no answer: the hub gives it to another worker
    hub.until(lambda: "b" in hub.text())
    if why == "cancel":
        hub.send(worker, CancelInput(inputs[0].lease))
    (result,) = hub.results(1, worker)
    wanted = InputStatus.TERMINATED if why == "cancel" else InputStatus.TIMEOUT
    assert (result.lease, result.status) == (inputs[0].lease, wanted)
    hub.next(Goodbye)
    assert hub.report(worker, Exit).exit_code == 0


def test_a_drained_worker_finishes_what_runs(hub: FakeHub, worker: str) -> None:
    source = "import time\ndef f(x):\n    print(x)\n    time.sleep(0.2)\n    return x"
    hub.bind(worker, source, concurrency=TEN)
    hub.run(worker, (1,), (2,))
    hub.until(lambda: len(hub.text()) == 4)
    hub.send(worker, Drain())
    assert sorted(values(hub, hub.results(2, worker))) == [1, 2]  # type: ignore[type-var]
    hub.next(Goodbye)


@pytest.mark.parametrize("is_async", [True, False])
def test_generators_at_once_have_credit_of_their_own(
    hub: FakeHub, worker: str, is_async: bool
) -> None:
    source = "{} f(x):\n    for n in range(100): yield x, n".format(
        "async def" if is_async else "def"
    )
    hub.bind(worker, source, is_async=is_async, is_generator=True, concurrency=TEN)
    one, other = hub.run(worker, ("a",), ("b",))

    def items(lease: int) -> list[object]:
        sent = [m for m in hub.seen if isinstance(m, Yielded) and m.lease == lease]
        return [hub.serializer.load(payload) for m in sent for payload in m.payloads]

    hub.until(lambda: len(items(one.lease)) == len(items(other.lease)) == 64)
    hub.send(worker, ItemsTaken(other.lease, 100))
    (result,) = hub.results(1, worker)
    assert (result.lease, items(other.lease)) == (other.lease, [("b", n) for n in range(100)])
    assert len(items(one.lease)) == 64


def test_an_input_that_comes_twice_runs_once(hub: FakeHub, worker: str) -> None:
    hub.bind(
        worker, "seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)", concurrency=TEN
    )
    inputs = hub.inputs((1,), (2,))
    hub.send(worker, Run(inputs))
    hub.send(worker, Run(inputs))
    assert sorted(values(hub, hub.results(2, worker))) == [1, 2]  # type: ignore[type-var]
    assert hub.call(worker, 3) == 3


def test_a_plain_function_that_returns_a_coroutine_says_so(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, "async def g(): pass\ndef f(): return g()", concurrency=TEN)
    with pytest.raises(InvalidError, match="returned a coroutine"):
        hub.call(worker)


def test_sigterm_ends_it_at_once_without_answers(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, LEAVE, is_async=True, concurrency=TEN)
    hub.run(worker, (60,), (60,))
    hub.until(lambda: hub.text() == "begun\nbegun\n")
    (ref,) = [ref for ref in hub.launcher.list() if ref.worker == worker]
    hub.launcher.stop(ref, 10.0)
    hub.next(Goodbye)
    assert hub.report(worker, Exit).exit_code == 0
    assert hub.text().count("left") == 2  # their finally blocks ran
    assert not [m for m in hub.seen if isinstance(m, Results)]
