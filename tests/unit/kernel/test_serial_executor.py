"""What a worker does with inputs: the four kinds of functions, their outcomes, their order."""

from __future__ import annotations

import sys
import time
import traceback

import pytest

from nbfn.exception import (
    DeserializationError,
    FunctionTimeoutError,
    InvalidError,
    RemoteError,
    SerializationError,
)
from nbfn.hub.launchers.base import Exit
from nbfn.protocol import messages
from nbfn.protocol.messages import (
    BindFailed,
    Bound,
    Concurrency,
    Confirm,
    ItemsTaken,
    Payload,
    Recall,
    Results,
    Returned,
    Run,
    Yielded,
)
from nbfn.serialization.remote_exception import load_exception
from nbfn.types import InputStatus
from tests.unit.kernel.fake_hub import CALL, FakeHub


def test_a_value_comes_back(hub: FakeHub, worker: str) -> None:
    assert isinstance(hub.bind(worker, "def f(x, y=1): return x * y"), Bound)
    assert hub.call(worker, 6, 7) == 42


def test_a_hello_says_who_it_is(hub: FakeHub, worker: str) -> None:
    hello = hub.hellos[-1]
    assert (hello.peer, hello.protocol, hello.executable) == (
        worker,
        messages.PROTOCOL,
        sys.executable,
    )
    assert (hello.function, hello.running) == ("", ())


def test_a_batch_is_answered_input_by_input_in_few_messages(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, "def f(x):\n    if x == 500: raise KeyError(x)\n    return -x")
    inputs = hub.run(worker, *((n,) for n in range(1000)))
    results = hub.results(1000)
    assert [r.lease for r in results] == [i.lease for i in inputs]
    assert [r.status for r in results].count(InputStatus.FAILURE) == 1
    assert hub.serializer.load(results[999].payload or Payload(b"")) == -999


def test_a_result_does_not_wait_for_a_slower_input_behind_it(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, "import time\ndef f(x): time.sleep(x)")
    hub.run(worker, (0,), (0,), (30,))
    assert len(hub.results(2)) == 2


def test_an_input_that_comes_twice_runs_once(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, "seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)")
    inputs = hub.inputs((1,), (2,))
    hub.send(worker, Run(inputs))
    hub.send(worker, Run(inputs))
    assert len(hub.results(2)) == 2
    assert hub.call(worker, 3) == 3


def test_functions_run_on_the_main_thread_without_a_loop(hub: FakeHub, worker: str) -> None:
    hub.bind(
        worker,
        "import asyncio, threading\nasync def g(): return 5\ndef f():\n"
        "    assert threading.current_thread() is threading.main_thread()\n    return asyncio.run(g())",
    )
    assert hub.call(worker) == 5


def test_async_functions_share_one_loop(hub: FakeHub, worker: str) -> None:
    hub.bind(
        worker,
        "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    return id(asyncio.get_running_loop())",
        is_async=True,
    )
    assert hub.call(worker) == hub.call(worker)


def test_user_exceptions_keep_type_and_cell_lines(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, "def f(x):\n    return g(x)\n\ndef g(x):\n    return 1 / x  # here")
    with pytest.raises(ZeroDivisionError) as caught:
        hub.call(worker, 0)
    text = "".join(traceback.format_exception(caught.value))
    assert "return 1 / x  # here" in text
    assert "nbfn_kernel/worker" not in text
    assert "in g" in text


@pytest.mark.parametrize("body", ["raise SystemExit(3)", "raise GeneratorExit", "exit()"])
def test_a_worker_survives_what_would_end_a_program(hub: FakeHub, worker: str, body: str) -> None:
    hub.bind(worker, f"def f(stop):\n    if stop: {body}\n    return 'alive'")
    with pytest.raises(RemoteError):
        hub.call(worker, True)
    assert hub.call(worker, False) == "alive"


@pytest.mark.parametrize("at_once", [None, 10])
def test_keyboard_interrupt_ends_the_worker_and_says_so(
    hub: FakeHub, worker: str, at_once: int | None
) -> None:
    hub.bind(worker, "def f(): raise KeyboardInterrupt", concurrency=Concurrency(at_once))
    (entry,) = hub.run(worker, ())
    ended = hub.report(worker, Exit)
    assert (ended.exit_code, ended.running_lease) == (130, entry.lease)
    assert "KeyboardInterrupt" in ended.stderr_tail


