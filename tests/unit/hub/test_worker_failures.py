"""What is told of an input whose worker died."""

from __future__ import annotations

from nbfn.hub.scheduler import exit_reasons, worker_failures
from nbfn.hub.scheduler.events import WorkerExited, WorkerJoined
from nbfn.protocol import messages as m
from tests.unit.hub.simulator import inputs_of, results_of, sends, sent

from .simulator import PYTHON, Simulator


def test_who_listens_reads_what_it_died_of_and_that_it_runs_again() -> None:
    sim = Simulator()
    sim.call("fc-1", sim.register(max_containers=1), 2)
    sim.up()
    sim.exit(sim.busy()[0].name, signal=9)
    said = sent(sim.told, m.Emission)
    assert [x.to for x in sends(sim.told, m.Emission)] == ["cl-1"]
    assert [(x.call, x.channel) for x in said] == [("fc-1", "stderr")]
    assert said[0].data.startswith(b"f[0] lost: killed by signal 9, SIGKILL")
    assert said[0].data.endswith(b"; attempt 2 runs alone\n")
    sim.up()
    sim.exit(sim.busy()[0].name, signal=9)  # the second time it is the outcome that says so
    assert len(sent(sim.told, m.Emission)) == 1
    assert sim.outcomes["fc-1", 0].fault is not None


def test_a_peak_is_in_megabytes_and_above_in_gigabytes() -> None:
    died = WorkerExited("wk-1", None, 9, 1, memory_peak=int(7.9 * 2**30))
    assert exit_reasons.peak(died) == ", peak memory 7.9 GB"
    assert exit_reasons.peak(WorkerExited("wk-1", None, 9, 1, memory_peak=80 * 2**20)) == (
        ", peak memory 80 MB"
    )
    assert exit_reasons.peak(WorkerExited("wk-1", None, 9, 1)) == ""


def test_a_failure_says_how_many_attempts_there_are() -> None:
    sim = Simulator()
    sim.call("fc-1", sim.register(retries=1), 1)
    for _ in range(2):
        sim.up()
        sim.finish(sim.busy()[0].name, status=2)
        sim.wait(2.0)
    [outcome] = sim.outcomes.values()
    assert (outcome.attempt, outcome.attempts) == (2, 2)


def test_a_final_failure_is_not_retried() -> None:
    sim = Simulator()
    sim.call("fc-1", sim.register(retries=3), 1)
    sim.up()
    sim.finish(sim.busy()[0].name, status=2, final=True)
    [outcome] = sim.outcomes.values()
    assert (outcome.status, outcome.attempt) == (2, 1)
    assert not sim.busy()


def test_a_final_failure_stays_final_when_the_hub_hears_of_its_call_after_it() -> None:
    sim = Simulator()
    f = sim.register(retries=3, max_containers=1)
    sim.put(WorkerJoined("wk-old", 1, PYTHON, f, 1, [(7, "fc-old", 0, 1)]))
    sim.receive("wk-old", m.Results(1, results_of([(7, 2, "error", 0.1, True)])))
    sim.receive(
        "cl-1", m.PutCall("fc-old", f, 0, "map", inputs_of([(0, "x")]), closed=True, resent=True)
    )
    assert sim.outcomes["fc-old", 0].payload == "error"


def lost(sim: Simulator, **how: object) -> None:
    """The only busy worker ends in good order, in the middle of its input."""
    (worker,) = sim.busy()
    sim.workers.pop(worker.name)
    sim.receive(worker.name, m.Goodbye(**how))  # type: ignore[arg-type]
    sim.up()


def test_an_input_is_not_run_for_ever_whose_workers_are_told_to_end() -> None:
    sim = Simulator(blank_workers=2)
    sim.call("fc-1", sim.register(max_containers=1), 1)
    sim.up()
    for _ in range(worker_failures.MAX_LOSSES):
        lost(sim, signal=15)
        assert not sim.outcomes
    lost(sim, signal=15)
    assert sim.begun["fc-1", 0] == worker_failures.MAX_LOSSES + 1
    fault = sim.outcomes["fc-1", 0].fault
    assert fault is not None
    assert (
        "lost its worker 9 times (the last one: told to end by signal 15, SIGTERM)" in fault.message
    )
    said = [x.data for x in sent(sim.told, m.Emission)]
    assert said[0] == (
        b"f lost: its worker was told to end by signal 15, SIGTERM; attempt 2 follows\n"
    )


def test_the_end_of_a_process_may_be_noticed_before_its_goodbye() -> None:
    sim = Simulator(blank_workers=2)
    sim.call("fc-1", sim.register(max_containers=1), 1)
    sim.up()
    (worker,) = sim.busy()
    sim.workers.pop(worker.name)
    sim.put(WorkerExited(worker.name, 0, None, 0, finished=True, ended_by=15))
    (item,) = sim.state.hub_state.calls["fc-1"].inputs.values()
    assert (item.losses, item.crashes) == (1, 0)


def test_ends_that_the_hub_ordered_or_that_make_way_are_not_charged() -> None:
    sim = Simulator(blank_workers=2)
    sim.call("fc-1", sim.register(max_containers=1), 1)
    sim.up()
    for order in (True, False) * worker_failures.MAX_LOSSES:
        (worker,) = sim.busy()
        if order:
            sim.receive("cl-1", m.StopWorker(1, worker.name, graceful=True))
            sim.to_stop.clear()
        else:  # for an input that it could not stop, and has answered for
            sim.state.hub_state.workers[worker.name].served = True
        lost(sim, **({"signal": 15} if order else {}))
    (item,) = sim.state.hub_state.calls["fc-1"].inputs.values()
    assert item.losses == 0


def test_the_end_of_the_hub_is_not_charged() -> None:
    sim = Simulator(blank_workers=2)
    sim.call("fc-1", sim.register(max_containers=1), 1, durable=True)
    sim.up()
    sim.exit(sim.busy()[0].name, signal=9)
    sim.up()
    (item,) = sim.state.hub_state.calls["fc-1"].inputs.values()
    assert item.crashes == 1
    sim.state.hub_state.closing = True
    sim.exit(sim.busy()[0].name, signal=9)
    assert not sim.outcomes, "the next hub runs it again"
    assert (item.crashes, item.losses) == (1, 0)
