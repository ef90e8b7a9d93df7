"""Scheduled calls in the state machine: in virtual time, the clocks in hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.protocol import messages as m
from nbfn.protocol.messages import Payload, Schedule
from nbfn.types import InputStatus
from tests.unit.hub.simulator import FAILURE, Simulator, definition, sent

NINE = datetime(2026, 3, 2, 9, 0, tzinfo=UTC).timestamp()
NOTHING = Payload(b"no arguments")


class Clocked(Simulator):
    """A simulator in which people have clocks."""

    def __init__(self) -> None:
        self.wall = NINE
        super().__init__()

    def put(self, event: e.Event) -> list[fx.Effect]:
        return self._perform_all(self.state.process(event, self.now, self.wall))

    def schedule(self, name: str = "f", digest: str = "1", **when: Any) -> None:
        made = definition(name, digest)
        made = msgspec.structs.replace(made, schedule=Schedule(NOTHING, **when))
        self.receive("cl-1", m.Register(1, "app", made, "", ""))

    def until(self, wall: float) -> int:
        """Let time pass as the broker does; return how many calls the hub made by itself."""
        before = len(self.made)
        while (due := self.state.next_schedule_due()) <= wall:
            self.now += max(0.0, due - self.wall)
            self.wall = max(self.wall, due)
            self.put(e.Tick())
        self.now += max(0.0, wall - self.wall)
        self.wall = wall
        self.put(e.Tick())
        return len(self.made) - before

    @property
    def made(self) -> list[fx.SaveCall]:
        return [effect for effect in self.told if isinstance(effect, fx.SaveCall)]


def test_it_calls_with_no_arguments_and_the_call_is_durable() -> None:
    sim = Clocked()
    sim.schedule(minutes=1)
    assert sim.until(NINE + 59) == 0
    assert sim.until(NINE + 60) == 1
    (saved,) = sim.made
    assert (saved.kind, saved.inputs) == ("schedule", (m.NewInput(0, NOTHING),))
    sim.settle()
    assert sim.runs[saved.call, 0] == 1


def test_a_call_is_seen_in_the_overview() -> None:
    sim = Clocked()
    sim.schedule(minutes=1)
    sim.until(NINE + 60)
    assert [call.kind for call in sim.state.hub_state.calls.values()] == ["schedule"]


def test_the_newest_version_is_called() -> None:
    sim = Clocked()
    sim.schedule(minutes=1)
    sim.until(NINE + 30)
    sim.schedule(digest="2", minutes=1)
    sim.until(NINE + 90)
    assert [saved.version for saved in sim.made] == [2]


def test_a_version_without_a_schedule_is_not_called() -> None:
    sim = Clocked()
    sim.schedule(minutes=1)
    assert sim.state.needed()
    sim.receive("cl-1", m.Register(1, "app", definition(digest="2"), "", ""))
    assert sim.until(NINE + 600) == 0
    assert sim.state.next_schedule_due() > NINE + 1e9


def test_one_that_overlaps_is_called_all_the_same() -> None:
    sim = Clocked()
    sim.schedule(seconds=1.0)
    assert sim.until(NINE + 5) == 5
    assert len(sim.state.hub_state.calls) == 5


def test_it_keeps_the_hub() -> None:
    sim = Clocked()
    sim.put(e.ClientLost("cl-1"))
    sim.wait(60.0)
    assert not sim.state.needed()
    sim.schedule(cron="0 9 * * *")
    assert sim.state.needed()


def test_a_hub_that_was_down_does_not_make_up_for_it() -> None:
    before = Clocked()
    before.schedule(cron="0 9 * * *")
    record = next(iter(before.state.hub_state.registry.functions.values()))
    sim = Clocked()
    sim.wall = NINE + 10.0
    sim.state.hub_state.registry.restore(record)
    sim.state.plan(sim.wall)
    assert sim.until(NINE + 86400 - 1) == 0
    assert sim.until(NINE + 86400) == 1


def test_what_was_slept_through_is_missed_and_a_little_late_is_not() -> None:
    sim = Clocked()
    sim.schedule(cron="30 9 * * *")
    sim.wall = NINE + 1800 + 3600
    sim.put(e.Tick())
    assert sim.made == []
    sim.wall = NINE + 1800 + 86400 + 30
    sim.put(e.Tick())
    assert len(sim.made) == 1


def test_a_clock_that_jumps_ahead_does_not_have_it_called_often() -> None:
    sim = Clocked()
    sim.schedule(seconds=10.0)
    sim.wall = NINE + 86400.0
    sim.put(e.Tick())
    assert len(sim.made) <= 1


def test_a_clock_that_is_set_back_a_little_does_not_have_a_line_called_twice() -> None:
    sim = Clocked()
    sim.schedule(cron="30 9 * * *")
    assert sim.until(NINE + 1800) == 1
    sim.wall = NINE + 1700
    sim.put(e.Tick())
    assert sim.until(NINE + 3600) == 0


def test_a_clock_that_is_set_back_does_not_stop_a_period() -> None:
    sim = Clocked()
    sim.schedule(seconds=10.0)
    assert sim.until(NINE + 3600) == 360
    sim.wall = NINE + 1000
    sim.put(e.Tick())
    assert sim.until(NINE + 1020) == 2


def test_a_failure_is_reported_and_what_it_returns_is_not() -> None:
    sim = Clocked()
    sim.schedule(minutes=1)
    sim.until(NINE + 60)
    sim.up()
    (worker,) = sim.busy()
    sim.finish(worker.name, FAILURE)
    (report,) = (effect for effect in sim.told if isinstance(effect, fx.WriteLog))
    assert report.source == "system"
    assert b"The scheduled call of 'f' failed" in report.data
    sim.until(NINE + 120)
    sim.up()
    sim.finish(sim.busy()[0].name)
    assert sum(isinstance(effect, fx.WriteLog) for effect in sim.told) == 1
    assert sim.outcomes == {}  # nobody is told


def test_retries_apply() -> None:
    sim = Clocked()
    made = definition(retries=1)
    made = msgspec.structs.replace(made, schedule=Schedule(NOTHING, minutes=1))
    sim.receive("cl-1", m.Register(1, "app", made, "", ""))
    sim.until(NINE + 60)
    sim.up()
    sim.finish(sim.busy()[0].name, int(InputStatus.FAILURE))
    assert not any(isinstance(effect, fx.WriteLog) for effect in sim.told)
    sim.wait(1.0)
    sim.up()
    sim.finish(sim.busy()[0].name)
    assert sim.runs[sim.made[0].call, 0] == 2


def test_nonsense_is_refused() -> None:
    sim = Clocked()
    sim.schedule(cron="what?")
    (refusal,) = sent(sim.told, m.Failed)
    assert (refusal.code, sim.functions) == ("invalid", {})


def test_a_redeploy_anchors_a_period_anew_and_not_a_line() -> None:
    sim = Clocked()
    sim.schedule("every", minutes=10)
    sim.schedule("hourly", cron="0 * * * *")
    sim.until(NINE + 300)
    sim.receive("cl-1", m.Deploy(1, "app", {"every": 1, "hourly": 1}, "", strategy="rolling"))
    unchanged = {one.record.name: one.due for one in sim.state.hub_state.schedules.values()}
    assert unchanged == {"every": NINE + 600, "hourly": NINE + 3600}  # it was no deployment
    sim.schedule("every", digest="2", minutes=10)
    sim.schedule("hourly", digest="2", cron="0 * * * *")
    again = {one.record.name: one.due for one in sim.state.hub_state.schedules.values()}
    assert again == {"every": NINE + 900, "hourly": NINE + 3600}


def run(sim: Clocked) -> None:
    """Open an ephemeral App with a scheduled Function in it."""
    sim.receive("cl-1", m.RunApp(1, "ap-1", "mine", "", detached=False))
    made = msgspec.structs.replace(definition(), schedule=Schedule(NOTHING, minutes=1))
    sim.receive("cl-1", m.Register(1, "mine", made, "ap-1", ""))


def test_it_runs_while_an_ephemeral_app_is_open_and_ends_with_it() -> None:
    sim = Clocked()
    run(sim)
    assert sim.until(NINE + 120) == 2
    sim.receive("cl-1", m.StopApp(1, "ap-1"))
    assert sim.until(NINE + 600) == 0


def test_it_ends_with_the_owner_of_an_ephemeral_app_and_no_longer_keeps_the_hub() -> None:
    sim = Clocked()
    run(sim)
    sim.put(e.ClientLost("cl-1"))
    sim.wait(60.0)
    assert not sim.state.needed()
    assert sim.until(NINE + 600) == 0


def test_what_a_process_registers_without_running_its_app_is_not_called() -> None:
    sim = Clocked()
    made = msgspec.structs.replace(definition(), schedule=Schedule(NOTHING, minutes=1))
    sim.receive("cl-1", m.Register(1, "app", made, "ap-1", ""))
    assert sim.until(NINE + 600) == 0


def test_a_call_for_which_the_disk_has_no_room_is_told_in_the_log() -> None:
    sim = Clocked()
    sim.schedule(minutes=1)
    sim.put(e.DiskMeasured("/home", 2**30, "database or disk is full"))
    assert sim.until(NINE + 60) == 0
    (line,) = [effect for effect in sim.told if isinstance(effect, fx.WriteLog)]
    assert line.data.startswith(b"The scheduled call of 'f' did not begin: ")
    sim.put(e.DiskMeasured("/home", 2**30))
    assert sim.until(NINE + 120) == 1
