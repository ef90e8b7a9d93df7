"""The record of what workers did when, and the answers to queries about it; without processes and threads."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from nbfn.hub import timeline_answer, timeline_summary
from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.hub.scheduler import spans
from nbfn.hub.scheduler.timeline import (
    CALL_BYTES,
    MAX_FAILURES,
    MAX_ONE_FAILURE,
    ROW,
    CallLabel,
    Clock,
    Timeline,
)
from nbfn.hub.timeline_answer import Present
from nbfn.protocol import codec
from nbfn.protocol import messages as m
from nbfn.types import InputStatus

from .simulator import FAILURE, SUCCESS, FakeWorker, Simulator

TIMEOUT, TERMINATED, LOST = (
    int(InputStatus.TIMEOUT),
    int(InputStatus.TERMINATED),
    int(InputStatus.INTERNAL_FAILURE),
)
#: The time of day when the simulator's clock is 0; workers' clocks are 500 s behind the simulator's.
EPOCH, BEHIND = 1_000_000.0, 500.0


class Timed(Simulator):
    """A simulator whose events have a time of day."""

    def put(self, event: e.Event) -> list[fx.Effect]:
        return self._perform_all(self.state.process(event, self.now, EPOCH + self.now))

    def done(
        self, fake: FakeWorker, times: Sequence[tuple[float, float]], status: int = SUCCESS
    ) -> None:
        """A worker reports its first inputs, which ran at these times (start, seconds) of this simulator."""
        left = list(times)
        while left:
            part, left = left[: len(fake.queue)], left[len(fake.queue) :]
            grants = [fake.queue.pop(0) for _ in part]
            results = [
                m.Result(grant.lease, status, m.Payload(b""), seconds, False, start - BEHIND)
                for grant, (start, seconds) in zip(grants, part, strict=True)
            ]
            fake.seq += 1
            self.receive(fake.name, m.Results(fake.seq, tuple(results), self.now - BEHIND))

    def ask(self, **query: object) -> m.Timeline:
        """Answer a query as the hub does."""
        t = self.state.hub_state
        t.now, t.wall = self.now, EPOCH + self.now
        present = Present(7, t.wall, spans.running_now(t), spans.waiting_now(t))
        asked = m.GetTimeline(1, **query)  # type: ignore[arg-type]
        found = t.timeline.snapshot(0 if asked.summary else asked.after)
        return timeline_answer.answer(asked, found, present)


def rows(columns: m.SpanColumns) -> list[dict[str, float]]:
    """Return spans as dicts."""
    names = columns.__struct_fields__
    lists = [getattr(columns, name) for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]


def serving(count: int = 3, **options: object) -> tuple[Timed, FakeWorker]:
    """A worker that runs a call."""
    sim = Timed()
    sim.call("fc-1", sim.register(max_containers=1, **options), count)
    sim.up()
    return sim, sim.busy()[0]


def prefetching(count: int) -> tuple[Timed, FakeWorker]:
    """A worker that has many inputs of the call, since those before were quick."""
    sim, worker = serving(1)
    sim.done(worker, [(100.0, 1e-5)])
    sim.call("fc-2", sim.functions["f"], count)
    assert len(worker.queue) >= min(count, 20)
    return sim, worker


# --- spans ---


def test_each_input_has_a_span_with_its_own_times_call_and_worker() -> None:
    sim, worker = serving()
    sim.now += 5.0
    sim.done(worker, [(101.0, 1.5), (103.0, 2.0)])
    answer = sim.ask()
    first, second = rows(answer.spans)
    assert first["queued"] == pytest.approx(EPOCH + 100.0)
    assert (first["started"], first["seconds"]) == pytest.approx((EPOCH + 101.0, 1.5))
    assert (second["started"], second["seconds"]) == pytest.approx((EPOCH + 103.0, 2.0))
    assert [span["index"] for span in (first, second)] == [0, 1]
    assert {span["outcome"] for span in (first, second)} == {SUCCESS}
    assert {span["attempt"] for span in (first, second)} == {1}
    [call] = answer.calls
    assert (call.id, call.name, call.app, call.kind) == ("fc-1", "f", "app", "map")
    [lane] = answer.lanes
    assert lane.worker == worker.name
    assert {span["lane"] for span in (first, second)} == {lane.number}
    assert lane.asked <= lane.connected <= lane.bound <= lane.loaded
    assert lane.cold
    assert not lane.ended


def test_what_runs_now_is_told_without_what_only_waits_at_its_worker() -> None:
    sim, worker = prefetching(40)
    sim.now += 2.0
    [running] = rows(sim.ask().running)
    assert (running["index"], running["outcome"]) == (0, InputStatus.RUNNING)
    assert running["seconds"] == pytest.approx(2.0)
    sim.done(worker, [(100.0, 1.9)])
    sim.now += 1.0
    [running] = rows(sim.ask().running)
    assert running["index"] == 1
    assert running["seconds"] == pytest.approx(1.0)


def test_attempts_of_a_retried_input_have_a_span_each() -> None:
    sim, worker = serving(1, retries=1)
    sim.now += 1.0
    sim.done(worker, [(100.0, 0.5)], FAILURE)
    sim.wait(2.0)
    sim.now += 1.0
    sim.done(worker, [(sim.now - 0.5, 0.5)])
    first, second = rows(sim.ask().spans)
    assert (first["attempt"], first["outcome"]) == (1, FAILURE)
    assert (second["attempt"], second["outcome"]) == (2, SUCCESS)
    assert second["queued"] > first["started"] + first["seconds"]


def test_many_quick_inputs_of_one_message_become_one_span() -> None:
    sim, worker = prefetching(40)
    times = [(100.0 + n * 1e-4, 5e-5) for n in range(len(worker.queue))]
    sim.now += 1.0
    sim.done(worker, times)
    [span] = rows(sim.ask(call="fc-2").spans)
    assert (span["index"], span["inputs"]) == (0, len(times))
    assert span["busy"] == pytest.approx(len(times) * 5e-5, rel=1e-3)
    assert span["seconds"] == pytest.approx(times[-1][0] + 5e-5 - 100.0, rel=1e-3)


def test_a_failure_among_quick_inputs_is_a_span_of_its_own() -> None:
    sim, worker = prefetching(40)
    sim.now += 1.0
    grants, worker.queue = worker.queue[:20], worker.queue[20:]
    results = tuple(
        m.Result(
            g.lease, FAILURE if g.index == 7 else SUCCESS, m.Payload(b""), 1e-5, False, 1.0 + n
        )
        for n, g in enumerate(grants)
    )
    sim.receive(worker.name, m.Results(2, results, 100.0))
    found = rows(sim.ask(call="fc-2").spans)
    assert [span["index"] for span in found if span["outcome"] == FAILURE] == [7]
    assert len(found) == 20


def test_inputs_of_a_batch_share_its_time() -> None:
    sim = Timed()
    sim.call("fc-1", sim.register(batches=(4, 0.0)), 4)
    sim.up()
    worker = sim.busy()[0]
    sim.now += 10.0
    sim.done(worker, [(102.0, 2.0)] * 4)  # 8 s in all, 2 s for each
    found = rows(sim.ask().spans)
    assert len(found) == 4
    assert [span["seconds"] for span in found] == pytest.approx([8.0] * 4)
    assert sum(span["busy"] for span in found) == pytest.approx(8.0)


def test_an_input_that_was_cancelled_before_it_ran_has_no_span() -> None:
    sim, worker = serving(3)
    sim.receive("cl-1", m.Cancel(1, "fc-1"))
    assert worker.queue == []
    assert rows(sim.ask().spans) == []


def test_a_worker_that_dies_leaves_the_span_of_its_input_and_how_it_ended() -> None:
    sim, worker = serving(2)
    sim.now += 3.0
    sim.put(e.WorkerExited(worker.name, None, 9, worker.queue[0].lease, memory_peak=2**30))
    answer = sim.ask()
    [span] = rows(answer.spans)
    assert (span["index"], span["outcome"]) == (0, LOST)
    assert span["seconds"] == pytest.approx(3.0)
    lane = next(lane for lane in answer.lanes if lane.worker == worker.name)
    assert lane.ended == EPOCH + sim.now
    assert lane.lost
    assert "killed by signal 9" in lane.how
    assert lane.memory_peak == 2**30


def test_a_worker_that_is_unreachable_leaves_a_span_too() -> None:
    sim, worker = serving(1)
    sim.put(e.WorkerLost(worker.name))
    sim.wait(30.0)
    answer = sim.ask()
    assert [span["outcome"] for span in rows(answer.spans)] == [LOST]
    assert next(lane for lane in answer.lanes if lane.worker == worker.name).lost


def test_a_worker_that_its_pool_no_longer_needs_is_not_lost() -> None:
    sim, worker = serving(1, scaledown_window=1.0)
    sim.done(worker, [(100.0, 0.0)])
    sim.wait(60.0)
    sim.settle()
    lane = next(lane for lane in sim.ask().lanes if lane.worker == worker.name)
    assert lane.ended
    assert not lane.lost


def test_the_exception_of_a_failed_attempt_is_kept() -> None:
    sim, worker = serving(1)
    [grant] = worker.queue
    failed = m.Result(grant.lease, FAILURE, m.Payload(b"pickle"), 0.5, False, 1.0)
    sim.receive(worker.name, m.Results(1, (failed,), 2.0))
    record = sim.state.hub_state.timeline
    assert record.failure("fc-1", 0, 1) == b"pickle"
    assert record.failure("fc-1", 0, 2) is None
    assert record.failure("fc-2", 0, 1) is None


def test_kept_exceptions_are_limited() -> None:
    record = Timeline()
    for index in range(MAX_FAILURES + 10):
        record.keep_failure("fc-1", index, 1, b"x")
    record.keep_failure("fc-1", 10**6, 1, b"x" * (MAX_ONE_FAILURE + 1))
    assert record.failure("fc-1", 9, 1) is None
    assert record.failure("fc-1", 10, 1) == b"x"
    assert record.failure("fc-1", 10**6, 1) is None


# --- clocks ---


def test_a_message_that_was_late_does_not_move_spans() -> None:
    clock = Clock()
    assert clock.difference(10.0, 1010.5, 0.0) == 1000.5
    assert clock.difference(11.0, 1011.0, 1.0) == 1000.0
    assert clock.difference(12.0, 1019.0, 9.0) == 1000.0  # seven seconds on its way


def test_a_clock_that_was_set_is_followed_after_a_while() -> None:
    clock = Clock()
    clock.difference(10.0, 1010.0, 0.0)
    for second in range(1, 25):
        found = clock.difference(10.0 + second, 4610.0 + second, float(second))
    assert found == 4600.0


# --- limits ---


def filled(record: Timeline, count: int, call: str = "fc-1") -> None:
    for index in range(count):
        number = record.number_of(call) or record.name_call(
            CallLabel(call, "fu-1", "f", "app", 1, "map")
        )
        record.add(1.0, 2.0, 1.0, 1.0, index, 1, 1, number, 1, SUCCESS)


def test_the_oldest_spans_are_dropped_over_the_limit() -> None:
    record = Timeline(max_spans=800)
    filled(record, 5000)
    found = [span for _, span in timeline_answer.spans_of(record.snapshot())]
    assert 700 <= len(found) <= 900
    assert found[-1].first == 4999
    assert record.dropped == 5000 - len(found)
    assert record.last == 5000


def test_calls_count_in_bytes_and_are_forgotten_with_their_spans() -> None:
    record = Timeline(max_spans=10_000, max_bytes=1000 * (ROW.size + CALL_BYTES))
    for number in range(20_000):
        filled(record, 1, f"fc-{number}")
    assert record.size <= 1000 * (ROW.size + CALL_BYTES) + 2 * 1250 * (ROW.size + CALL_BYTES)
    snapshot = record.snapshot()
    assert len(snapshot.calls) == sum(len(part) // ROW.size for part in snapshot.parts)
    assert record.number_of("fc-0") == 0
    assert record.number_of("fc-19999") > 0


def test_ended_workers_are_limited_and_living_ones_kept() -> None:
    record = Timeline(max_lanes=5)
    for number in range(50):
        lane = record.open_lane(f"wk-{number}", 1.0)
        lane.bound = 2.0
        if number:
            record.close_lane(lane.worker, 3.0)
    assert list(record.lanes) == ["wk-0", *(f"wk-{n}" for n in range(45, 50))]


def test_a_worker_that_never_had_a_function_leaves_nothing() -> None:
    record = Timeline()
    record.open_lane("wk-1", 1.0)
    record.close_lane("wk-1", 2.0)
    assert record.lanes == {}


# --- queries ---


def two_calls() -> Timed:
    """Two calls of two Functions; each worker runs two inputs of a second."""
    sim = Timed()
    for name in ("f", "g"):
        sim.call(f"fc-{name}", sim.register(name, max_containers=1), 2)
    sim.up()
    sim.now += 3.0
    for worker in sim.busy():
        sim.done(worker, [(100.5, 1.0), (101.5, 1.0)])
    return sim


def test_spans_are_selected_by_call_function_worker_and_time() -> None:
    sim = two_calls()
    assert len(rows(sim.ask().spans)) == 4
    by_call = sim.ask(call="fc-g")
    assert [call.id for call in by_call.calls] == ["fc-g"]
    assert len(rows(by_call.spans)) == 2
    assert rows(sim.ask(function=by_call.calls[0].function).spans) == rows(by_call.spans)
    assert rows(sim.ask(worker=by_call.lanes[0].worker).spans) == rows(by_call.spans)
    assert [lane.name for lane in by_call.lanes] == ["g"]
    late = sim.ask(since=EPOCH + 101.8)
    assert [span["index"] for span in rows(late.spans)] == [1, 1]
    early = sim.ask(until=EPOCH + 101.2)
    assert [span["index"] for span in rows(early.spans)] == [0, 0]
    assert rows(sim.ask(call="fc-other").spans) == []
    assert rows(sim.ask(worker="wk-other").spans) == []


def test_an_answer_goes_on_where_the_one_before_ended() -> None:
    sim, worker = serving(5)
    sim.now += 5.0
    sim.done(worker, [(100.0, 1.0), (101.0, 1.0), (102.0, 1.0)])
    first = sim.ask(most=2)
    assert (len(rows(first.spans)), first.more, first.matched) == (2, True, 3)
    second = sim.ask(after=first.last, most=2)
    assert ([s["index"] for s in rows(second.spans)], second.more) == ([2], False)
    assert rows(sim.ask(after=second.last).spans) == []
    sim.done(worker, [(103.0, 1.0)])
    third = sim.ask(after=second.last)
    assert [span["index"] for span in rows(third.spans)] == [3]


def test_more_spans_than_are_asked_for_become_bins() -> None:
    sim, worker = serving(4)
    sim.now = 108.0
    sim.done(worker, [(100.0, 1.0), (102.0, 2.0)])
    sim.done(worker, [(105.0, 2.0)], FAILURE)
    answer = sim.ask(columns=4, most=1, since=EPOCH + 100.0, until=EPOCH + 108.0)
    assert rows(answer.spans) == []
    assert answer.bins is not None
    assert answer.bins.seconds == pytest.approx(2.0)
    assert answer.bins.bin == (0, 1, 2, 3)
    assert answer.bins.inputs == (1, 1, 1, 0)
    assert answer.bins.busy == pytest.approx([1.0, 2.0, 1.0, 1.0])
    assert answer.bins.failed == (0, 0, 0, 1)
    assert {call.number for call in answer.calls} >= set(answer.bins.call)


def test_the_answer_is_made_of_what_a_message_may_have() -> None:
    sim = two_calls()
    answer = sim.ask(columns=10, most=1, summary=True)
    frame = codec.encode(answer)
    assert codec.decode(frame, codec.TO_CLIENT) == answer


# --- the summary ---


def test_the_summary_divides_the_time_of_workers() -> None:
    sim = Timed()
    f = sim.register(max_containers=1)
    sim.call("fc-1", f, 2)
    sim.now += 2.0
    sim.up()  # the worker was asked for at 100 and is loaded at 102
    [worker] = sim.busy()
    sim.now = 110.0
    sim.done(worker, [(103.0, 3.0), (107.0, 1.0)])
    found = sim.ask(call="fc-1", summary=True).summary
    assert found is not None
    assert (found.start, found.end) == pytest.approx((EPOCH + 100.0, EPOCH + 108.0))
    assert found.starting == pytest.approx(2.0)
    assert found.running == pytest.approx(4.0)
    assert found.waiting == pytest.approx(2.0)  # before each input, while it waited
    assert found.idle == pytest.approx(0.0)
    assert (found.inputs, found.failed, found.queued, found.workers) == (2, 0, 0, 1)
    assert (found.duration_p50, found.duration_p95) == pytest.approx((1.0, 3.0))
    assert [(slow.index, round(slow.seconds, 3)) for slow in found.slowest] == [(0, 3.0), (1, 1.0)]


def test_the_summary_tells_other_work_of_the_same_workers_apart() -> None:
    sim = Timed()
    f = sim.register(max_containers=1)
    sim.call("fc-1", f, 1)
    sim.call("fc-2", f, 1)
    sim.up()
    [worker] = sim.busy()
    sim.now = 104.0
    first = worker.queue[0].call
    sim.done(worker, [(100.0, 1.0), (101.0, 3.0)])
    found = sim.ask(call=first, until=EPOCH + 104.0, summary=True).summary
    assert found is not None
    assert (found.running, found.other) == pytest.approx((1.0, 3.0))


def test_inputs_that_wait_and_run_now_are_in_the_summary() -> None:
    sim, _ = serving(3)
    sim.now = 106.0
    found = sim.ask(call="fc-1", summary=True).summary
    assert found is not None
    assert found.end == EPOCH + 106.0
    assert found.running == pytest.approx(6.0)
    assert found.slowest[0].outcome == InputStatus.RUNNING


def test_the_start_of_a_worker_counts_from_when_inputs_waited_for_it() -> None:
    sim = Timed()
    f = sim.register(max_containers=1)
    sim.now = 99.0
    sim.put(e.ClientJoined("cl-2", executable="/other"))  # starts spare workers
    sim.now = 100.0
    sim.call("fc-1", f, 1)
    sim.now = 103.0
    sim.up()
    [worker] = sim.busy()
    sim.now = 104.0
    sim.done(worker, [(103.0, 1.0)])
    found = sim.ask(call="fc-1", summary=True).summary
    assert found is not None
    assert (found.starting, found.running) == pytest.approx((3.0, 1.0))


def test_a_retried_input_counts_once() -> None:
    sim, worker = serving(1, retries=1)
    sim.done(worker, [(100.0, 0.5)], FAILURE)
    sim.wait(2.0)
    sim.done(worker, [(sim.now - 0.5, 0.5)])
    found = sim.ask(call="fc-1", summary=True).summary
    assert found is not None
    assert (found.inputs, found.failed) == (1, 1)


def test_the_critical_lane_is_the_one_that_ended_last() -> None:
    sim = two_calls()
    sim.now = 110.0
    sim.call("fc-f2", sim.functions["f"], 1)
    [worker] = sim.busy()
    sim.now = 112.5
    sim.done(worker, [(110.0, 2.5)])
    answer = sim.ask(summary=True)
    assert answer.summary is not None
    lane = next(lane for lane in answer.lanes if lane.number == answer.summary.critical_lane)
    assert lane.worker == worker.name
    assert answer.summary.tail == pytest.approx(10.0)


def test_an_empty_record_has_an_empty_summary() -> None:
    found = Timed().ask(summary=True)
    assert found.lanes == ()
    assert found.summary is not None
    assert (found.summary.inputs, found.summary.critical_lane, found.summary.slowest) == (0, 0, ())


def test_intervals() -> None:
    assert timeline_summary.merged([(3, 4), (0, 1), (0.5, 2)]) == [(0, 2), (3, 4)]
    assert timeline_summary.complement((0, 10), [(1, 2), (5, 12)]) == [(0, 1), (2, 5)]
    assert timeline_summary.complement((0, 1), []) == [(0, 1)]
    assert timeline_summary.common([(0, 2), (4, 6)], [(1, 5)]) == [(1, 2), (4, 5)]
    assert timeline_summary.clipped([(0, 5), (8, 9)], (2, 8)) == [(2, 5)]
    assert timeline_summary.percentiles([(1.0, 90), (5.0, 10)]) == (1.0, 5.0)