@pytest.mark.parametrize(
    ("body", "code"),
    [("return 1", 0), ("sys.exit(3)", 3), ("1 / 0", 1), ("os._exit(4)", 4), ("time.sleep(60)", 15)],
)
def test_a_child_that_user_code_forks_ends_as_a_program_does(
    hub: FakeHub, worker: str, body: str, code: int
) -> None:
    hub.bind(
        worker,
        "import os, signal, sys, time\ndef f(kill):\n    here, there = os.pipe()\n"
        "    child = os.fork()\n    if not child:\n"
        f"        print('child', flush=True)\n        os.write(there, b'!')\n        {body}\n"
        "    os.read(here, 1)\n    if kill: os.kill(child, signal.SIGTERM)\n"
        "    status = os.waitpid(child, 0)[1]\n    return status >> 8 or status",
    )
    assert hub.call(worker, code == 15) == code
    assert hub.text() == "child\n"
    assert ("ZeroDivisionError" in hub.text("stderr")) == (code == 1)


def test_what_cannot_be_pickled_is_named(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, "import threading\ndef f(): return {'a': threading.Lock()}")
    said = "The result of 'f' holds an object of type _thread.lock \\(at \\['a'\\]\\), which cannot"
    with pytest.raises(SerializationError, match=said):
        hub.call(worker)


def test_an_argument_that_cannot_be_rebuilt_fails_its_input_only(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, "def f(x): return x")
    bad = messages.LeasedInput(
        hub.leases + 1, "fc-x", 0, 1, Payload(b"\x80\x05cno_such_module\nx\n.")
    )
    hub.leases += 1
    hub.send(worker, Run((bad,)))
    assert hub.results(1)[0].status == InputStatus.FAILURE
    assert hub.call(worker, 1) == 1


@pytest.mark.parametrize("body", ["return (i for i in range(3))", "return g()"])
def test_a_generator_that_was_not_declared_is_refused_with_a_hint(
    hub: FakeHub, worker: str, body: str
) -> None:
    hub.bind(worker, f"async def g(): pass\ndef f(): {body}")
    with pytest.raises(InvalidError, match=r"is_generator=True|async def"):
        hub.call(worker)


def test_a_function_that_cannot_be_loaded_says_why(hub: FakeHub, worker: str) -> None:
    definition = hub.define("def f(): pass")
    bad = messages.Definition(
        "f", Payload(b"\x80\x05cno_such_module\nx\n."), "d", definition.environment
    )
    hub.send(worker, messages.Bind("fu-1", 1, bad))
    failed = hub.next(BindFailed)
    assert "no_such_module" in failed.text
    assert isinstance(load_exception(hub.serializer, failed.payload), DeserializationError)


def test_the_environment_is_that_of_the_notebook(hub: FakeHub, worker: str) -> None:
    hub.bind(
        worker,
        "import os, sys\nfrom nbfn import context\ndef f():\n"
        "    ids = context.current_input_id(), context.current_function_call_id()\n"
        "    return os.getcwd(), '/nowhere' in sys.path, context.is_local(), os.environ['MODAL_TASK_ID'], ids",
    )
    ids = (messages.input_id(CALL, 0), CALL)
    assert hub.call(worker) == (str(hub.places.home), True, False, worker, ids)


# --- generators ----------------------------------------------------------------------------------

COUNT = "def f(n):\n    for i in range(n): yield i"
ASYNC_COUNT = "import asyncio\nasync def f(n):\n    for i in range(n):\n        await asyncio.sleep(0)\n        yield i"


@pytest.mark.parametrize(("source", "is_async"), [(COUNT, False), (ASYNC_COUNT, True)])
def test_a_generator_stops_where_its_credit_ends(
    hub: FakeHub, worker: str, source: str, is_async: bool
) -> None:
    hub.bind(worker, source, is_generator=True, is_async=is_async)
    (entry,) = hub.run(worker, (100,))
    items: list[int] = []

    def take(count: int) -> None:
        while len(items) < count:
            message = hub.next(Yielded)
            assert message.start == len(items)
            items.extend(hub.serializer.load(p) for p in message.payloads)

    take(64)
    assert items == list(range(64))
    hub.send(worker, ItemsTaken(entry.lease, 80))
    take(80)
    assert len(items) == 80
    hub.send(worker, ItemsTaken(entry.lease, 1000))
    take(100)
    result = hub.results(1)[0]
    assert hub.serializer.load(result.payload or Payload(b"")) == 100


@pytest.mark.parametrize("is_async", [False, True])
def test_a_cancelled_generator_runs_its_finally(hub: FakeHub, worker: str, is_async: bool) -> None:
    start = "async def" if is_async else "def"
    hub.bind(
        worker,
        f"{start} f():\n    try:\n        while True: yield 1\n    finally: print('closed', flush=True)",
        is_generator=True,
        is_async=is_async,
    )
    (entry,) = hub.run(worker, ())
    hub.until(lambda: sum(len(m.payloads) for m in hub.seen if isinstance(m, Yielded)) >= 64)
    hub.send(worker, messages.CancelInput(entry.lease))
    assert hub.results(1)[0].status == InputStatus.TERMINATED
    assert hub.text() == "closed\n"


