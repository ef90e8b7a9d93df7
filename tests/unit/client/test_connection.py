"""The connection to the hub, against a hub that does what the test says."""

from __future__ import annotations

import pickle
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nbfn.api.app import App
from nbfn.api.function import Function
from nbfn.client import call_observer
from nbfn.client.calls.durable_call import DurableCall
from nbfn.client.client import Client
from nbfn.config import Places
from nbfn.exception import AuthError, ConnectionError, NotFoundError, RemoteError
from nbfn.protocol import messages as m
from nbfn.protocol.call_states import InputCounts
from nbfn.protocol.transport import Router
from nbfn.serialization.payload import SEGMENT_MIN, Serializer
from nbfn.types import InputStatus
from tests.call_progress import progress
from tests.conftest import wait_until


class FakeHub:
    """A hub on a thread: answers hellos and registrations by itself, all else waits in ``inbox`` for the test."""

    def __init__(self, endpoint: str, epoch: int = 1) -> None:
        self.endpoint, self.epoch = endpoint, epoch
        self.inbox: queue.Queue[Any] = queue.Queue()
        self.refusal: m.Refused | None = None
        self.forgotten = False  # whether it knows none of the functions of calls
        self.registered = 0
        self._outbox: queue.Queue[m.Message] = queue.Queue()
        self._peers: set[bytes] = set()
        self._ending = threading.Event()
        self._router = Router(endpoint)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ending.wait(0.002):
            self._router.lost()
            for peer, message in self._router.receive():
                self._take(peer, message)
            while not self._outbox.empty():
                message = self._outbox.get()
                for peer in self._peers:
                    self._router.send(peer, message)
        self._router.close(0)

    def _take(self, peer: bytes, message: Any) -> None:
        if isinstance(message, m.ClientHello):
            self._peers.add(peer)
            self._router.send(peer, self.refusal or m.Welcome(m.PROTOCOL, self.epoch, "0", 1))
        elif isinstance(message, m.Register):
            self.registered += 1
            self._router.send(peer, m.Registered(message.request, self.info(message.definition)))
        elif isinstance(message, m.PutCall) and self.forgotten:
            self.forgotten = False
            self._router.send(peer, m.CallRefused(message.call, "not_found", "never heard of it"))
        else:
            self.inbox.put(message)

    def info(self, definition: m.Definition) -> m.FunctionInfo:
        return m.FunctionInfo(
            f"fu-{self.registered}",
            "ap-1",
            "",
            definition.name,
            1,
            False,
            definition.is_generator,
            False,
            "",
            "",
            definition.environment,
            300.0,
            m.PoolSettings(),
        )

    def expect(self, kind: type[Any]) -> Any:
        """Return the next message of a kind."""
        while True:
            message = self.inbox.get(timeout=5)
            if isinstance(message, kind):
                return message

    def say(self, message: m.Message) -> None:
        self._outbox.put(message)

    def answer(self, call: str, *values: Any, start: int = 0) -> None:
        outputs = tuple(
            m.Output(start + i, InputStatus.SUCCESS, m.Payload(pickle.dumps(v)))
            for i, v in enumerate(values)
        )
        self.say(m.Outputs(call, outputs))

    def close(self) -> None:
        self._ending.set()
        self._thread.join()


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    endpoint = f"ipc://{home}/fake.sock"
    monkeypatch.setenv("NBFN_HUB", endpoint)
    monkeypatch.setenv("NBFN_CONNECT_TIMEOUT", "5")
    fake = FakeHub(endpoint)
    yield fake
    fake.close()


@pytest.fixture
def double() -> Function[[int], int]:
    return App().function(name="double")(lambda x: 2 * x)


