"""What changes in the overview: found by marks, at whatever happens, and sent to all who watch it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from nbfn.hub import overview_feed
from nbfn.hub.overview_feed import OverviewFeed
from nbfn.hub.overview_rows import OverviewRows
from nbfn.hub.scheduler import events as e
from nbfn.hub.scheduler import overview_marks, status
from nbfn.protocol import messages as m
from tests.unit.hub.simulator import (
    FAILURE,
    PYTHON,
    SUCCESS,
    Simulator,
    call_rows,
    function_rows,
    worker_rows,
)

#: Columns that change with time alone.
AGES = ("age", "since", "last_call")


def rows_of(sim: Simulator) -> dict[str, dict[str, Any]]:
    t = sim.state.hub_state
    t.now = sim.now
    rows = [*function_rows(t), *call_rows(t), *worker_rows(t)]
    return {row["id"]: {k: v for k, v in row.items() if k not in AGES} for row in rows}


def marks_of(sim: Simulator) -> dict[str, Any]:
    t = sim.state.hub_state
    by_call, by_function = status.running_inputs(t)
    connected = overview_marks.connected_clients(t)
    found: dict[str, Any] = {}
    for record in status.shown_functions(t):
        found[record.id] = overview_marks.of_function(t, record, by_function[record.id])
    for call, ended in t.history:
        found[call.id] = ended
    for call in status.shown_calls(t):
        found[call.id] = overview_marks.of_call(call, by_call[call], connected)
    for worker in t.workers.values():
        found[worker.id] = overview_marks.of_worker(worker)
    return found


class Watched(Simulator):
    """Checks after each event that what differs in a row differs in its mark, and was noted."""

    rows: dict[str, dict[str, Any]] | None = None

    def put(self, event: e.Event) -> list[Any]:
        effects = super().put(event)
        self.check_marks()
        return effects

    def check_marks(self) -> None:
        t = self.state.hub_state
        rows, marks = rows_of(self), marks_of(self)
        assert rows.keys() == marks.keys()
        if self.rows is not None:
            for name in rows.keys() & self.rows.keys():
                if rows[name] != self.rows[name]:
                    assert marks[name] != self.marks[name], (self.rows[name], rows[name])
            if rows != self.rows:
                assert t.overview_changed
        self.rows, self.marks = rows, marks
        t.overview_changed = False


@pytest.mark.parametrize("seed", range(20))
def test_a_row_that_changes_has_another_mark(seed: int) -> None:
    choose = random.Random(seed)
    sim = Watched()
    functions = [sim.register(name, retries=name == "g") for name in ("f", "g", "h")]
    calls = 0
    for _ in range(120):
        workers = sorted(sim.workers)
        busy = [w for w in workers if sim.workers[w].queue and sim.workers[w].connected]
        action = choose.randrange(12)
        if action < 2:
            calls += 1
            kind, durable = choose.choice([("map", False), ("spawn", True), ("remote", False)])
            count = 1 if kind == "remote" else choose.randint(1, 9)
            sim.call(f"fc-{calls}", choose.choice(functions), count, kind=kind, durable=durable)
        elif action == 2 and sim.to_start:
            sim.start(sim.to_start[0])
        elif action == 3 and sim.to_bind:
            sim.bind(sim.to_bind[0])
        elif action < 8 and busy:
            sim.finish(choose.choice(busy), choose.choice([SUCCESS, SUCCESS, FAILURE]))
        elif action == 8 and workers:
            sim.exit(choose.choice(workers), signal=9)
        elif action == 9 and sim.state.hub_state.calls:
            call = choose.choice(sorted(sim.state.hub_state.calls))
            sim.receive("cl-1", m.Cancel(1, call))
        elif action == 10:
            settings = m.PoolSettings(min_containers=choose.randint(0, 2))
            sim.receive("cl-1", m.SetAutoscaler(1, choose.choice(functions), settings))
        elif action == 11:
            sim.receive("cl-1", m.StopFunction(1, choose.choice(functions)))
        else:
            sim.wait(choose.choice([0.1, 3.0, 40.0]))
    sim.put(e.ClientLost("cl-1"))
    sim.put(e.ClientJoined("cl-1", executable=PYTHON))


# --- the feed ------------------------------------------------------------------------------------


class Feed:
    """A feed with its clients; what each of them was sent."""

    def __init__(self, sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sim = sim
        self.sent: dict[str, list[m.OverviewChanges]] = {}
        self.memory = 1000
        monkeypatch.setattr(overview_feed, "memory_of", lambda pid: self.memory)
        web: Any = None
        about = m.HubRow(1, "0.1.0", 1, 0.0, "/home", 2.0)
        rows = OverviewRows(sim.state.hub_state, web, about, sim.now)
        self.feed = OverviewFeed(sim.state.hub_state, rows, self._send)

    def _send(self, client: str, message: m.Message) -> None:
        assert isinstance(message, m.OverviewChanges)
        self.sent.setdefault(client, []).append(message)

    def update(self, later: float = 1.0) -> None:
        self.sim.now += later
        self.feed.update(self.sim.now)


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    sim = Simulator()
    sim.register("f")
    return Feed(sim, monkeypatch)


def test_all_rows_come_first_and_then_those_that_change(feed: Feed) -> None:
    sim = feed.sim
    function = sim.functions["f"]
    feed.feed.add("cl-9", sim.now)
    [first] = feed.sent["cl-9"]
    assert first.complete
    assert [row.name for row in first.functions] == ["f"]
    feed.update()
    assert feed.sent["cl-9"] == [first]  # nothing has changed
    sim.call("fc-1", function, 3)
    feed.update()
    change = feed.sent["cl-9"][-1]
    assert [(row.id, row.waiting, row.total) for row in change.calls] == [("fc-1", 3, 3)]
    assert (change.complete, change.unfinished, change.gone) == (False, 1, ())
    sim.settle()
    feed.update()
    last = feed.sent["cl-9"][-1]
    assert [(row.state, row.succeeded) for row in last.calls] == [("succeeded", 3)]
    assert last.calls[0].ended is not None


def test_changes_are_sent_four_times_a_second(feed: Feed) -> None:
    feed.feed.add("cl-9", feed.sim.now)
    for number in range(10):
        feed.sim.call(f"fc-{number}", feed.sim.functions["f"], 1)
        feed.update(0.1)
    assert len(feed.sent["cl-9"]) in (4, 5)
    due = feed.feed.due_in(feed.sim.now)
    assert due is None or due <= overview_feed.INTERVAL


def test_a_second_client_gets_all_rows_and_the_first_no_row_twice(feed: Feed) -> None:
    sim = feed.sim
    feed.feed.add("cl-8", sim.now)
    sim.call("fc-1", sim.functions["f"], 2)
    feed.feed.add("cl-9", sim.now)
    assert [row.id for row in feed.sent["cl-8"][-1].calls] == ["fc-1"]
    assert [row.id for row in feed.sent["cl-9"][-1].calls] == ["fc-1"]
    assert feed.sent["cl-9"][-1].complete
    before = len(feed.sent["cl-8"])
    feed.update()
    assert len(feed.sent["cl-8"]) == before
    feed.feed.remove("cl-9")
    sim.call("fc-2", sim.functions["f"], 2)
    feed.update()
    assert [row.id for row in feed.sent["cl-8"][-1].calls] == ["fc-2"]
    assert len(feed.sent["cl-9"]) == 1


def test_what_is_gone_is_named(feed: Feed) -> None:
    sim = feed.sim
    sim.call("fc-1", sim.functions["f"], 1)
    sim.up()
    feed.feed.add("cl-9", sim.now)
    worker = min(sim.workers)
    assert worker in {row.id for row in feed.sent["cl-9"][0].workers}
    sim.exit(worker, exit_code=0)
    feed.update()
    assert worker in feed.sent["cl-9"][-1].gone
    sim.receive("cl-1", m.RemoveFunction(1, sim.functions["f"]))
    feed.update()
    assert sim.functions["f"] in feed.sent["cl-9"][-1].gone


def test_memory_is_measured_now_and_then_and_small_changes_are_not_sent(feed: Feed) -> None:
    sim = feed.sim
    sim.call("fc-1", sim.functions["f"], 1)
    sim.up()
    feed.feed.add("cl-9", sim.now)
    before = len(feed.sent["cl-9"])
    feed.memory = 1001
    feed.update(overview_feed.MEMORY_INTERVAL)
    assert len(feed.sent["cl-9"]) == before
    feed.memory = 2000
    feed.update(overview_feed.MEMORY_INTERVAL)
    assert {row.memory for row in feed.sent["cl-9"][-1].workers} == {2000}
