"""Who is shown what a worker wrote: while it loads, between inputs, and when it has died."""

from __future__ import annotations

from nbfn.hub.machine import effects as fx
from nbfn.hub.machine import events as e
from nbfn.hub.machine.startup_output import MOST_KEPT, StartupOutput
from nbfn.wire import messages as m

from .world import World


def shown(world: World) -> list[tuple[str, int, bytes]]:
    """Return what was shown since the last time."""
    told = [x for x in world.told if isinstance(x, fx.DeliverEmission)]
    world.told.clear()
    return [(x.call, x.index, x.data) for x in told]


def logged(world: World) -> list[tuple[str, bytes]]:
    return [(x.call, x.data) for x in world.told if isinstance(x, fx.WriteLog)]


def loading(world: World) -> str:
    for worker in list(world.to_start):
        world.start(worker)
    return world.to_bind[0]


def writes(world: World, worker: str, data: bytes, lease: int = 0, number: int = 0) -> None:
    world.receive(worker, m.Emitted(lease, "stdout", data, number))


def test_what_a_worker_writes_while_it_loads_goes_to_all_calls_that_wait() -> None:
    world = World()
    function = world.register(max_containers=1)
    world.call("fc-1", function, 3)
    worker = loading(world)
    writes(world, worker, b"one\n")
    assert logged(world) == [("", b"one\n")]
    assert shown(world) == [("fc-1", 0, b"one\n")]
    world.call("fc-2", function, 1)
    assert shown(world) == [("fc-2", 0, b"one\n")], "though it may write nothing for long"
    writes(world, worker, b"two\n")
    assert shown(world) == [("fc-1", 0, b"two\n"), ("fc-2", 0, b"two\n")]
    world.bind(worker)
    assert shown(world) == [], "the calls that it serves have seen it"


def test_what_nobody_waits_for_goes_to_the_first_call_that_the_worker_serves() -> None:
    world = World()
    function = world.register(min_containers=1, max_containers=1)
    worker = loading(world)
    writes(world, worker, b"warm\n")
    world.bind(worker)
    assert shown(world) == []
    world.call("fc-1", function, 1)
    assert shown(world) == [("fc-1", 0, b"warm\n")]
    writes(world, worker, b"of a thread\n")
    assert shown(world) == [("fc-1", 0, b"of a thread\n")]
    world.finish(worker)
    writes(world, worker, b"between\n")
    assert shown(world) == []
    world.call("fc-2", function, 1)
    assert shown(world) == [("fc-2", 0, b"between\n")]


def test_what_was_written_is_shown_before_the_error_of_loading() -> None:
    world = World()
    function = world.register(max_containers=1)
    world.call("fc-1", function, 1)
    worker = loading(world)
    world.call("fc-2", function, 1)
    world.told.clear()
    writes(world, worker, b"one\n")
    world.receive(worker, m.BindFailed("", 0, "pickle", "ValueError: no"))
    order = [
        (type(x).__name__, x.call)
        for x in world.told
        if isinstance(x, fx.DeliverEmission | fx.Deliver)
    ]
    shows, tells = ["DeliverEmission"] * 2, ["Deliver"] * 2
    assert order == list(zip([*shows, *tells], ["fc-1", "fc-2"] * 2, strict=True))


def test_output_that_a_dead_worker_had_not_sent_is_shown_once_and_before_what_follows() -> None:
    world = World()
    world.call("fc-1", world.register(max_containers=1), 1)
    world.up()
    (worker,) = world.busy()
    lease = worker.queue[0].lease
    writes(world, worker.name, b"one\n", lease, 1)
    world.told.clear()
    pieces = [(1, lease, "stdout", b"one\n"), (2, lease - 1, "stdout", b"of another\n")]
    pieces += [(3, lease, "stdout", b"two\n"), (4, lease, "stderr", b"three\n")]
    world.put(e.WorkerExited(worker.name, None, 11, lease, output=pieces))
    first, second, third = shown(world)
    assert (first[2], second[2]) == (b"two\n", b"three\n")
    assert third[2].startswith(b"f lost: killed by signal 11")


def test_what_a_worker_wrote_under_the_hub_before_is_not_shown_again() -> None:
    world = World()
    world.call("fc-1", world.register(max_containers=1), 1)
    world.up()
    (worker,) = world.busy()
    lease = worker.queue[0].lease
    running = [(lease, "fc-1", 0, 1)]
    world.put(e.WorkerJoined(worker.name, 1, "/usr/bin/python", worker.function, 1, running, (), 7))
    world.told.clear()
    pieces = [(7, lease, "stdout", b"sent before\n"), (8, lease, "stdout", b"new\n")]
    world.put(e.WorkerExited(worker.name, None, 9, lease, output=pieces))
    assert shown(world)[0][2] == b"new\n"


def test_of_much_output_the_last_is_kept() -> None:
    output = StartupOutput()
    for number in range(10):
        output.add("stdout", b"%d" % number * (MOST_KEPT // 4))
    assert [data[:1] for _, data in output.new_for("fc-1")] == [b"6", b"7", b"8", b"9"]
    output.add("stdout", b"more")
    assert output.new_for("fc-1") == [("stdout", b"more")]
    assert len(output.new_for("fc-2")) == 4
