"""The broker with its real socket, disk and state machine; its clients and workers are the test."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cloudpickle
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbfn.config import Places, Settings
from nbfn.hub import __main__ as hub
from nbfn.hub.launchers.base import Capacity, Exit, Ref, Report, WorkerSpec
from nbfn.protocol import codec
from nbfn.protocol import messages as m
from nbfn.protocol.transport import Link
from nbfn.serialization.payload import Serializer
from nbfn.types import InputStatus
from tests.conftest import wait_until
from tests.unit.hub.random_messages import message

T = TypeVar("T", bound=m.Message)
VERSIONS = ("0", str(cloudpickle.__version__), "3.11")


class NoLauncher:
    """Starts nothing: the test plays the workers that are asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._ended: list[Report] = []

    def submit(self, spec: WorkerSpec) -> Ref:
        self.asked.append(spec.worker)
        return Ref(spec.worker)

    def poll(self) -> list[Report]:
        ended, self._ended = self._ended, []
        return ended

    def stop(self, ref: Ref, grace: float) -> None:
        self._ended.append(Exit(ref.worker, 0))

    def list(self) -> Sequence[Ref]:
        return ()

    def capacity(self) -> Capacity:
        return Capacity(2.0, 2**32)

    def sources(self) -> Sequence[int]:
        return ()

    def ready(self, executable: str) -> None: ...

    def close(self) -> None: ...


class Hub:
    """A hub on a thread, whose disk can be made to wait."""

    def __init__(self, launcher: NoLauncher) -> None:
        self.launcher = launcher
        self.places = Places.of().create()
        parts = hub._assemble(self.places, Settings.load(), 1, embedded=False)
        self._broker, self._store, *self._rest = parts
        self._submit: Any = self._store.submit
        self._waiting: list[tuple[Any, Any]] | None = None
        self._turn = threading.Lock()
        self._store.submit = self._submitted  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._broker.run)
        self._thread.start()

    def _submitted(self, saves: Any, then: Any) -> None:
        with self._turn:
            if self._waiting is None:
                self._submit(saves, then)
            else:
                self._waiting.append((saves, then))

    def stall(self) -> None:
        """Have the disk take nothing."""
        with self._turn:
            self._waiting = []

    def waits(self) -> int:
        """Return how many turns wait for the disk."""
        with self._turn:
            return len(self._waiting or ())

    def go_on(self) -> None:
        """Let the disk take what waited."""
        with self._turn:
            waiting, self._waiting = self._waiting or [], None
            for saves, then in waiting:
                self._submit(saves, then)

    def close(self) -> None:
        self._broker.end()
        self._thread.join(10)
        for part in (self._store, *self._rest):
            part.close()


@pytest.fixture
def broker(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    launcher = NoLauncher()
    monkeypatch.setattr(hub, "_launcher", lambda *_: launcher)
    made = Hub(launcher)
    yield made
    made.close()


class Peer:
    """One connection of a client or a worker."""

    def __init__(self, hub: Hub, decoder: Any, hello: m.Message) -> None:
        self.heard: list[Any] = []
        self._link = Link(hub.places.endpoint, decoder)
        while not self._link.up:
            self._link.wait(5)
        self._link.send(hello)
        self.next(m.Welcome)

    def say(self, message: m.Message) -> None:
        self._link.send(message)

    def frame(self, frame: bytes) -> None:
        """Send bytes, whether they are a message or not."""
        self._link._socket.send(frame)

    def next(self, kind: type[T]) -> T:
        """Return the next message of a kind."""
        while True:
            found: T | None = next((said for said in self.heard if isinstance(said, kind)), None)
            if found is not None:
                self.heard.remove(found)
                return found
            arrived = self._link.wait(10)
            assert arrived, f"no {kind.__name__} in 10 s; heard {self.heard}"
            self.heard += arrived

    def close(self) -> None:
        self._link.close()


def client_of(hub: Hub, name: str = "cl-1") -> Peer:
    hello = m.ClientHello(m.PROTOCOL, name, *VERSIONS, 1, "here")
    return Peer(hub, codec.TO_CLIENT, hello)


def worker_of(hub: Hub, name: str, function: str = "") -> Peer:
    hello = m.WorkerHello(
        m.PROTOCOL, name, *VERSIONS, 2, "here", sys.executable, function, int(bool(function))
    )
    return Peer(hub, codec.TO_WORKER, hello)


def test_an_input_that_waited_for_the_disk_does_not_run_on_a_connection_that_it_was_not_leased_on(
    broker: Hub,
) -> None:
    serializer = Serializer(broker.places, "cl-1")
    environment = m.Environment(sys.executable, (), "/", "3.11", "3")
    definition = m.Definition("once", serializer.dump(None), "d", environment, at_most_once=True)
    client = client_of(broker)
    client.say(m.Register(1, "app", definition))
    function = client.next(m.Registered).info.id

    call = m.new_id("fc")
    client.say(m.PutCall(call, function, 1, "remote", (m.NewInput(0, serializer.dump(())),)))
    wait_until(lambda: broker.launcher.asked)
    worker = worker_of(broker, name := broker.launcher.asked[0])
    worker.next(m.Bind)
    broker.stall()
    worker.say(m.Bound(function, 1))
    wait_until(broker.waits)  # that the input began; until it is on disk the worker is not told

    back = worker_of(broker, name, function)  # as after a hub that was stopped for a while
    broker.go_on()
    ran = back.next(m.Run)
    back.say(m.Results(1, (m.Result(ran.inputs[0].lease, 1, serializer.dump("right"), 0.0),)))
    (output,) = client.next(m.Outputs).outputs
    assert output.status == InputStatus.SUCCESS
    assert not [said for said in back.heard if isinstance(said, m.Run)], "it was told to run once"
    for peer in (client, worker, back):
        peer.close()


def raw(hub: Hub) -> socket.socket:
    """Return a connection to the hub's socket that speaks no ZeroMQ yet."""
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(hub.places.endpoint.removeprefix("ipc://"))
    return stream


def answers(hub: Hub) -> None:
    """Fail unless the hub answers a client."""
    control = client_of(hub, "cl-control")
    control.say(m.GetOverview(1))
    control.next(m.Overview)
    control.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x01\x00\x02\x00x",  # ZMTP 1.0: its messages name no connection
        b"\x01\x00" + b"\x02\x00x" * 1000,
        b"\x01\x00" + b"\x02\x01x" * 1000 + b"\x02\x00x",  # one message of many frames
        b"\xff" + bytes(8) + b"\x01\x7f\x01\x05\x00\x00\x00\x01x",  # ZMTP 2.0
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(64),
    ],
)
def test_bytes_that_are_no_zeromq_of_today_harm_nobody(broker: Hub, sent: bytes) -> None:
    control = client_of(broker)
    with raw(broker) as stream:
        stream.sendall(sent)
        control.say(m.GetOverview(1))
        control.next(m.Overview)
        answers(broker)
    answers(broker)
    control.close()


