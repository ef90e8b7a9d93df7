"""The numbers of inputs in each state: they add up at each moment, and rows and progress say the same."""

from __future__ import annotations

import random
from typing import Any

import pytest

from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.hub.scheduler import status
from nbfn.hub.scheduler.hub_state import PROGRESS_INTERVAL
from nbfn.protocol import messages as m
from nbfn.protocol.call_states import CallState, InputCounts
from nbfn.types import InputStatus
from tests.unit.hub.simulator import Simulator, inputs_of

_FAILURE, _SUCCESS = int(InputStatus.FAILURE), int(InputStatus.SUCCESS)


def counts_of(row: dict[str, Any]) -> InputCounts:
    return InputCounts(*(row[name] for name in InputCounts.__struct_fields__))


def rows(sim: Simulator) -> dict[str, dict[str, Any]]:
    t = sim.state.hub_state
    running, _ = status.running_inputs(t)
    shown = [status.call_row(t, call, running[call]) for call in status.shown_calls(t)]
    shown += [status.ended_call_row(t, call, ended) for call, ended in t.history]
    found = {row["id"]: row for row in shown}
    assert len(found) == len(shown), "a call with two rows"
    return found


def numbered(*which: int) -> tuple[m.NewInput, ...]:
    return inputs_of([(index, f"fc-1:{index}") for index in which])


class Counting(Simulator):
    """A simulator that compares rows with progress messages, and with what its workers run."""

    def __init__(self) -> None:
        self.last: dict[str, m.Progress] = {}
        super().__init__(cores=4)

    def _deliver(self, to: str, message: m.Message) -> None:
        if isinstance(message, m.Progress):
            self.last[message.call] = message
        super()._deliver(to, message)

    def compare(self) -> int:
        """Check that rows and the last progress of running maps say the same a moment later; return their number."""
        self.wait(2 * PROGRESS_INTERVAL)
        compared = 0
        for call, row in rows(self).items():
            told = self.last.get(call)
            if told is not None and row["kind"] == "map" and not CallState(row["state"]).ended:
                assert (told.state, told.counts) == (row["state"], counts_of(row))
                compared += 1
        return compared

    def check_rows(self) -> None:
        """Check the sum of each row, and that each worker runs the first input that it has."""
        found = rows(self)
        running = 0
        for row in found.values():
            counts = counts_of(row)
            parts = [count for _, count in counts.items()]
            assert sum(parts) == counts.total, row
            assert min(parts) >= 0, row
            running += counts.running
            if CallState(row["state"]).ended:
                assert counts.running == counts.waiting == 0
        assert running == sum(bool(fake.queue) for fake in self.workers.values())


@pytest.mark.parametrize("seed", range(20))
def test_the_numbers_add_up_at_each_moment_of_a_random_run(seed: int) -> None:
    chance = random.Random(seed)
    sim = Counting()
    function = sim.register("f", max_containers=3)
    made: list[str] = []
    compared = 0
    for step in range(150):
        act = chance.random()
        busy = sim.busy()
        if act < 0.08 or not made:
            made.append(f"fc-{step}")
            kind = chance.choice(("map", "spawn", "remote"))
            count = 1 if kind == "remote" else chance.randrange(1, 12)
            sim.call(made[-1], function, count, kind=kind, durable=kind == "spawn")
        elif act < 0.2:
            sim.up()
        elif act < 0.75 and busy:
            ended = chance.choice((_SUCCESS, _SUCCESS, _SUCCESS, _FAILURE))
            sim.finish(chance.choice(busy).name, ended)
        elif act < 0.85:
            call = chance.choice(made)
            indices = chance.choice((None, (0, 1)))
            failing = chance.random() < 0.5 and indices is None
            sim.receive("cl-1", m.Cancel(0, call, indices, failing=failing))
        elif act < 0.9 and busy:
            sim.exit(chance.choice(busy).name, signal=9)
        else:
            sim.wait(chance.random())
        sim.check_rows()
        compared += sim.compare()
    sim.settle()
    sim.check_rows()
    assert compared
    assert all(CallState(row["state"]).ended for row in rows(sim).values())


def test_inputs_that_a_worker_has_in_advance_wait() -> None:
    sim = Counting()
    function = sim.register("f", max_containers=1)
    sim.call("fc-1", function, 300, kind="map")
    sim.up()
    (worker,) = sim.busy()
    for _ in range(20):
        sim.finish(worker.name, duration=0.001)
    assert len(worker.queue) > 1
    row = rows(sim)["fc-1"]
    assert (row["running"], row["waiting"]) == (1, 279)
    t = sim.state.hub_state
    shown = status.function_row(t, t.registry.functions[function], 1)
    assert (shown["running"], shown["backlog"]) == (1, 279)


