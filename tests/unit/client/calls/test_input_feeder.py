"""Inputs on their way to the hub: pulled as far as there is room, sent in batches, resent after a reconnect."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbfn.client.calls import input_feeder
from nbfn.client.calls.input_feeder import MultiInputCall
from nbfn.client.calls.input_iterator import InputIterator
from nbfn.protocol import messages as m
from nbfn.protocol.codec import MOST_BYTES, MOST_ENTRIES
from tests.conftest import wait_until
from tests.unit.client.calls.recording_connection import (
    RecordingConnection,
    all_told,
    closed,
    function_info,
    indices,
    kinds,
    small,
    told,
)

MIB = 2**20


class Feeder(MultiInputCall):
    """A call with room for a number of inputs, as they are without an outcome."""

    def __init__(self, connection: RecordingConnection, room: int = 10**9, **info: Any) -> None:
        self.room = room
        self.error: BaseException | None = None
        self.complete = threading.Event()
        super().__init__(connection, function_info(**info), "map", version=0)  # type: ignore[arg-type]

    def has_room(self) -> bool:
        return len(self._unsettled) < self.room and self._fits()

    def input_failed(self, error: BaseException) -> None:
        self.error = error

    def input_exhausted(self) -> None:
        self.complete.set()

    def feed(self, rows: Iterable[Any], payload_of: Any = small) -> Feeder:
        """Begin to pull; each value that is pulled becomes the payload of an input."""
        self.begin(InputIterator((rows,)), lambda row: payload_of(row[0]), None)
        return self

    def outcome_of(self, *which: int) -> None:
        """Note that inputs have ended."""
        items = [self._unsettled.pop(index) for index in which]
        self._settled(input_feeder.weight_of(items))
        self.notify_room()


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[RecordingConnection]:
    made = RecordingConnection(tmp_path)
    yield made
    for call in list(made.calls.values()):
        call.stop_input()  # type: ignore[attr-defined]
        call.end("terminated")


def test_the_first_message_begins_the_call_and_later_ones_add_to_it(
    connection: RecordingConnection,
) -> None:
    call = Feeder(connection, room=2).feed(range(4))
    sent = told(connection, 2)
    assert indices(sent) == [0, 1]
    call.outcome_of(0, 1)
    sent += told(connection, 2)
    call.outcome_of(2, 3)
    sent += all_told(connection)
    assert kinds(sent)[0] == "PutCall"
    assert set(kinds(sent)[1:]) == {"PutInputs"}
    assert indices(sent) == [0, 1, 2, 3]
    assert closed(sent) == [False] * (len(sent) - 1) + [True]
    assert call.total == 4


def test_what_is_told_of_a_call_is_what_its_caller_said(connection: RecordingConnection) -> None:
    call = Feeder(connection, method="predict", deployment=7)
    call.unattended = True
    call.feed([5])
    (put,) = [sent for sent in all_told(connection) if isinstance(sent, m.PutCall)]
    assert (put.call, put.function, put.kind) == (call.id, "fu-1", "map")
    assert (put.method, put.deployment, put.unattended) == ("predict", 7, True)
    assert not put.durable
    assert not put.resent


def test_a_message_holds_no_more_inputs_than_fit(connection: RecordingConnection) -> None:
    call = Feeder(connection).feed(range(MOST_ENTRIES + 88))
    wait_until(call.complete.is_set)  # all are pulled before the first is sent
    sent = connection.flush()
    assert [len(message.inputs) for message in sent] == [MOST_ENTRIES, 88]  # type: ignore[attr-defined]
    assert closed(sent) == [False, True]


def test_a_message_holds_no_more_bytes_than_fit(connection: RecordingConnection) -> None:
    large = m.Payload(bytes(MOST_BYTES // 4))
    call = Feeder(connection).feed(range(6), lambda n: large)
    wait_until(call.complete.is_set)
    sent = connection.flush()
    assert [len(message.inputs) for message in sent] == [4, 2]  # type: ignore[attr-defined]
    assert indices(sent) == list(range(6))


def test_no_input_is_pulled_before_it_may_be_sent(connection: RecordingConnection) -> None:
    pulled: list[int] = []
    call = Feeder(connection, room=3).feed(pulled.append(n) or n for n in range(100))  # type: ignore[func-returns-value]
    told(connection, 3)
    assert pulled == [0, 1, 2]
    call.outcome_of(1)
    assert indices(told(connection, 1)) == [3]
    assert pulled == [0, 1, 2, 3]


def test_bytes_limit_one_call(connection: RecordingConnection) -> None:
    large = m.Payload(bytes(MIB))
    fit = input_feeder.MOST_BYTES // MIB
    call = Feeder(connection).feed(range(1000), lambda n: large)
    assert len(indices(told(connection, fit))) == fit
    assert not call.has_room()
    call.outcome_of(*range(3))
    assert indices(told(connection, 3)) == [fit, fit + 1, fit + 2]
    assert not call.has_room()


def test_a_batched_function_may_have_more_bytes(connection: RecordingConnection) -> None:
    large = m.Payload(bytes(MIB))
    fit = input_feeder.BATCH_BYTES // MIB
    call = Feeder(connection, batching=m.Batching(8, 0.1)).feed(range(1000), lambda n: large)
    assert len(indices(told(connection, fit))) == fit
    assert not call.has_room()


def test_bytes_limit_all_calls_of_the_process_and_each_has_some(
    connection: RecordingConnection,
) -> None:
    large, half = m.Payload(bytes(MIB)), m.Payload(bytes(MIB // 2))
    each, least = input_feeder.MOST_BYTES // MIB, input_feeder.LEAST_BYTES // (MIB // 2)
    calls = [Feeder(connection).feed(range(each), lambda n: large) for _ in range(3)]
    told(connection, 3 * each)  # which is as much as all may have
    last = Feeder(connection).feed(range(1000), lambda n: half)
    assert len(indices(told(connection, least))) == least
    assert not last.has_room()
    calls[0].outcome_of(*range(each // 2))  # another call may have what that frees
    assert len(indices(told(connection, each - least))) == each - least
    assert not last.has_room()
    calls[1].stop_input()
    calls[1].end("terminated")  # and what a call had that has ended
    assert last.has_room()


def test_a_few_inputs_are_under_way_however_large_they_are(connection: RecordingConnection) -> None:
    huge = m.Payload(bytes(input_feeder.MOST_BYTES))
    call = Feeder(connection)
    call.least = 3
    call.feed(range(100), lambda n: huge)
    assert indices(told(connection, 3)) == [0, 1, 2]
    assert not call.has_room()


def test_shared_memory_counts_for_a_part_of_its_size(connection: RecordingConnection) -> None:
    beside = m.Payload(b"", (m.Segment("shm", "cl-test.1", 4 * MIB),))
    Feeder(connection).feed(range(1000), lambda n: beside)
    assert (
        len(indices(told(connection, input_feeder.MOST_BYTES // MIB)))
        == input_feeder.MOST_BYTES // MIB
    )


def test_an_iterable_that_raises_is_told_and_closed(connection: RecordingConnection) -> None:
    finished = threading.Event()

    def rows() -> Iterator[int]:
        try:
            yield 0
            raise KeyError("no more")
        finally:
            finished.set()

    call = Feeder(connection).feed(rows())
    wait_until(lambda: call.error)
    assert isinstance(call.error, KeyError)
    assert finished.wait(10)
    sent = connection.flush()
    assert indices(sent) == [0]
    assert closed(sent) == [False]
    assert not call.complete.is_set()


def test_what_cannot_be_pickled_is_an_error_of_the_inputs(connection: RecordingConnection) -> None:
    def fail(value: int) -> m.Payload:
        raise TypeError(f"cannot pickle {value}")

    call = Feeder(connection).feed(range(3), fail)
    wait_until(lambda: call.error)
    assert str(call.error) == "cannot pickle 0"
    assert connection.flush() == []


def test_a_stop_iteration_from_an_iterable_does_not_end_it_silently(
    connection: RecordingConnection,
) -> None:
    def fail(value: int) -> m.Payload:
        raise StopIteration(value)

    call = Feeder(connection).feed(range(3), fail)
    wait_until(lambda: call.error)
    assert isinstance(call.error, RuntimeError)
    assert isinstance(call.error.__cause__, StopIteration)


def test_the_iterables_see_the_context_of_the_caller(connection: RecordingConnection) -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="none")
    seen: list[str] = []
    name.set("caller")
    Feeder(connection).feed(seen.append(name.get()) or n for n in range(1))  # type: ignore[func-returns-value]
    all_told(connection)
    assert seen == ["caller"]


def test_no_inputs_make_no_call(connection: RecordingConnection) -> None:
    call = Feeder(connection).feed([])
    wait_until(call.complete.is_set)
    assert connection.flush() == []
    assert call.total == 0


def test_no_inputs_make_an_empty_call_that_the_hub_keeps(connection: RecordingConnection) -> None:
    call = Feeder(connection)
    call.durable = True
    call.feed([])
    (put,) = all_told(connection)
    assert isinstance(put, m.PutCall)
    assert put.durable
    assert put.inputs == ()


def test_after_a_reconnect_exactly_what_has_no_outcome_is_sent_again(
    connection: RecordingConnection,
) -> None:
    call = Feeder(connection, room=6).feed(range(100))
    told(connection, 6)
    call.outcome_of(0, 2)
    told(connection, 2)
    call.outcome_of(1)
    wait_until(lambda: 8 in call._unsettled)  # pulled, and not sent when the hub is lost
    again = connection.reconnect()
    assert indices(again) == [3, 4, 5, 6, 7, 8]
    assert isinstance(again[0], m.PutCall)
    assert all(message.resent for message in again)  # type: ignore[attr-defined]
    assert closed(again) == [False]
    assert connection.flush() == []
    call.outcome_of(3)
    later = told(connection, 1)
    assert isinstance(later[0], m.PutInputs)
    assert not later[0].resent
    assert indices(later) == [9]


def test_a_complete_call_is_said_to_be_so_again(connection: RecordingConnection) -> None:
    call = Feeder(connection).feed(range(MOST_ENTRIES + 1))
    all_told(connection)
    again = connection.reconnect()
    assert indices(again) == list(range(MOST_ENTRIES + 1))
    assert closed(again) == [False, True]
    call.outcome_of(*range(MOST_ENTRIES + 1))
    again = connection.reconnect()  # its end has not arrived yet
    assert indices(again) == []
    assert closed(again) == [True]


def test_a_call_that_the_hub_does_not_know_yet_begins_with_the_connection(
    connection: RecordingConnection,
) -> None:
    call = Feeder(connection, room=2).feed(range(5))
    wait_until(lambda: len(call._unsettled) == 2)
    again = connection.reconnect()  # before anything was sent
    assert indices(again) == [0, 1]
    assert isinstance(again[0], m.PutCall)
    assert not again[0].resent
    assert connection.flush() == []


def test_inputs_go_on_while_the_hub_is_away(connection: RecordingConnection) -> None:
    call = Feeder(connection).feed(range(10))
    wait_until(call.complete.is_set)
    connection._outbox.clear()  # lost with the hub, with the request to send the rest
    assert indices(connection.reconnect()) == list(range(10))
    assert connection.flush() == []


def test_a_cancelled_call_is_pulled_no_further_and_what_was_sent_is_cancelled(
    connection: RecordingConnection,
) -> None:
    pulled: list[int] = []
    call = Feeder(connection, room=2).feed(pulled.append(n) or n for n in range(100))  # type: ignore[func-returns-value]
    told(connection, 2)
    call.cancel()
    call.outcome_of(0, 1)  # there would be room now
    wait_until(call.complete.is_set)
    assert pulled == [0, 1]
    sent = connection.flush()
    assert m.Cancel(0, call.id) in sent
    assert closed(sent) == [True]


def test_a_call_that_is_cancelled_before_the_hub_knows_it_is_cancelled_there_all_the_same(
    connection: RecordingConnection,
) -> None:
    let_go = threading.Event()
    call = Feeder(connection).feed(let_go.wait(10) and n for n in range(5))
    call.cancel()
    assert kinds(connection.flush()) == [
        "Cancel"
    ]  # which means nothing to a hub that knows no call
    connection.send(call._flush)
    call._put(m.NewInput(0, small(0)))  # as the helper may have begun to do
    assert kinds(connection.flush())[:2] == ["PutCall", "Cancel"]
    let_go.set()


def test_a_call_that_nobody_wants_sends_nothing_more(connection: RecordingConnection) -> None:
    closed_too = threading.Event()

    def rows() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed_too.set()

    call = Feeder(connection, room=2).feed(rows())
    told(connection, 1)
    call.stop_input()
    assert closed_too.wait(10)
    call.end("terminated")
    assert kinds(connection.flush()) == ["Release"]