def test_a_generator_sends_what_it_has_while_it_waits(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, "import time\ndef f():\n    yield 1\n    time.sleep(60)", is_generator=True)
    hub.run(worker, ())
    assert len(hub.next(Yielded).payloads) == 1


# --- stopping ------------------------------------------------------------------------------------

SLEEP = "import time\ndef f(x):\n    time.sleep(x)\n    return x"


def test_cancel_wakes_a_sleeping_function(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, "import time\ndef f():\n    print('on', flush=True)\n    time.sleep(60)")
    (entry,) = hub.run(worker, ())
    hub.until(hub.text)
    began = time.monotonic()
    hub.send(worker, messages.CancelInput(entry.lease))
    result = hub.results(1)[0]
    assert (result.status, result.payload) == (InputStatus.TERMINATED, None)
    assert time.monotonic() - began < 5


def test_cancel_reaches_an_async_function(hub: FakeHub, worker: str) -> None:
    hub.bind(
        worker,
        "import asyncio\nasync def f():\n    print('on')\n    try: await asyncio.sleep(60)\n"
        "    except asyncio.CancelledError:\n        print('off')\n        raise",
        is_async=True,
    )
    (entry,) = hub.run(worker, ())
    hub.until(hub.text)
    hub.send(worker, messages.CancelInput(entry.lease))
    assert hub.results(1)[0].status == InputStatus.TERMINATED
    assert hub.text() == "on\noff\n"


def test_whoever_swallows_a_cancellation_is_terminated_all_the_same(
    hub: FakeHub, worker: str
) -> None:
    hub.bind(
        worker,
        "import time\nfrom nbfn.exception import InputCancellation\ndef f():\n    try:\n        print('on')\n"
        "        time.sleep(60)\n    except InputCancellation: return 'done'",
    )
    (entry,) = hub.run(worker, ())
    hub.until(hub.text)
    hub.send(worker, messages.CancelInput(entry.lease))
    assert hub.results(1)[0].status == InputStatus.TERMINATED


def test_a_waiting_input_is_dropped_and_the_running_one_untouched(
    hub: FakeHub, worker: str
) -> None:
    hub.bind(worker, SLEEP)
    first, second = hub.run(worker, (0.5,), (60,))
    hub.send(worker, messages.CancelInput(second.lease))
    results = {r.lease: r.status for r in hub.results(2)}
    assert results == {second.lease: InputStatus.TERMINATED, first.lease: InputStatus.SUCCESS}


def test_cancelling_what_is_over_or_unknown_does_nothing(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, SLEEP)
    (entry,) = hub.run(worker, (0,))
    hub.results(1)
    for lease in (entry.lease, 10**9):
        hub.send(worker, messages.CancelInput(lease))
    assert hub.call(worker, 0) == 0


def test_a_storm_of_cancels_hits_only_what_it_is_meant_for(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, "def f(n):\n    for _ in range(n): pass\n    return n")
    inputs = hub.run(worker, *((2000,) for _ in range(400)))
    for entry in inputs[::2]:
        hub.send(worker, messages.CancelInput(entry.lease))
    results = {r.lease: r for r in hub.results(400)}
    assert all(results[entry.lease].status == InputStatus.SUCCESS for entry in inputs[1::2])
    assert {results[e.lease].status for e in inputs[::2]} <= {
        InputStatus.SUCCESS,
        InputStatus.TERMINATED,
    }


def test_a_timeout_is_counted_from_the_start_of_each_input(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, SLEEP, timeout=0.5)
    hub.run(worker, (0.3,), (0.3,), (60,))
    results = hub.results(3)
    assert [r.status for r in results] == [
        InputStatus.SUCCESS,
        InputStatus.SUCCESS,
        InputStatus.TIMEOUT,
    ]
    assert results[2].duration == pytest.approx(0.5, abs=0.4)
    error = load_exception(hub.serializer, results[2].payload or Payload(b""))
    assert isinstance(error, FunctionTimeoutError)
    assert str(error) == "'f' ran longer than its timeout of 0.5 s."
    assert "time.sleep(x)" in "".join(traceback.format_exception(error))


def test_recall_gives_back_what_has_not_begun(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, "import time\ndef f(x):\n    print('on')\n    time.sleep(x)")
    inputs = hub.run(worker, (0.4,), (0,), (0,), (0,))
    hub.until(hub.text)
    hub.send(worker, Recall())
    assert hub.next(Returned).leases == tuple(e.lease for e in inputs[1:])
    assert [r.lease for r in hub.results(1)] == [inputs[0].lease]


def test_confirmed_results_are_forgotten(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, SLEEP)
    inputs = hub.run(worker, (0,))
    message = hub.next(Results)
    hub.send(worker, Confirm(message.seq))
    hub.send(worker, Run(inputs))  # so the same lease is news again; the hub never does this
    assert hub.results(1)[0].lease == inputs[0].lease