@pytest.mark.parametrize("failing", [True, False])
def test_what_ran_is_cancelled_and_what_did_not_is_not_run(failing: bool) -> None:
    sim = Counting()
    function = sim.register("f", max_containers=1)
    put = m.PutCall("fc-1", function, 1, "map", numbered(*range(10)), closed=False, total=300)
    sim.receive("cl-1", put)
    sim.up()
    sim.finish(sim.busy()[0].name)
    sim.receive("cl-1", m.Cancel(0, "fc-1", failing=failing))
    sim.receive("cl-1", m.PutInputs("fc-1", (), closed=True))
    sim.settle()
    row = rows(sim)["fc-1"]
    assert row["state"] == ("failed" if failing else "cancelled")
    counts = counts_of(row)
    assert (counts.total, counts.succeeded) == (300, 1)
    assert counts.cancelled + counts.not_run == 299


def test_after_a_restart_of_the_hub_the_numbers_are_those_of_the_call() -> None:
    sim = Counting()
    function = sim.register("f", max_containers=1)
    settled = InputCounts(280, succeeded=270, failed=10)
    put = m.PutCall(
        *("fc-1", function, 1, "map", numbered(*range(280, 300))),
        total=300,
        resent=True,
        settled=settled,
        age=60.0,
    )
    sim.receive("cl-1", put)
    row = rows(sim)["fc-1"]
    assert counts_of(row) == InputCounts(300, 270, 10, waiting=20)
    assert row["age"] >= 60.0


def test_inputs_that_run_again_replace_their_row() -> None:
    sim = Counting()
    function = sim.register("f", max_containers=1)
    sim.call("fc-1", function, 3, kind="map")
    sim.up()
    for ended in (_SUCCESS, _FAILURE, _SUCCESS):
        sim.finish(sim.busy()[0].name, ended)
    assert rows(sim)["fc-1"]["state"] == "failed"
    sim.outcomes.pop(("fc-1", 1))
    again = m.PutCall(
        *("fc-1", function, 1, "map", numbered(1)),
        total=3,
        settled=InputCounts(2, succeeded=2),
        again=True,
    )
    sim.receive("cl-1", again)
    assert counts_of(rows(sim)["fc-1"]).total == 3
    sim.settle()
    row = rows(sim)["fc-1"]
    assert (row["state"], counts_of(row)) == ("succeeded", InputCounts(3, succeeded=3))


def test_a_map_is_retried_by_the_process_that_made_it() -> None:
    sim = Counting()
    function = sim.register("f", max_containers=1)
    sim.call("fc-1", function, 2, kind="map")
    sim.up()
    for _ in range(2):
        sim.finish(sim.busy()[0].name, _FAILURE)
    effects = sim.receive("cl-2", m.RetryCall(7, "fc-1", "re-1"))
    (wanted,) = [x.message for x in effects if isinstance(x, fx.Send) and x.to == "cl-1"]
    assert isinstance(wanted, m.RetryWanted)
    effects = sim.receive("cl-1", m.RetryTaken(wanted.number, 2))
    assert fx.Send("cl-2", m.CallRetried(7, 2)) in effects
    effects = sim.receive("cl-2", m.RetryCall(8, "fc-1", "re-2"))
    (wanted,) = [x.message for x in effects if isinstance(x, fx.Send) and x.to == "cl-1"]
    sim.put(e.ClientLost("cl-1"))
    sim.wait(sim.state.hub_state.limits.client_grace + 1)
    refused = [x.message for x in sim.told if isinstance(x, fx.Send) and x.to == "cl-2"][1:]
    assert [(x.code, x.request) for x in refused] == [("not_found", 8)]


def test_a_call_that_no_process_waits_for_is_detached() -> None:
    sim = Counting()
    function = sim.register("f", max_containers=1)
    sim.call("fc-1", function, 2, kind="map")
    sim.up()
    assert rows(sim)["fc-1"]["state"] == "running"
    sim.receive("cl-1", m.Detach("fc-1"))
    assert rows(sim)["fc-1"]["state"] == "detached"
    sim.settle()
    assert rows(sim)["fc-1"]["state"] == "succeeded"
