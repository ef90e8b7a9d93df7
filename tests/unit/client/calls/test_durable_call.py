"""Calls that the hub keeps: stored in parts, resent until they are, refused, watched, withdrawn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbfn import exception
from nbfn.client.calls.durable_call import UNACCEPTED, DurableCall
from nbfn.client.calls.input_iterator import InputIterator
from nbfn.protocol import messages as m
from nbfn.protocol.call_states import InputCounts
from nbfn.runtime.sync import run
from nbfn.types import InputStatus
from tests.call_progress import progress
from tests.conftest import wait_until
from tests.unit.client.calls.recording_connection import (
    RecordingConnection,
    all_told,
    closed,
    function_info,
    indices,
    kinds,
    outputs,
    small,
    told,
)

pytestmark = pytest.mark.usefixtures("observer")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[RecordingConnection]:
    made = RecordingConnection(tmp_path)
    yield made
    for call in list(made.calls.values()):
        call.withdraw()  # type: ignore[attr-defined]


def made(connection: RecordingConnection, **options: Any) -> DurableCall:
    return DurableCall(connection, function_info(), **options)  # type: ignore[arg-type]


def spawned(connection: RecordingConnection) -> DurableCall:
    """Spawn a call with one input."""
    call = made(connection, total=1)
    call.put(small(0))
    return call


def begin(
    connection: RecordingConnection,
    rows: Iterable[Any],
    payload_of: Callable[[Any], m.Payload] = small,
) -> DurableCall:
    """Begin to spawn a call with many inputs."""
    call = made(connection)
    call.begin(InputIterator((rows,)), lambda row: payload_of(row[0]), None)
    return call


def stored(call: DurableCall) -> None:
    """Have the hub say that all of it is on disk."""
    call.receive(m.Accepted(call.id))


def followed(connection: RecordingConnection, **options: Any) -> DurableCall:
    """Follow a call of which only the id is known."""
    call = made(connection, call_id="fc-1", **options)
    connection.track(call)
    return call


def info(**changes: Any) -> m.CallInfo:
    fields = {"request": 1, "call": "fc-1", "function": "fu-1", "kind": "spawn"}
    return m.CallInfo(**{**fields, "num_inputs": 3, "closed": True, **changes})


# --- stored --------------------------------------------------------------------------------------


def test_a_spawned_call_is_told_whole_and_waits_until_it_is_stored(
    connection: RecordingConnection,
) -> None:
    call = spawned(connection)
    (put,) = connection.flush()
    assert isinstance(put, m.PutCall)
    assert (put.durable, put.kind, put.closed, indices([put])) == (True, "spawn", True, [0])
    assert call.waiting
    assert not call.accepted.done()
    stored(call)
    run(call.stored())
    assert not call.waiting


def test_a_call_that_is_not_stored_is_sent_again_and_one_that_is_only_watched(
    connection: RecordingConnection,
) -> None:
    call = spawned(connection)
    (first,) = connection.flush()
    (again,) = connection.reconnect()
    assert isinstance(again, m.PutCall)
    assert again.resent
    assert indices([again]) == indices([first]) == [0]
    stored(call)
    assert connection.reconnect() == [m.Watch(0, call.id, 0, 0)]


def test_inputs_are_stored_in_parts_and_only_the_rest_is_sent_again(
    connection: RecordingConnection,
) -> None:
    call = begin(connection, range(5))
    all_told(connection)
    call.receive(m.Accepted(call.id, upto=3, closed=False))
    assert not call.accepted.done()
    again = connection.reconnect()
    assert indices(again) == [3, 4]
    assert closed(again) == [True]
    call.receive(m.Accepted(call.id, upto=2, closed=False))  # told late: it takes nothing back
    assert indices(connection.reconnect()) == [3, 4]
    stored(call)
    assert call.accepted.done()
    assert indices(connection.reconnect()) == []


def test_an_empty_call_is_stored_as_well(connection: RecordingConnection) -> None:
    call = begin(connection, [])
    sent = all_told(connection)
    assert kinds(sent) == ["PutCall"]
    stored(call)
    run(call.stored())
    assert call.total == 0
    assert call.sink.ends == ["success"]  # type: ignore[attr-defined]


def test_no_more_inputs_are_pulled_than_may_be_on_their_way_to_the_disk(
    connection: RecordingConnection,
) -> None:
    call = begin(connection, range(10_000))
    assert len(indices(told(connection, UNACCEPTED))) == UNACCEPTED
    assert not call.has_room()
    call.receive(m.Accepted(call.id, upto=100, closed=False))
    assert indices(told(connection, 100)) == list(range(UNACCEPTED, UNACCEPTED + 100))
    assert not call.has_room()


def test_large_inputs_wait_for_the_disk_by_their_bytes(connection: RecordingConnection) -> None:
    large = m.Payload(bytes(2**20))
    call = begin(connection, range(10_000), lambda n: large)
    assert len(indices(told(connection, 32))) == 32
    assert not call.has_room()
    call.receive(m.Accepted(call.id, upto=4, closed=False))
    assert len(indices(told(connection, 4))) == 4


# --- not stored ----------------------------------------------------------------------------------


def test_a_call_that_is_refused_raises_where_it_is_spawned(
    connection: RecordingConnection,
) -> None:
    call = begin(connection, range(10_000))
    told(connection, UNACCEPTED)
    awaited = call.expect(0)
    call.fail(exception.ResourceExhaustedError("The disk is full."))
    with pytest.raises(exception.ResourceExhaustedError, match="disk is full"):
        run(call.stored())
    error = awaited.exception()
    assert isinstance(error, exception.ResourceExhaustedError)
    assert error is not call.accepted.exception()  # each who waits has a traceback of his own
    assert call.stopped
    assert "Release" in kinds(connection.flush())


def test_an_iterable_that_raises_withdraws_the_call(connection: RecordingConnection) -> None:
    waits = threading.Event()

    def rows() -> Iterator[int]:
        yield 0
        waits.wait(10)
        raise KeyError("no more")

    call = begin(connection, rows())
    told(connection, 1)
    waits.set()
    wait_until(call.accepted.done)
    sent = connection.flush()
    assert kinds(sent) == ["PutInputs", "Cancel", "Release"]
    assert closed(sent) == [True]  # else the hub would wait for the rest
    with pytest.raises(KeyError, match="no more"):
        run(call.stored())
    assert call.sink.ends == ["terminated"]  # type: ignore[attr-defined]


def test_an_interrupt_before_it_is_stored_cancels_it(connection: RecordingConnection) -> None:
    call = spawned(connection)
    connection.flush()
    waiting = call.stored()
    waiting.send(None)
    with pytest.raises(KeyboardInterrupt):
        waiting.throw(KeyboardInterrupt())
    assert kinds(connection.flush()) == ["PutInputs", "Cancel", "Release"]


def test_a_call_that_is_withdrawn_before_the_hub_knows_it_is_never_told(
    connection: RecordingConnection,
) -> None:
    waits = threading.Event()
    call = begin(connection, (n for n in range(3) if waits.wait(10)))
    call.withdraw()
    waits.set()
    assert kinds(connection.flush()) == ["Release"]


def test_cancelling_a_stored_call_is_told_to_the_hub_alone(connection: RecordingConnection) -> None:
    call = spawned(connection)
    connection.flush()
    stored(call)
    call.cancel()
    assert m.Cancel(0, call.id) in connection.flush()
    call.receive(outputs(call, 0, status=InputStatus.TERMINATED))
    assert call.sink.ends == ["terminated"]  # type: ignore[attr-defined]


# --- outcomes ------------------------------------------------------------------------------------


def test_a_call_ends_here_when_all_outcomes_came(connection: RecordingConnection) -> None:
    call = spawned(connection)
    connection.flush()
    stored(call)
    call.receive(outputs(call, 0))
    assert kinds(connection.flush()) == ["Release"]
    assert call.sink.ends == ["success"]  # type: ignore[attr-defined]


def test_outcomes_may_come_before_the_hub_says_that_the_call_is_stored(
    connection: RecordingConnection,
) -> None:
    call = spawned(connection)
    connection.flush()
    call.receive(outputs(call, 0))
    assert connection.flush() == []  # it would be sent again, should the hub be lost now
    stored(call)
    assert kinds(connection.flush()) == ["Release"]


def test_an_outcome_that_is_told_twice_counts_once(connection: RecordingConnection) -> None:
    call = begin(connection, range(3))
    all_told(connection)
    stored(call)
    call.receive(outputs(call, 0, status=InputStatus.FAILURE))
    call.receive(outputs(call, 0, 0, status=InputStatus.FAILURE))
    assert (call.done, call.counts.failed) == (1, 1)
    call.receive(outputs(call, 2, 1))
    assert (call.done, call.counts.failed) == (3, 1)
    assert call.sink.ends == ["failure"]  # type: ignore[attr-defined]


def test_who_waits_for_an_outcome_has_it_when_it_comes(connection: RecordingConnection) -> None:
    call = begin(connection, range(3))
    all_told(connection)
    stored(call)
    first, last = call.expect(0), call.expect(2)
    assert call.waiting
    call.receive(outputs(call, 0, 1))
    assert first.result(0).index == 0
    assert not last.done()
    assert call.waiting
    call.receive(outputs(call, 2))
    assert last.result(0).index == 2
    assert not call.waiting


def test_a_call_does_not_end_here_while_somebody_waits_for_what_is_told_again(
    connection: RecordingConnection,
) -> None:
    call = begin(connection, range(2))
    all_told(connection)
    stored(call)
    call.receive(outputs(call, 0))
    late = call.expect(0)  # it has come already, and the hub is asked to tell it again
    call.receive(outputs(call, 1))
    assert connection.flush() == []
    call.receive(outputs(call, 0))
    assert late.result(0).index == 0
    assert kinds(connection.flush()) == ["Release"]


def test_outcomes_that_nobody_wants_any_more_are_not_waited_for(
    connection: RecordingConnection,
) -> None:
    call = begin(connection, range(2))
    all_told(connection)
    stored(call)
    futures = [call.expect(0), call.expect(1)]
    call.leave(futures[:1])
    assert call.waiting
    call.leave(futures[1:])
    assert not call.waiting
    call.receive(outputs(call, 0, 1))
    assert not any(future.done() for future in futures)


def test_after_a_reconnect_what_is_awaited_is_asked_for_again(
    connection: RecordingConnection,
) -> None:
    call = begin(connection, range(5))
    all_told(connection)
    stored(call)
    call.expect(1)
    call.expect(3)
    call.receive(outputs(call, 1))
    assert connection.reconnect() == [
        m.Watch(0, call.id, 0, 0),
        m.Watch(0, call.id, 3, 4, follow=False),
    ]


# --- calls of others -----------------------------------------------------------------------------


def test_a_call_that_is_known_by_its_id_is_watched_and_never_told(
    connection: RecordingConnection,
) -> None:
    call = followed(connection)
    assert call.accepted.done()
    assert not call.waiting
    connection.answers.append(info(counts=InputCounts(3, failed=1, waiting=2), num_inputs=3))
    assert run(call.watch(0, None)).counts.failed == 1
    assert connection.flush() == [m.Watch(1, "fc-1", 0, None)]
    assert (call.done, call.counts.failed, call.total) == (1, 1, 3)
    assert connection.reconnect() == [m.Watch(0, "fc-1", 0, 0)]


def test_a_call_that_nobody_knows_is_let_go(connection: RecordingConnection) -> None:
    call = followed(connection)
    connection.answers.append(exception.NotFoundError("There is no call fc-1."))
    with pytest.raises(exception.NotFoundError):
        run(call.watch(0, None))
    assert connection.calls == {}
    assert call.sink.ends == ["failure"]  # type: ignore[attr-defined]


def test_the_numbers_of_a_watched_call_never_go_back(connection: RecordingConnection) -> None:
    call = followed(connection)
    call.receive(progress("fc-1", 2, 1, succeeded=1, failed=1))
    call.receive(outputs(call, 0))  # one of the two that the hub has counted
    assert (call.done, call.counts.failed, call.total) == (2, 1, 5)
    call.receive(progress("fc-1", succeeded=4, failed=1, state="failed"))
    assert call.sink.ends == ["failure"]  # type: ignore[attr-defined]


def test_progress_of_a_call_of_ones_own_is_counted_by_its_outcomes(
    connection: RecordingConnection,
) -> None:
    call = begin(connection, range(2))
    all_told(connection)
    stored(call)
    call.receive(progress(call.id, succeeded=2, state="succeeded"))
    assert call.done == 0
    assert call.sink.ends == []  # type: ignore[attr-defined]


def test_a_watched_call_that_has_ended_is_let_go_when_nobody_waits(
    connection: RecordingConnection,
) -> None:
    call = followed(connection)
    awaited = call.expect(1)
    ended = info(ended=True, state="cancelled", counts=InputCounts(3, succeeded=1, cancelled=2))
    connection.answers.append(ended)
    run(call.watch(1, 2))
    connection.flush()
    call.release_if_ended(ended)
    assert connection.flush() == []
    call.receive(outputs(call, 1))
    assert awaited.done()
    call.release_if_ended(ended)
    wait_until(lambda: not connection.calls)
    assert kinds(connection.flush()) == ["Release"]
    assert call.sink.ends == ["terminated"]  # type: ignore[attr-defined]
