"""The broker with its real socket, disk and state machine; its clients and workers are the test."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cloudpickle
import pytest

from nbfn.config import Places, Settings
from nbfn.hub import __main__ as hub
from nbfn.launch.base import Capacity, Exit, Ref, Report, WorkerSpec
from nbfn.types import InputStatus
from nbfn.wire import frames
from nbfn.wire import messages as m
from nbfn.wire.payload import Carrier
from nbfn.wire.socket import Link
from tests.conftest import wait_until

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


def client_of(hub: Hub) -> Peer:
    hello = m.ClientHello(m.PROTOCOL, "cl-1", *VERSIONS, 1, "here")
    return Peer(hub, frames.TO_CLIENT, hello)


def worker_of(hub: Hub, name: str, function: str = "") -> Peer:
    hello = m.WorkerHello(
        m.PROTOCOL, name, *VERSIONS, 2, "here", sys.executable, function, int(bool(function))
    )
    return Peer(hub, frames.TO_WORKER, hello)


def test_an_input_that_waited_for_the_disk_does_not_run_on_a_connection_that_it_was_not_leased_on(
    broker: Hub,
) -> None:
    carrier = Carrier(broker.places, "cl-1")
    environment = m.Environment(sys.executable, (), "/", "3.11", "3")
    definition = m.Definition("once", carrier.dump(None), "d", environment, at_most_once=True)
    client = client_of(broker)
    client.say(m.Register(1, "app", definition))
    function = client.next(m.Registered).info.id

    call = m.new_id("fc")
    client.say(m.PutCall(call, function, 1, "remote", (m.NewInput(0, carrier.dump(())),)))
    wait_until(lambda: broker.launcher.asked)
    worker = worker_of(broker, name := broker.launcher.asked[0])
    worker.next(m.Bind)
    broker.stall()
    worker.say(m.Bound(function, 1))
    wait_until(broker.waits)  # that the input began; until it is on disk the worker is not told

    back = worker_of(broker, name, function)  # as after a hub that was stopped for a while
    broker.go_on()
    ran = back.next(m.Run)
    back.say(m.Results(1, (m.Result(ran.inputs[0].lease, 1, carrier.dump("right"), 0.0),)))
    (output,) = client.next(m.Outputs).outputs
    assert output.status == InputStatus.SUCCESS
    assert not [said for said in back.heard if isinstance(said, m.Run)], "it was told to run once"
    for peer in (client, worker, back):
        peer.close()
