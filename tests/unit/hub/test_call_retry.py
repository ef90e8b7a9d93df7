"""A spawned call whose failed inputs run again: into the same list, with today's version, or a sentence why not."""

from __future__ import annotations

from typing import Any

import pytest

from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.protocol import messages as m
from nbfn.protocol.call_states import InputCounts
from tests.unit.hub.simulator import FAILURE, Simulator, call_rows, definition, sends, sent


class Shelf(Simulator):
    """A simulator with a disk as far as retries need one."""

    def __init__(self, **limits: Any) -> None:
        super().__init__(**limits)
        self.function = self.register("f", max_containers=1)

    def ended(self, *failing: int, count: int = 3, name: str = "fc-1") -> None:
        """Have a spawned call of ``count`` inputs come to its end; these fail."""
        self.call(name, self.function, count, kind="spawn", durable=True)
        while name in self.state.hub_state.calls:
            self.up()
            (worker,) = self.busy()
            index = worker.queue[0].index
            self.finish(worker.name, FAILURE if index in failing else 1)

    def restored(self, *failed: int, count: int = 3, **more: Any) -> e.CallRestored:
        """Return the call as the disk has it."""
        inputs = [(index, f"fc-1:{index}") for index in failed]
        words = {"call": "fc-1", "function": self.function, "version": 1, "kind": "spawn"}
        numbers = {"total": count, "settled": InputCounts(succeeded=count - len(failed))}
        return e.CallRestored(**(words | numbers | {"inputs": inputs} | more))

    def retry(self, found: e.CallRestored | None, token: str = "re-1", **more: Any) -> list[Any]:
        """Have a client ask for a retry, and the disk answer."""
        first = self.receive("cl-1", m.RetryCall(7, "fc-1", token))
        if fx.LoadFailures("cl-1", 7, "fc-1", token) not in first:
            return first
        return self.put(e.FailuresLoaded("cl-1", 7, "fc-1", token, found, **more))


def refusal(effects: list[Any]) -> tuple[str, str]:
    (refused,) = sent(effects, m.Failed)
    return refused.code, refused.message


def answered(effects: list[Any]) -> list[int]:
    return [x.count for x in sent(effects, m.CallRetried)]


def forget_failures(sim: Simulator) -> None:
    """The simulator holds that an outcome is final; a retry is what it is not for."""
    sim.outcomes = {key: o for key, o in sim.outcomes.items() if o.status != FAILURE}


def test_only_the_failed_inputs_run_again_and_the_numbers_stay_right() -> None:
    sim = Shelf()
    sim.ended(0, 2)
    forget_failures(sim)
    effects = sim.retry(sim.restored(0, 2))
    assert answered(effects) == [2]
    (save,) = [x for x in effects if isinstance(x, fx.SaveRetry)]
    assert (save.call, save.version, list(save.indices)) == ("fc-1", 1, [0, 2])
    call = sim.state.hub_state.calls["fc-1"]
    assert (call.total, call.done, call.failed) == (3, 1, 0)
    sim.check()
    sim.settle()
    assert sim.runs == {("fc-1", 0): 2, ("fc-1", 1): 1, ("fc-1", 2): 2}
    assert [sim.outcomes["fc-1", n].status for n in range(3)] == [1, 1, 1]
    (row,) = call_rows(sim.state.hub_state)
    assert (row["state"], row["succeeded"], row["failed"], row["total"]) == ("succeeded", 3, 0, 3)


def test_the_answer_and_the_end_wait_for_the_disk_and_who_asked_hears_of_it() -> None:
    sim = Shelf()
    sim.ended(1)
    forget_failures(sim)
    effects = sim.retry(sim.restored(1))
    (answer,) = sends(effects, m.CallRetried)
    assert answer.after_commit
    told = [(x.to, x.message) for x in sends(effects, m.Progress)]
    assert [(to, x.counts.succeeded, x.counts.failed, x.counts.total) for to, x in told[:1]] == [
        ("cl-1", 2, 0, 3)
    ]
    sim.settle()
    last, after = sent(sim.told, m.Progress)[-1], sends(sim.told, m.Progress)[-1]
    assert (after.to, last.counts.succeeded, last.counts.total, after.after_commit) == (
        "cl-1",
        3,
        3,
        True,
    )
    delivered = sent(sim.told, m.Outputs)[-1]
    assert sends(sim.told, m.Outputs)[-1].to == "cl-1"
    assert [o.index for o in delivered.outputs] == [1]


