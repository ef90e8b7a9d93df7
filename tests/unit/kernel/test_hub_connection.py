"""The worker's side of what can happen to the hub, and how a worker ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from nbfn.hub.launchers.base import Exit
from nbfn.protocol.messages import Confirm, Drain, Goodbye, Refused, Results, Returned, Run, Yielded
from tests.unit.kernel.fake_hub import FakeHub, fake_hub

SLEEP = "import time\ndef f(x):\n    print('on')\n    time.sleep(x)\n    return x"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Give a hub that workers wait one second for."""
    with fake_hub(monkeypatch, hub_grace=1.0) as hub:
        yield hub


def restart(hub: FakeHub, *, listen: bool = True) -> None:
    """Be another hub process at the same address, or none."""
    hub.router.close(0)
    hub.hellos.clear()
    hub.seen.clear()
    hub.epoch += 1
    hub.open(hub.places.endpoint if listen else f"{hub.places.endpoint}.none")


def test_a_new_hub_learns_what_runs_and_gets_unconfirmed_results(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, SLEEP)
    (done,) = hub.run(worker, (0,))
    first = hub.next(Results)
    hub.seen.clear()
    running, waiting = hub.run(worker, (0.5,), (0,))
    hub.until(hub.text)
    restart(hub)
    hello = hub.until(lambda: hub.hellos[0] if hub.hellos else None)
    assert (hello.function, hello.version) == ("fu-1", 1)
    assert hello.running == tuple((e.lease, e.call, e.index, 1) for e in (done, running, waiting))
    again = hub.next(Results)  # "sent" is the time of this message
    assert (again.seq, again.results) == (first.seq, first.results)
    hub.send(worker, Confirm(first.seq))
    assert [r.lease for r in hub.results(2, worker)] == [running.lease, waiting.lease]


def test_a_result_that_came_while_the_hub_was_away_is_sent_again(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, SLEEP)
    (entry,) = hub.run(worker, (0.2,))
    hub.until(hub.text)
    hub.router.close(0)
    hub.hellos.clear()
    hub.seen.clear()
    hub.open(hub.places.endpoint)
    assert hub.results(1)[0].lease == entry.lease


def test_items_that_were_not_taken_are_sent_again(hub: FakeHub, worker: str) -> None:
    hub.bind(
        worker,
        "import time\ndef f():\n    yield 1\n    yield 2\n    time.sleep(60)",
        is_generator=True,
    )
    hub.run(worker, ())
    hub.until(lambda: sum(len(m.payloads) for m in hub.seen if isinstance(m, Yielded)) == 2)
    restart(hub)
    again = hub.next(Yielded)
    assert (again.start, len(again.payloads)) == (0, 2)


def test_drain_finishes_what_runs_and_gives_back_the_rest(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, SLEEP)
    running, waiting = hub.run(worker, (0.3,), (0,))
    hub.until(hub.text)
    hub.send(worker, Drain())
    assert hub.next(Returned).leases == (waiting.lease,)
    assert hub.results(1, worker)[0].lease == running.lease
    hub.next(Goodbye)
    assert hub.report(worker, Exit).exit_code == 0


def test_sigterm_stops_what_runs_without_an_outcome(hub: FakeHub, worker: str) -> None:
    hub.bind(
        worker,
        "import time\ndef f():\n    print('on')\n    try: time.sleep(60)\n    finally: print('cleaned up')",
    )
    _, waiting = hub.run(worker, (), ())
    hub.until(hub.text)
    os.kill(hub.hellos[-1].pid, signal.SIGTERM)
    hub.next(Goodbye)
    assert "cleaned up" in hub.text()
    assert hub.next(Returned).leases == (waiting.lease,)
    assert not any(isinstance(m, Results) for m in hub.seen)
    assert hub.report(worker, Exit).exit_code == 0


def test_an_idle_worker_ends_on_sigterm(hub: FakeHub, worker: str) -> None:
    os.kill(hub.hellos[-1].pid, signal.SIGTERM)
    hub.next(Goodbye)
    assert hub.report(worker, Exit).exit_code == 0


def test_a_refused_worker_ends(hub: FakeHub, worker: str) -> None:
    hub.send(worker, Refused("version", "no"))
    assert hub.report(worker, Exit).exit_code == 0


@pytest.mark.parametrize("x", [None, "time.sleep(60)", "ctypes.PyDLL(None).sleep(3)"])
def test_without_a_hub_a_worker_ends_whatever_it_does(short: FakeHub, x: str | None) -> None:
    short.start("wk-1")
    if x is not None:
        short.bind("wk-1", f"import ctypes, time\ndef f():\n    print('on')\n    {x}")
        short.run("wk-1", ())
        short.until(short.text)
    restart(short, listen=False)
    assert short.report("wk-1", Exit).signal is None


def test_a_fault_between_computing_and_sending(hub: FakeHub) -> None:
    mark = hub.places.home / "mark"
    for worker in ("wk-a", "wk-b"):
        hub.start(worker, environment={"NBFN_FAULT": f"die_before_ack:{mark}"})
    for worker in ("wk-a", "wk-b"):
        hub.bind(worker, "def f(): return 1")
    inputs = hub.run("wk-a", ())
    assert hub.report("wk-a", Exit).exit_code == 86
    hub.send("wk-b", Run(inputs))
    assert len(hub.results(1)) == 1