_KINDS = [kind for kind in (*m.FROM_CLIENT, *m.FROM_WORKER) if kind is not m.StopHub]


def test_any_messages_from_any_peer_leave_the_hub_up(broker: Hub) -> None:
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        as_worker=st.booleans(),
        said=st.lists(st.one_of(message(*_KINDS), message(*_KINDS, wild=True)), max_size=12),
    )
    def beset(as_worker: bool, said: list[m.Message]) -> None:
        peer = worker_of(broker, "wk-1") if as_worker else client_of(broker)
        for one in said:
            peer.frame(msgspec.msgpack.encode(one))
        answers(broker)
        peer.close()

    beset()


def test_a_message_that_cannot_be_handled_fails_only_what_it_asks_for(
    broker: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect of the state machine, put there: no message is known that shows one."""

    def defect(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    client, other = client_of(broker), client_of(broker, "cl-2")
    handlers = broker._broker._state._message_handlers
    monkeypatch.setitem(handlers, m.ListSecrets, defect)
    monkeypatch.setitem(handlers, m.PutCall, defect)
    client.say(m.ListSecrets(5))
    assert client.next(m.Failed).request == 5
    client.say(m.PutCall("fc-1", "fu-1", 1, "remote", (m.NewInput(0, m.Payload(b"")),)))
    assert client.next(m.CallRefused).code == "internal"
    monkeypatch.undo()
    for peer in (client, other):
        peer.say(m.ListSecrets(6))
        assert peer.next(m.Secrets).request == 6
        peer.close()
    assert "ZeroDivisionError: a defect" in caplog.text


def test_an_invalid_value_fails_its_own_request_and_no_other(broker: Hub) -> None:
    client = client_of(broker)
    for number in range(1, 6):  # more often than a peer may send what is no message
        client.frame(msgspec.msgpack.encode(m.SetAutoscaler(number, "fu-1", m.PoolSettings(2**63))))
        failed = client.next(m.Failed)
        assert (failed.request, failed.code) == (number, "invalid")
        assert (
            failed.message == "min_containers is 9223372036854775808; it must be at most 1000000."
        )
    client.frame(msgspec.msgpack.encode(m.PutInputs("fc-1", (m.NewInput(2**63, m.Payload(b"")),))))
    assert client.next(m.CallRefused).call == "fc-1"
    client.say(m.ListSecrets(9))
    assert client.next(m.Secrets).request == 9
    client.close()


def test_a_second_hello_of_another_id_does_not_count(broker: Hub) -> None:
    client = client_of(broker)
    client.say(m.ClientHello(m.PROTOCOL, "cl-2", *VERSIONS, 1, "here"))
    assert client.next(m.Refused).code == "invalid"
    client.say(m.ListSecrets(1))
    assert client.next(m.Secrets).request == 1
    client.close()
