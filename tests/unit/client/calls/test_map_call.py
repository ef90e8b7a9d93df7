"""The inputs and outcomes of one map: windows, outcomes, reports of what was taken, failures, leaving and detaching."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbfn import exception
from nbfn.client.calls import map_call, recent_failures
from nbfn.client.calls.input_iterator import InputIterator
from nbfn.client.calls.map_call import (
    FIRST_WINDOW,
    HELD_BYTES,
    REPORT_BYTES,
    MapCall,
)
from nbfn.client.calls.map_retry import RetriedInputs
from nbfn.protocol import messages as m
from nbfn.protocol.call_states import InputCounts
from nbfn.runtime.sync import run
from nbfn.types import InputStatus
from tests.call_progress import progress
from tests.conftest import wait_until
from tests.unit.client.calls.recording_connection import (
    RecordingConnection,
    RecordingSink,
    all_told,
    closed,
    function_info,
    indices,
    kinds,
    outputs,
    small,
    told,
)

MIB = 2**20

pytestmark = pytest.mark.usefixtures("observer")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[RecordingConnection]:
    made = RecordingConnection(tmp_path)
    yield made
    for call in list(made.calls.values()):
        call.abandon()  # type: ignore[attr-defined]


def begin(
    connection: RecordingConnection,
    rows: Iterable[Any],
    payload_of: Callable[[Any], m.Payload] = small,
    **options: Any,
) -> MapCall:
    """Begin a map of values, each of which becomes the payload of an input."""
    options = {"total": None, "fail_fast": True, "parent": "", **options}
    live = RetriedInputs(connection, function_info())  # type: ignore[arg-type]
    call = MapCall(live, **options)
    call.begin(InputIterator((rows,)), lambda row: live.pickle((payload_of(row[0]),), {}), None)
    return call


def again(
    connection: RecordingConnection, call: MapCall, which: Iterable[int] | None = None
) -> MapCall:
    """Run the inputs of an ended map that have no result again."""
    retried = call.retried(None if which is None else list(which))
    live = RetriedInputs(connection, function_info())  # type: ignore[arg-type]
    made = MapCall(live, total=None, fail_fast=False, parent="", again=retried)
    made.begin(InputIterator((retried,)), lambda row: row[0], None)
    return made


def cancelled(call: MapCall, *which: int, ran: bool) -> m.Outputs:
    """Return what the hub says of inputs that were cancelled."""
    status, attempt = int(InputStatus.TERMINATED), int(ran)
    return m.Outputs(call.id, tuple(m.Output(n, status, attempt=attempt) for n in which))


def take(call: MapCall) -> list[int]:
    """Return the inputs whose outcomes have arrived."""
    return [output.index for output in run(call.take())]


def ends(call: MapCall) -> list[str]:
    return call.sink.ends  # type: ignore[attr-defined, no-any-return]


# --- how far it goes -----------------------------------------------------------------------------


def test_a_thousand_inputs_are_under_way_before_the_hub_has_said_how_many(
    connection: RecordingConnection,
) -> None:
    call = begin(connection, range(10_000))
    assert len(indices(told(connection, FIRST_WINDOW))) == FIRST_WINDOW
    assert not call.has_room()


def test_the_hub_says_how_many_inputs_may_be_under_way(connection: RecordingConnection) -> None:
    call = begin(connection, range(10_000))
    told(connection, FIRST_WINDOW)
    call.receive(m.Window(call.id, FIRST_WINDOW + 5))
    assert len(indices(told(connection, 5))) == 5
    assert not call.has_room()


def test_what_has_its_outcome_counts_until_the_consumer_is_done_with_it(
    connection: RecordingConnection,
) -> None:
    call = begin(connection, range(10_000))
    told(connection, FIRST_WINDOW)
    call.receive(outputs(call, *range(10)))
    assert not call.has_room()
    take(call)
    assert not call.has_room()
    call.consumed(4)
    assert indices(told(connection, 4)) == list(range(FIRST_WINDOW, FIRST_WINDOW + 4))
    assert not call.has_room()


def test_each_worker_has_inputs_enough_however_small_the_window(
    connection: RecordingConnection,
) -> None:
    begun = threading.Event()
    call = begin(connection, (n for n in range(10_000) if begun.wait(10)))
    call.receive(m.Window(call.id, 1))
    call.receive(progress(call.id, workers=3))
    begun.set()
    assert len(indices(told(connection, 8))) == 8  # two for each worker, and two more
    assert not call.has_room()


def test_large_results_leave_room_for_fewer_inputs(connection: RecordingConnection) -> None:
    call = begin(connection, range(10_000))
    told(connection, FIRST_WINDOW)
    call.receive(outputs(call, *range(990), payload=m.Payload(bytes(MIB))))
    take(call)
    call.consumed(990)  # ten are under way, and room is for 64 results of one MiB
    assert len(indices(told(connection, 54))) == 54
    assert not call.has_room()


# --- outcomes ------------------------------------------------------------------------------------


def test_a_map_ends_when_every_input_has_its_outcome(connection: RecordingConnection) -> None:
    call = begin(connection, range(3))
    all_told(connection)
    call.receive(outputs(call, 1, 0))
    assert take(call) == [1, 0]
    assert not call.over.done()
    call.receive(outputs(call, 2))
    assert call.over.done()
    assert take(call) == [2]
    assert take(call) == []
    assert kinds(connection.flush()) == ["Release"]
    assert call.sink.counts == [(2, 0, 3), (3, 0, 3)]  # type: ignore[attr-defined]
    assert ends(call) == ["success"]


def test_an_outcome_that_is_told_twice_is_handed_out_once(connection: RecordingConnection) -> None:
    call = begin(connection, range(3))
    all_told(connection)
    call.receive(outputs(call, 0, 1))
    call.receive(outputs(call, 1, 0))
    assert take(call) == [0, 1]
    call.receive(outputs(call, 1))
    assert (call.done, call.over.done()) == (2, False)
    call.receive(outputs(call, 2, 2))
    assert take(call) == [2]
    assert call.done == 3


def test_after_a_reconnect_nothing_is_lost_and_nothing_comes_twice(
    connection: RecordingConnection,
) -> None:
    call = begin(connection, range(6))
    assert indices(all_told(connection)) == list(range(6))
    call.receive(outputs(call, 0, 3))
    again = connection.reconnect()
    assert indices(again) == [1, 2, 4, 5]
    assert closed(again) == [True]
    call.receive(outputs(call, 3, 1, 2))  # the first was on its way when the hub was lost
    again = connection.reconnect()
    assert indices(again) == [4, 5]
    call.receive(outputs(call, 5, 4))
    assert take(call) == [0, 3, 1, 2, 5, 4]
    assert take(call) == []
    assert connection.reconnect() == [m.Release(call.id)]


def test_the_shared_memory_of_an_input_is_given_back_with_its_outcome(
    connection: RecordingConnection,
) -> None:
    call = begin(connection, range(3), lambda n: connection.serializer.dump(bytes(MIB)))
    all_told(connection)
    there = set(connection.places.shm.iterdir())
    assert len(there) == 3
    call.receive(outputs(call, 0, 1, 2))
    connection.serializer.close()  # what it keeps to be filled again
    assert not list(connection.places.shm.iterdir())


def test_a_map_of_nothing_ends_at_once(connection: RecordingConnection) -> None:
    call = begin(connection, [])
    assert take(call) == []
    assert ends(call) == ["success"]


def test_the_end_of_the_inputs_may_come_after_the_last_outcome(
    connection: RecordingConnection,
) -> None:
    resume = threading.Event()

    def rows() -> Iterator[int]:
        yield 0
        resume.wait(10)

    call = begin(connection, rows())
    told(connection, 1)
    call.receive(outputs(call, 0))
    assert take(call) == [0]
    assert not call.over.done()
    resume.set()
    assert take(call) == []
    assert ends(call) == ["success"]


# --- what the hub is told of results that were taken ---------------------------------------------


def reports(sent: Iterable[m.Message]) -> list[int]:
    return [message.weight for message in sent if isinstance(message, m.ResultsTaken)]


def test_the_hub_is_told_of_results_that_the_consumer_is_done_with(
    connection: RecordingConnection,
) -> None:
    part = m.Payload(bytes(REPORT_BYTES // 4))
    weight = m.Output(0, 1, part).weight
    call = begin(connection, range(10_000))
    told(connection, FIRST_WINDOW)
    call.receive(outputs(call, *range(6), payload=part))
    take(call)
    assert reports(connection.flush()) == []  # it has them, and is not done with them
    call.consumed(3)
    assert reports(connection.flush()) == []  # too little to be told
    call.consumed(1)
    call.consumed(1)  # before it left
    assert reports(connection.flush()) == [5 * weight]
    call.consumed(1)
    assert reports(connection.flush()) == []
    call.receive(outputs(call, *range(6, 9), payload=part))
    take(call)
    call.consumed(3)
    assert reports(connection.flush()) == [4 * weight]


def test_after_a_reconnect_the_hub_counts_anew(connection: RecordingConnection) -> None:
    large = m.Payload(bytes(REPORT_BYTES))
    weight = m.Output(0, 1, large).weight
    call = begin(connection, range(10_000))
    told(connection, FIRST_WINDOW)
    call.receive(outputs(call, 0, 1, payload=large))
    take(call)
    connection.reconnect()
    call.receive(outputs(call, 2, payload=large))
    take(call)
    call.consumed(2)  # of those that the hub before this one counted
    assert reports(connection.flush()) == []
    call.consumed(1)
    assert reports(connection.flush()) == [weight]


def test_when_all_has_arrived_the_hub_need_keep_nothing(connection: RecordingConnection) -> None:
    large = m.Payload(bytes(REPORT_BYTES))
    call = begin(connection, range(2))
    all_told(connection)
    call.receive(outputs(call, 0, 1, payload=large))
    sent = connection.flush()
    assert reports(sent) == [2 * m.Output(0, 1, large).weight]
    assert kinds(sent) == ["ResultsTaken", "Release"]


def test_it_says_what_it_waits_for(connection: RecordingConnection) -> None:
    first, second = threading.Event(), threading.Event()

    def rows() -> Iterator[int]:
        first.wait(10)
        yield 0
        second.wait(10)
        yield from range(1, 5000)

    call = begin(connection, rows())
    assert call.held == "the first input is awaited"
    first.set()
    told(connection, 1)
    assert call.held == ""
    call.receive(outputs(call, 0))
    assert call.held == "the next input is awaited"
    second.set()
    told(connection, FIRST_WINDOW - 1)
    call.receive(outputs(call, *range(1, FIRST_WINDOW)))
    assert call.held == "1,000 results wait to be taken"
    call.stuck = "the disk is full"
    assert call.held == "the disk is full"


def test_it_waits_for_its_consumer_when_results_are_large(connection: RecordingConnection) -> None:
    call = begin(connection, (n for n in range(2) if n == 0 or threading.Event().wait(10)))
    told(connection, 1)
    call.receive(outputs(call, 0, payload=m.Payload(bytes(HELD_BYTES))))
    assert call.held == "1 results wait to be taken"


# --- failures ------------------------------------------------------------------------------------


def test_the_first_failure_ends_a_map_and_cancels_what_is_left(
    connection: RecordingConnection,
) -> None:
    begun = threading.Event()
    rows = (n for n in range(10_000) if begun.wait(10))
    call = begin(connection, rows, lambda n: connection.serializer.dump(bytes(MIB)))
    call.receive(m.Window(call.id, 6))
    begun.set()
    told(connection, 6)
    call.receive(outputs(call, 4, status=InputStatus.FAILURE))
    sent = connection.flush()  # before the consumer looks
    assert kinds(sent) == ["Cancel", "PutInputs"]
    assert closed(sent) == [True]
    assert take(call) == [4]
    assert take(call) == []
    assert not call.over.done()  # an input may still run
    call.receive(cancelled(call, 0, ran=True))
    call.receive(cancelled(call, 1, 2, 3, 5, ran=False))
    assert call.over.done()
    assert ends(call) == ["failure"]
    assert call.failures.indices == list(range(6))
    call.forget_inputs()
    connection.serializer.close()
    assert not list(connection.places.shm.iterdir())


def test_a_map_that_returns_its_exceptions_goes_on_and_keeps_what_failed(
    connection: RecordingConnection,
) -> None:
    call = begin(connection, range(4), fail_fast=False)
    all_told(connection)
    call.receive(outputs(call, 2, status=InputStatus.FAILURE))
    assert connection.flush() == []
    call.receive(outputs(call, 0, 1))
    call.receive(outputs(call, 3, status=InputStatus.TIMEOUT))
    assert take(call) == [2, 0, 1, 3]
    assert ends(call) == ["failure"]
    assert call.failures.indices == [2, 3]
    assert call.failures.take([2]) == {2: (small(2), "failed")}
    found = recent_failures.find(call.id, 3)
    assert found is not None
    assert (found.payload, found.version) == (small(3), 3)


def test_what_was_cancelled_can_run_again_and_ends_the_pulling(
    connection: RecordingConnection,
) -> None:
    call = begin(connection, range(10_000), fail_fast=False)
    told(connection, FIRST_WINDOW)
    call.receive(outputs(call, *range(FIRST_WINDOW), status=InputStatus.TERMINATED))
    take(call)
    call.consumed(FIRST_WINDOW)  # there would be room
    wait_until(lambda: call.total == FIRST_WINDOW)
    assert take(call) == []
    assert call.failures.indices == list(range(FIRST_WINDOW))


def test_inputs_that_run_again_keep_the_id_of_the_call_and_their_indices(
    connection: RecordingConnection,
) -> None:
    first = begin(connection, range(10), fail_fast=False)
    all_told(connection)
    first.receive(outputs(first, 3, 7, 8, status=InputStatus.FAILURE))
    first.receive(outputs(first, 0, 1, 2, 4, 5, 6, 9))
    assert ends(first) == ["failure"]
    call = again(connection, first)
    assert (call.id, first.latest) == (first.id, call)
    assert call.sink.again == [3, 7, 8]  # type: ignore[attr-defined]
    sent = all_told(connection)
    put = next(message for message in sent if isinstance(message, m.PutCall))
    assert (put.again, put.settled) == (True, InputCounts(7, succeeded=7))
    assert indices(sent) == [3, 7, 8]
    call.receive(outputs(call, 3))
    call.receive(outputs(call, 7, status=InputStatus.FAILURE))
    assert first.failures.indices == [7]
    assert (call.counts_now.waiting, call.counts_now.total) == (1, 10)
    call.abandon()
    assert "Cancel" in kinds(connection.flush())
    call.receive(cancelled(call, 8, ran=True))
    assert first.failures.indices == [7, 8]
    assert call.counts == InputCounts(10, succeeded=8, failed=1, cancelled=1)
    assert ends(call) == ["failure", "terminated"]


def test_inputs_that_were_never_read_can_run_too(connection: RecordingConnection) -> None:
    rows = list(range(FIRST_WINDOW + 50))
    call = begin(
        connection,
        rows,
        total=len(rows),
        rest=lambda first: (small(n) for n in rows[first:]),
    )
    told(connection, FIRST_WINDOW)
    call.receive(outputs(call, *range(8)))
    call.receive(outputs(call, 8, status=InputStatus.FAILURE))
    sent = connection.flush()
    assert [x.failing for x in sent if isinstance(x, m.Cancel)] == [True]
    call.receive(cancelled(call, 9, ran=True))
    assert ends(call) == []  # the hub has not ended the others
    call.receive(cancelled(call, *range(10, FIRST_WINDOW), ran=False))
    assert ends(call) == ["failure"]
    assert call.counts == InputCounts(
        len(rows), succeeded=8, failed=1, cancelled=1, not_run=len(rows) - 10
    )
    assert call.retryable == len(rows) - 8
    retry = again(connection, call)
    sent = told(connection, FIRST_WINDOW)
    assert indices(sent)[:3] == [8, 9, 10]
    retry.receive(outputs(retry, *range(8, FIRST_WINDOW + 8)))
    take(retry)
    retry.consumed(FIRST_WINDOW)
    sent = all_told(connection)
    assert indices(sent) == list(range(FIRST_WINDOW + 8, len(rows)))
    retry.receive(outputs(retry, *indices(sent)))
    assert retry.counts == InputCounts(len(rows), succeeded=len(rows))
    assert retry.retryable == 0


def test_results_that_arrive_after_the_failure_are_kept(connection: RecordingConnection) -> None:
    call = begin(connection, range(3))
    all_told(connection)
    call.receive(outputs(call, 0, status=InputStatus.FAILURE))
    call.receive(outputs(call, 2, payload=small(2)))
    call.receive(cancelled(call, 1, ran=False))
    assert [output.index for output in call.late.outputs] == [2]
    assert call.counts == InputCounts(3, succeeded=1, failed=1, not_run=1)


def test_an_iterable_that_raises_raises_at_the_consumer_after_what_arrived(
    connection: RecordingConnection,
) -> None:
    def rows() -> Iterator[int]:
        yield from range(2)
        raise KeyError("no more")

    call = begin(connection, rows())
    told(connection, 2)
    wait_until(lambda: call._input_error)
    call.receive(outputs(call, 0))
    assert take(call) == [0]
    with pytest.raises(KeyError, match="no more"):
        run(call.take())


def test_an_iterable_that_raises_wakes_a_consumer_that_waits(
    connection: RecordingConnection,
) -> None:
    waits = threading.Event()

    def rows() -> Iterator[int]:
        yield 0
        waits.wait(10)
        raise KeyError("no more")

    call = begin(connection, rows())
    told(connection, 1)
    raised: list[BaseException] = []

    def consume() -> None:
        try:
            run(call.take())
        except KeyError as error:
            raised.append(error)

    consumer = threading.Thread(target=consume)
    consumer.start()
    wait_until(lambda: call._news)
    waits.set()
    consumer.join(10)
    assert len(raised) == 1


def test_a_call_that_is_refused_fails_at_the_consumer(connection: RecordingConnection) -> None:
    call = begin(connection, range(10_000))
    told(connection, FIRST_WINDOW)
    call.fail(exception.ResourceExhaustedError("The hub has too many inputs."))
    with pytest.raises(exception.ResourceExhaustedError, match="too many inputs"):
        run(call.take())
    assert call.stopped
    assert call.over.done()
    assert kinds(connection.flush())[-1] == "Release"
    assert ends(call) == ["failure"]


# --- leaving, cancelling, detaching --------------------------------------------------------------


def test_a_map_that_is_left_before_the_hub_knows_it_is_never_told(
    connection: RecordingConnection,
) -> None:
    waits = threading.Event()
    call = begin(connection, (n for n in range(3) if waits.wait(10)))
    call.abandon()
    waits.set()
    assert kinds(connection.flush()) == ["Release"]
    assert call.over.done()
    assert ends(call) == ["terminated"]
    assert take(call) == []


def test_a_map_that_is_left_is_cancelled_and_what_arrived_is_freed(
    connection: RecordingConnection,
) -> None:
    call = begin(connection, range(3), lambda n: connection.serializer.dump(bytes(MIB)))
    all_told(connection)
    result = connection.serializer.dump(bytes(MIB))
    call.receive(outputs(call, 0, payload=result))
    call.abandon()
    assert kinds(connection.flush()) == ["Cancel"]
    call.receive(cancelled(call, 1, 2, ran=False))
    assert "Release" in kinds(connection.flush())
    call.forget_inputs()
    connection.serializer.close()
    assert not list(connection.places.shm.iterdir())
    assert take(call) == []
    call.abandon()  # a second time does nothing
    assert connection.flush() == []
    assert ends(call) == ["terminated"]


def test_leaving_a_map_that_has_ended_cancels_nothing(connection: RecordingConnection) -> None:
    call = begin(connection, range(2))
    all_told(connection)
    call.receive(outputs(call, 0, 1))
    connection.flush()
    call.abandon()
    assert "Release" not in kinds(connection.flush())
    assert ends(call) == ["success"]


def test_a_cancelled_map_still_hands_out_every_outcome(connection: RecordingConnection) -> None:
    call = begin(connection, range(4), fail_fast=False)
    all_told(connection)
    call.receive(outputs(call, 0))
    call.cancel()
    assert m.Cancel(0, call.id) in connection.flush()
    call.receive(outputs(call, 1, 2, 3, status=InputStatus.TERMINATED))
    assert take(call) == [0, 1, 2, 3]
    assert take(call) == []


def test_a_loop_that_is_detached_ends_and_all_that_it_has_had_can_be_had_again(
    connection: RecordingConnection,
) -> None:
    call = begin(connection, range(4))
    all_told(connection)
    call.receive(outputs(call, 2, 0))
    assert take(call) == [2, 0]
    call.receive(outputs(call, 1))
    call.detach()
    with pytest.raises(exception.Detached):
        run(call.take())
    assert kinds(connection.flush()) == ["Detach"]  # nothing is cancelled
    assert call.keeps_history
    history = call.resume()
    assert history is not None
    assert [output.index for output in history] == [2, 0]
    assert take(call) == [1]
    call.receive(outputs(call, 3))
    assert take(call) == [3]
    assert ends(call) == ["success"]
    assert call.resume() is None  # from now on it keeps none


def test_detaching_wakes_a_loop_that_waits(connection: RecordingConnection) -> None:
    call = begin(connection, range(2))
    all_told(connection)
    raised: list[BaseException] = []

    def consume() -> None:
        try:
            run(call.take())
        except exception.Detached as error:
            raised.append(error)

    consumer = threading.Thread(target=consume)
    consumer.start()
    wait_until(lambda: call._news)
    call.detach()
    consumer.join(10)
    assert len(raised) == 1


def test_results_of_a_map_that_ended_while_it_was_detached_are_kept(
    connection: RecordingConnection,
) -> None:
    call = begin(connection, range(2))
    all_told(connection)
    call.receive(outputs(call, 0))
    take(call)
    call.detach()
    call.receive(outputs(call, 1))
    history = call.resume()
    assert history is not None
    assert len(history) == 1
    assert take(call) == [1]


def test_a_map_that_has_ended_keeps_nothing(connection: RecordingConnection) -> None:
    call = begin(connection, range(2))
    all_told(connection)
    call.receive(outputs(call, 0, 1))
    assert not call.keeps_history


def test_results_that_are_too_many_are_not_kept(
    connection: RecordingConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_call, "HISTORY_BYTES", 10_000)
    call = begin(connection, range(10_000))
    told(connection, FIRST_WINDOW)
    call.receive(outputs(call, 0, payload=m.Payload(bytes(9_000))))
    take(call)
    assert call.keeps_history
    call.receive(outputs(call, 1, payload=m.Payload(bytes(1_000))))
    take(call)
    assert not call.keeps_history


def test_results_in_shared_memory_are_not_kept(connection: RecordingConnection) -> None:
    call = begin(connection, range(2))
    all_told(connection)
    call.receive(outputs(call, 0, payload=connection.serializer.dump(bytes(MIB))))
    take(call)
    assert not call.keeps_history


def test_a_map_that_nobody_can_detach_keeps_nothing(
    connection: RecordingConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RecordingSink, "detachable", False)
    call = begin(connection, range(2))
    assert not call.keeps_history