def test_it_runs_with_the_newest_version() -> None:
    sim = Shelf()
    sim.ended(0)
    forget_failures(sim)
    sim.receive("cl-1", m.Register(2, "app", definition("f", "2", max_containers=1), "ap-1", ""))
    effects = sim.retry(sim.restored(0))
    (save,) = [x for x in effects if isinstance(x, fx.SaveRetry)]
    assert save.version == 2
    assert sim.state.hub_state.calls["fc-1"].pool.key == (sim.function, 2)
    sim.settle()


def test_told_again_it_begins_nothing_and_is_answered_the_same() -> None:
    sim = Shelf()
    sim.ended(0, 1)
    forget_failures(sim)
    sim.retry(sim.restored(0, 1))
    again = sim.retry(sim.restored(0, 1))
    assert answered(again) == [2]
    assert not [x for x in again if isinstance(x, fx.SaveRetry)]
    sim.settle()
    later = sim.retry(sim.restored(retried=("re-1", 2)))
    assert answered(later) == [2]
    assert "fc-1" not in sim.state.hub_state.calls


def test_two_retries_at_once_run_it_once() -> None:
    sim = Shelf()
    sim.ended(0)
    forget_failures(sim)
    for token in ("re-1", "re-2"):
        sim.receive("cl-1", m.RetryCall(7, "fc-1", token))
    found = sim.restored(0)
    assert answered(sim.put(e.FailuresLoaded("cl-1", 7, "fc-1", "re-1", found))) == [1]
    code, text = refusal(sim.put(e.FailuresLoaded("cl-1", 8, "fc-1", "re-2", found)))
    assert (code, "still runs (2 of 3 inputs have ended)" in text) == ("conflict", True)
    sim.settle()
    assert sim.runs["fc-1", 0] == 2


def test_a_call_that_runs_is_not_retried() -> None:
    sim = Shelf()
    sim.call("fc-1", sim.function, 2, kind="spawn", durable=True)
    assert refusal(sim.retry(None))[0] == "conflict"
    sim.settle()


@pytest.mark.parametrize(
    ("found", "more", "code", "said"),
    [
        (None, {}, "not_found", "No call has the id 'fc-1'"),
        ({}, {"expired": True}, "output_expired", "have expired and were deleted"),
        ({}, {}, "invalid", "All inputs of call fc-1 succeeded."),
        (
            *({"settled": InputCounts(succeeded=1, cancelled=1, not_run=1)}, {}, "invalid"),
            "the arguments of its 2 inputs without a result were not kept",
        ),
    ],
)
def test_what_cannot_be_retried_is_refused_in_a_sentence(
    found: dict[str, Any] | None, more: dict[str, Any], code: str, said: str
) -> None:
    sim = Shelf()
    sim.ended()
    restored = None if found is None else sim.restored(**found)
    refused = refusal(sim.retry(restored, **more))
    assert refused[0] == code
    assert said in refused[1]
    assert not sim.state.hub_state.calls


def test_a_function_that_is_gone_is_named() -> None:
    sim = Shelf()
    sim.ended(0)
    sim.receive("cl-1", m.StopApp(3, "ap-1"))
    code, text = refusal(sim.retry(sim.restored(0)))
    assert code == "not_found"
    assert "App 'app' was stopped, so 'f' cannot be called" in text


def test_a_limit_of_unfinished_inputs_holds_for_retries_too() -> None:
    sim = Shelf(max_spawned=3)
    sim.ended(0, 1, 2)
    forget_failures(sim)
    sim.call("fc-2", sim.function, 1, kind="spawn", durable=True)
    code, text = refusal(sim.retry(sim.restored(0, 1, 2)))
    assert code == "resource_exhausted"
    assert "no more than 3" in text
    sim.settle()


def test_an_input_that_may_not_begin_twice_runs_again_when_it_is_asked_for() -> None:
    sim = Shelf()
    sim.function = sim.register("once", options={"at_most_once": True}, max_containers=1)
    sim.ended(0, count=1)
    forget_failures(sim)
    sim.state.hub_state.started_inputs.add(("fc-1", 0))  # under the hub before this one
    assert answered(sim.retry(sim.restored(0, count=1))) == [1]
    sim.settle()
    assert sim.outcomes["fc-1", 0].status == 1