class Background:
    """A blocking call on a thread."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(function, *args))
        self._thread.start()

    def _run(self, function: Any, *args: Any) -> None:
        try:
            self.result = function(*args)
        except BaseException as error:
            self.error = error

    def join(self) -> Any:
        self._thread.join(10)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.result


def test_a_call_and_its_end(hub: FakeHub, double: Function[[int], int]) -> None:
    calling = Background(double.remote, 3)
    put = hub.expect(m.PutCall)
    assert (put.kind, put.closed, put.durable, put.resent) == ("remote", True, False, False)
    assert pickle.loads(put.inputs[0].payload.data) == ((3,), {})
    hub.answer(put.call, 6)
    assert calling.join() == 6
    again = Background(double.remote, 4)
    put = hub.inbox.get(timeout=10)
    assert isinstance(put, m.PutCall), "that the first call ended the hub knows by itself"
    hub.answer(put.call, 8)
    assert again.join() == 8


def test_a_new_hub_is_told_of_what_is_open_and_of_the_function(
    hub: FakeHub, double: Function[[int], int]
) -> None:
    calling = Background(double.remote, 3)
    first = hub.expect(m.PutCall)
    hub.close()
    second = FakeHub(hub.endpoint, epoch=2)
    second.forgotten = True  # it lost what was private
    try:
        again = second.expect(m.PutCall)
        assert (again.call, again.resent, again.inputs) == (first.call, True, first.inputs)
        assert second.registered == 1
        second.answer(again.call, 6)
        second.answer(again.call, 7)  # told twice: the first counts
        assert calling.join() == 6
    finally:
        second.close()


def test_a_map_goes_on_where_it_was(hub: FakeHub, double: Function[[int], int]) -> None:
    results = Background(list, double.map(range(3)))
    put = hub.expect(m.PutCall)
    seen = {item.index for item in put.inputs}
    closed = put.closed
    while not closed:
        more = hub.expect(m.PutInputs)
        seen |= {item.index for item in more.inputs}
        closed = more.closed
    assert seen == {0, 1, 2}
    hub.answer(put.call, "one", start=1)
    hub.say(progress(put.call, 1))
    wait_until(lambda: Client.attach().tracked(put.call).done == 1)
    hub.close()
    second = FakeHub(hub.endpoint, epoch=2)
    try:
        again = second.expect(m.PutCall)
        assert [item.index for item in again.inputs] == [0, 2]
        assert again.closed
        second.answer(put.call, "zero", start=0)
        second.answer(put.call, "two", start=2)
        assert results.join() == ["zero", "one", "two"]
    finally:
        second.close()


def test_an_observer_hears_that_the_hub_is_lost_and_back(
    hub: FakeHub, double: Function[[int], int]
) -> None:
    heard: list[bool] = []

    class Sink(call_observer.TextSink):
        def connected(self, up: bool) -> None:
            heard.append(up)

    class Observer(call_observer.CallObserver):
        def call_started(self, call: call_observer.CallView) -> Sink:
            return Sink()

    call_observer.set_observer(Observer())
    try:
        results = Background(list, double.map([1]))
        put = hub.expect(m.PutCall)
        hub.close()
        wait_until(lambda: heard == [False])
        second = FakeHub(hub.endpoint, epoch=2)
        try:
            second.expect(m.PutCall)
            assert heard == [False, True]
            second.answer(put.call, 2)
            assert results.join() == [2]
        finally:
            second.close()
    finally:
        call_observer.set_observer(None)


def test_a_map_that_is_asked_while_the_last_outcome_arrives_does_not_end_without_it(
    hub: FakeHub, double: Function[[int], int]
) -> None:
    arriving, ended = threading.Event(), threading.Event()

    class Sink(call_observer.TextSink):
        def outputs(self, counts: InputCounts, more: bool, new: Any = ()) -> None:
            if counts.settled == 2:  # on the client's thread, in the middle of taking it
                arriving.set()
                ended.wait(1)

    class Observer(call_observer.CallObserver):
        def call_started(self, call: call_observer.CallView) -> Sink:
            return Sink()

    call_observer.set_observer(Observer())
    try:
        results = iter(double.map([1, 2]))
        first = Background(next, results)
        put = hub.expect(m.PutCall)
        hub.answer(put.call, "first")
        assert first.join() == "first"
        hub.answer(put.call, "last", start=1)
        assert arriving.wait(5)
        rest = Background(list, results)
        assert rest.join() == ["last"]
    finally:
        ended.set()
        call_observer.set_observer(None)


def large(call: str, index: int) -> tuple[m.Outputs, Path]:
    """A result that is in shared memory, and where."""
    places = Places.of()
    payload = Serializer(places, "wk-1").dump(b"x" * SEGMENT_MIN)
    (segment,) = payload.segments
    outputs = m.Outputs(call, (m.Output(index, InputStatus.SUCCESS, payload),))
    return outputs, places.shm / segment.name


def test_a_result_that_is_told_twice_is_there_until_it_is_taken(
    hub: FakeHub, double: Function[[int], int]
) -> None:
    results = iter(double.map([1, 2]))
    first = Background(next, results)
    put = hub.expect(m.PutCall)
    hub.answer(put.call, "first")
    assert first.join() == "first"
    outputs, _ = large(put.call, 1)
    hub.say(outputs)
    hub.say(outputs)  # by a hub that was asked again, as after a reconnect
    other = Background(double.remote, 3)
    hub.answer(hub.expect(m.PutCall).call, 6)
    assert other.join() == 6, "and so what was said before has been heard"
    assert list(results) == [b"x" * SEGMENT_MIN]


def test_a_result_of_a_call_that_was_given_up_is_freed(
    hub: FakeHub, double: Function[[int], int]
) -> None:
    results = iter(double.map([1, 2]))
    first = Background(next, results)
    put = hub.expect(m.PutCall)
    hub.answer(put.call, "first")
    assert first.join() == "first"
    results.close()  # type: ignore[attr-defined]
    outputs, path = large(put.call, 1)
    assert path.exists()
    hub.say(outputs)
    wait_until(lambda: not path.exists())


def test_the_window_is_kept(hub: FakeHub, double: Function[[int], int]) -> None:
    pulled: list[int] = []
    results = double.map(pulled.append(i) or i for i in range(10_000))  # type: ignore[func-returns-value]
    first = Background(next, results)
    put = hub.expect(m.PutCall)
    wait_until(lambda: len(pulled) == 1000)  # before the hub has said how many
    hub.say(m.Window(put.call, 1500))
    wait_until(lambda: len(pulled) == 1500)
    hub.answer(put.call, 0)
    assert first.join() == 0
    assert len(pulled) <= 1500
    results.close()
    assert hub.expect(m.Cancel).call == put.call
    assert hub.expect(m.PutInputs).closed


def test_cancelling_a_map_ends_its_input(hub: FakeHub, double: Function[[int], int]) -> None:
    views: list[call_observer.CallView] = []

    class Watching(call_observer.CallObserver):
        def call_started(self, call: call_observer.CallView) -> None:
            views.append(call)

    call_observer.set_observer(Watching())
    try:
        results = Background(list, double.map(iter(int, 1), return_exceptions=True))
        put = hub.expect(m.PutCall)
        views[0].cancel()
        count = len(put.inputs)
        while not put.closed:
            put = hub.expect(m.PutInputs)
            count += len(put.inputs)
        hub.expect(m.Cancel)
        fault = m.Fault("cancelled", "It was cancelled.")
        call = views[0].id
        hub.say(
            m.Outputs(
                call, tuple(m.Output(i, InputStatus.TERMINATED, None, fault) for i in range(count))
            )
        )
        ended = results.join()
        assert len(ended) == count
        assert all(isinstance(error, RemoteError) for error in ended)
    finally:
        call_observer.set_observer(None)


def test_an_observer_hears_it_in_order(hub: FakeHub, double: Function[[int], int]) -> None:
    heard: list[Any] = []

    class Sink(call_observer.CallSink):
        def emission(self, e: m.Emission) -> None:
            heard.append(e.data)

        def progress(self, p: m.Progress) -> None:
            heard.append(p.counts.running)

        def outputs(self, counts: InputCounts, more: bool, new: Any = ()) -> None:
            heard.append((counts.settled, counts.unsuccessful, None if more else counts.total))
            raise ValueError("an observer's own trouble harms nobody")

        def finished(self, status: str, error: BaseException | None) -> None:
            heard.append((status, error))

    class Observer(call_observer.CallObserver):
        def call_started(self, call: call_observer.CallView) -> Sink:
            heard.append((call.function, call.kind, call.total, threading.current_thread().name))
            return Sink()

    call_observer.set_observer(Observer())
    try:
        calling = Background(double.remote, 3)
        put = hub.expect(m.PutCall)
        hub.say(progress(put.call, 0, 1))
        hub.say(m.Emission(put.call, 0, 1, "stdout", b"hello"))
        hub.answer(put.call, 6)
        calling.join()
    finally:
        call_observer.set_observer(None)
    assert heard[0][:3] == ("double", "remote", 1)
    assert heard[0][3] != "nbfn-client"
    assert heard[1:] == [1, b"hello", (1, 0, 1), ("success", None)]


def test_a_spawn_is_back_when_it_is_stored(hub: FakeHub, double: Function[[int], int]) -> None:
    spawning = Background(double.spawn, 3)
    put = hub.expect(m.PutCall)
    assert put.durable
    hub.say(m.Accepted(put.call))
    call = spawning.join()
    assert call.object_id == put.call
    getting = Background(call.get)
    watch = hub.expect(m.Watch)
    hub.say(m.CallInfo(watch.request, put.call, "fu-1", "spawn", 1, True, "double"))
    hub.answer(put.call, 6)
    assert getting.join() == 6


def test_a_thread_that_ends_before_it_is_woken_to_do_so(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Client.attach()
    wake = mine._link.wake

    def wake_slowly() -> None:
        wake()
        mine._thread.join(5)
        wake()

    monkeypatch.setattr(mine._link, "wake", wake_slowly)
    mine.close()
    assert not mine._thread.is_alive()


def test_a_refusal_is_an_error_of_its_kind_and_the_next_try_is_a_new_one(hub: FakeHub) -> None:
    hub.refusal = m.Refused("auth", "Not you.")
    with pytest.raises(AuthError, match="Not you"):
        Client.attach()
    hub.refusal = None
    assert Client.attach().connected


def test_a_refused_request(hub: FakeHub) -> None:
    asking = Background(Client.attach().cancel_call, "fc-1")
    hub.say(m.Failed(hub.expect(m.Cancel).request, "not_found", "No such call."))
    with pytest.raises(NotFoundError, match="No such call"):
        asking.join()


def test_a_hub_that_does_not_come_back(
    hub: FakeHub, double: Function[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBFN_CONNECT_TIMEOUT", "0.3")
    calling = [Background(double.remote, 3), Background(list, double.map([1, 2]))]
    hub.expect(m.PutCall)
    hub.expect(m.PutCall)
    hub.close()
    for call in calling:
        with pytest.raises(ConnectionError, match=r"No nbfn hub at .*fake.sock \(waited 0 s\)"):
            call.join()


def test_closing_fails_what_waits(hub: FakeHub, double: Function[[int], int]) -> None:
    calling = Background(double.remote, 3)
    put = hub.expect(m.PutCall)
    Client.attach().close()
    with pytest.raises(ConnectionError, match="closed"):
        calling.join()
    assert hub.expect(m.Release).call == put.call


def test_an_observer_cannot_wait_for_itself(hub: FakeHub) -> None:
    client = Client.attach()
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            client.overview()
        except BaseException as error:
            errors.append(error)

    client.run_soon(ask)
    wait_until(lambda: errors)
    assert "runs on the thread that receives the answer" in str(errors[0])


def test_who_has_ended_does_not_end_another_that_follows_the_same_call(hub: FakeHub) -> None:
    client = Client.attach()
    info = hub.info(m.Definition("f", m.Payload(b""), "1", m.Environment("", (), "", "", "")))
    first, second = (DurableCall(client, info, call_id="fc-1") for _ in range(2))
    assert client.track(first) is first
    assert client.forget(first, settled=True)
    future = second.expect(0)
    assert client.track(second) is second
    assert not client.forget(first, settled=True)
    assert client.tracked("fc-1") is second
    hub.say(m.Outputs("fc-1", (m.Output(0, InputStatus.SUCCESS, m.Payload(pickle.dumps(7))),)))
    assert future.result(5).index == 0
