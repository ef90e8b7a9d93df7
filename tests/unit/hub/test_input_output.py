"""Who is shown what a worker wrote: while it loads, between inputs, and when it has died."""

from __future__ import annotations

from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.hub.scheduler.startup_output import MOST_KEPT, StartupOutput
from nbfn.protocol import messages as m

from .simulator import Simulator, sent


def shown(sim: Simulator) -> list[tuple[str, int, bytes]]:
    """Return what was shown since the last time."""
    told = sent(sim.told, m.Emission)
    sim.told.clear()
    return [(x.call, x.index, x.data) for x in told]


def logged(sim: Simulator) -> list[tuple[str, bytes]]:
    return [(x.call, x.data) for x in sim.told if isinstance(x, fx.WriteLog)]


def loading(sim: Simulator) -> str:
    for worker in list(sim.to_start):
        sim.start(worker)
    return sim.to_bind[0]


def writes(sim: Simulator, worker: str, data: bytes, lease: int = 0, number: int = 0) -> None:
    sim.receive(worker, m.Emitted(lease, "stdout", data, number))


def test_what_a_worker_writes_while_it_loads_goes_to_all_calls_that_wait() -> None:
    sim = Simulator()
    function = sim.register(max_containers=1)
    sim.call("fc-1", function, 3)
    worker = loading(sim)
    writes(sim, worker, b"one\n")
    assert logged(sim) == [("", b"one\n")]
    assert shown(sim) == [("fc-1", 0, b"one\n")]
    sim.call("fc-2", function, 1)
    assert shown(sim) == [("fc-2", 0, b"one\n")], "though it may write nothing for long"
    writes(sim, worker, b"two\n")
    assert shown(sim) == [("fc-1", 0, b"two\n"), ("fc-2", 0, b"two\n")]
    sim.bind(worker)
    assert shown(sim) == [], "the calls that it serves have seen it"


def test_what_nobody_waits_for_goes_to_the_first_call_that_the_worker_serves() -> None:
    sim = Simulator()
    function = sim.register(min_containers=1, max_containers=1)
    worker = loading(sim)
    writes(sim, worker, b"warm\n")
    sim.bind(worker)
    assert shown(sim) == []
    sim.call("fc-1", function, 1)
    assert shown(sim) == [("fc-1", 0, b"warm\n")]
    writes(sim, worker, b"of a thread\n")
    assert shown(sim) == [("fc-1", 0, b"of a thread\n")]
    sim.finish(worker)
    writes(sim, worker, b"between\n")
    assert shown(sim) == []
    sim.call("fc-2", function, 1)
    assert shown(sim) == [("fc-2", 0, b"between\n")]


def test_what_was_written_is_shown_before_the_error_of_loading() -> None:
    sim = Simulator()
    function = sim.register(max_containers=1)
    sim.call("fc-1", function, 1)
    worker = loading(sim)
    sim.call("fc-2", function, 1)
    sim.told.clear()
    writes(sim, worker, b"one\n")
    sim.receive(worker, m.BindFailed("", 0, m.Payload(b"pickle"), "ValueError: no"))
    order = [(type(x).__name__, x.call) for x in sent(sim.told, m.Emission, m.Outputs)]
    shows, tells = ["Emission"] * 2, ["Outputs"] * 2
    assert order == list(zip([*shows, *tells], ["fc-1", "fc-2"] * 2, strict=True))


def test_output_that_a_dead_worker_had_not_sent_is_shown_once_and_before_what_follows() -> None:
    sim = Simulator()
    sim.call("fc-1", sim.register(max_containers=1), 1)
    sim.up()
    (worker,) = sim.busy()
    lease = worker.queue[0].lease
    writes(sim, worker.name, b"one\n", lease, 1)
    sim.told.clear()
    pieces = [(1, lease, "stdout", b"one\n"), (2, lease - 1, "stdout", b"of another\n")]
    pieces += [(3, lease, "stdout", b"two\n"), (4, lease, "stderr", b"three\n")]
    sim.put(e.WorkerExited(worker.name, None, 11, lease, output=pieces))
    first, second, third = shown(sim)
    assert (first[2], second[2]) == (b"two\n", b"three\n")
    assert third[2].startswith(b"f lost: killed by signal 11")


def test_what_a_worker_wrote_under_the_hub_before_is_not_shown_again() -> None:
    sim = Simulator()
    sim.call("fc-1", sim.register(max_containers=1), 1)
    sim.up()
    (worker,) = sim.busy()
    lease = worker.queue[0].lease
    running = [(lease, "fc-1", 0, 1)]
    sim.put(e.WorkerJoined(worker.name, 1, "/usr/bin/python", worker.function, 1, running, (), 7))
    sim.told.clear()
    pieces = [(7, lease, "stdout", b"sent before\n"), (8, lease, "stdout", b"new\n")]
    sim.put(e.WorkerExited(worker.name, None, 9, lease, output=pieces))
    assert shown(sim)[0][2] == b"new\n"


def test_of_much_output_the_last_is_kept() -> None:
    output = StartupOutput()
    for number in range(10):
        output.add("stdout", b"%d" % number * (MOST_KEPT // 4))
    assert [data[:1] for _, data in output.new_for("fc-1")] == [b"6", b"7", b"8", b"9"]
    output.add("stdout", b"more")
    assert output.new_for("fc-1") == [("stdout", b"more")]
    assert len(output.new_for("fc-2")) == 4
