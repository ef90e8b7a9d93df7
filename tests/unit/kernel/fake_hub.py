"""A hub that does only what a test tells it to, over a real socket; the workers that talk to it are real processes."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from nbfn.config import Places, Settings
from nbfn.hub.launchers.base import Report, WorkerSpec
from nbfn.hub.launchers.local import LocalLauncher
from nbfn.protocol import messages
from nbfn.protocol.codec import BadFrame
from nbfn.protocol.messages import (
    Bind,
    BindFailed,
    Bound,
    Confirm,
    Definition,
    Emitted,
    Environment,
    LeasedInput,
    Message,
    Result,
    Results,
    Run,
    Welcome,
    WorkerHello,
)
from nbfn.protocol.transport import Router
from nbfn.serialization.payload import Serializer
from nbfn.serialization.remote_exception import load_exception

T = TypeVar("T")
CALL = messages.new_id("fc")
#: Seconds after which a test that waits gives up.
PATIENCE = 20.0


class FakeHub:
    """Router, launcher and payloads in one place; `until` is the only way to wait."""

    def __init__(self, places: Places, settings: Settings) -> None:
        self.places = places
        self.serializer = Serializer(places, "cl-test")
        self.launcher = LocalLauncher(places, settings, places.endpoint)
        self.seen: list[Message] = []
        self.reports: list[Report] = []
        self.peers: dict[str, bytes] = {}  # by worker
        self.earlier: set[str] = set()  # workers of tests that are over: still alive, and not heard
        self.hellos: list[WorkerHello] = []
        self.epoch = 1
        self.leases = 0
        self.open(places.endpoint)

    def open(self, endpoint: str) -> None:
        self.router = Router(endpoint)
        self.router.watch(*self.launcher.sources())

    def until(self, check: Callable[[], T | None], patience: float = PATIENCE) -> T:
        deadline = time.monotonic() + patience
        while not (found := check()):
            assert time.monotonic() < deadline, (
                f"not in {patience} s; seen: {self.seen[-5:]} {self.reports[-5:]}"
            )
            self.router.wait(0.02)
            self.reports += self.launcher.poll()
            self.router.lost()
            for peer, message in self.router.receive():
                assert not isinstance(message, BadFrame), message
                if isinstance(message, WorkerHello):
                    self.peers[message.peer] = peer
                    self.hellos.append(message)
                    self.send(
                        message.peer, Welcome(messages.PROTOCOL, self.epoch, "0", os.getpid())
                    )
                elif not any(self.peers[worker] == peer for worker in self.earlier):
                    self.seen.append(message)
        return found

    def begin_test(self) -> None:
        """Forget what was said, and hear no more of who said it."""
        self.seen.clear()
        self.earlier.update(self.peers)

    def start(self, worker: str, **spec: Any) -> WorkerHello:
        self.launcher.submit(WorkerSpec(worker, sys.executable, **spec))
        before = len(self.hellos)
        return self.until(lambda: next((h for h in self.hellos[before:] if h.peer == worker), None))

    def send(self, worker: str, message: Message) -> None:
        assert self.router.send(self.peers[worker], message)

    def next(self, kind: type[T]) -> T:
        """Wait for a message of this kind and take it out of `seen`."""

        def found() -> T | None:
            return next((m for m in self.seen if isinstance(m, kind)), None)

        message = self.until(found)
        self.seen.remove(message)  # type: ignore[arg-type]
        return message

    def report(self, worker: str, kind: type[T]) -> T:
        return self.until(
            lambda: next(
                (r for r in self.reports if isinstance(r, kind) and r.worker == worker), None
            )
        )

    # --- functions and inputs ---

    def define(self, source: str, **options: Any) -> Definition:
        """Make a Function as a notebook would: from the text of a cell, which is in no file."""
        filename = f"/tmp/ipykernel_0/{abs(hash(source))}.py"
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(source, filename, "exec"), names)
        environment = Environment(
            sys.executable, (*sys.path, "/nowhere"), str(self.places.home), "3.11", "3"
        )
        return Definition(
            "f",
            self.serializer.dump(names["f"]),
            "d",
            environment,
            source=source,
            filename=filename,
            **options,
        )

    def bind(self, worker: str, source: str, **options: Any) -> Bound | BindFailed:
        self.send(worker, Bind("fu-1", 1, self.define(source, **options)))
        return self.next((Bound, BindFailed))  # type: ignore[arg-type]

    def inputs(self, *arguments: tuple[Any, ...]) -> tuple[LeasedInput, ...]:
        first, self.leases = self.leases + 1, self.leases + len(arguments)
        return tuple(
            LeasedInput(first + n, CALL, n, 1, self.serializer.dump_arguments(args, {}))
            for n, args in enumerate(arguments)
        )

    def run(self, worker: str, *arguments: tuple[Any, ...]) -> tuple[LeasedInput, ...]:
        inputs = self.inputs(*arguments)
        self.send(worker, Run(inputs))
        return inputs

    def results(self, count: int, worker: str | None = None) -> list[Result]:
        """Wait for this many results, and confirm them when a worker is named."""
        found: list[Result] = []
        while len(found) < count:
            message = self.next(Results)
            found += message.results
            if worker is not None:
                self.send(worker, Confirm(message.seq))
        return found

    def call(self, worker: str, *args: Any) -> Any:
        """Run one input; return its value, or raise what it raised."""
        self.run(worker, args)
        result = self.results(1, worker)[0]
        assert result.payload is not None
        if result.status == 1:
            return self.serializer.load(result.payload)
        raise load_exception(self.serializer, result.payload)

    def text(self, channel: str = "stdout") -> str:
        return b"".join(
            m.data for m in self.seen if isinstance(m, Emitted) and m.channel == channel
        ).decode()

    def close(self) -> None:
        self.launcher.close()
        self.router.close(0)


@contextmanager
def fake_hub(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Iterator[FakeHub]:
    """Run a fake hub in a home of its own; at the end every process it started is gone."""
    home = Path(tempfile.mkdtemp(prefix="nbfn-", dir="/tmp"))
    runtime = home / "run"
    runtime.mkdir(mode=0o700)
    for name, value in {"NBFN_HOME": home, "XDG_RUNTIME_DIR": runtime}.items():
        monkeypatch.setenv(name, str(value))
    for name, value in settings.items():
        monkeypatch.setenv(f"NBFN_{name.upper()}", str(value))
    hub = FakeHub(Places.of().create(), Settings.load())
    try:
        yield hub
    finally:
        for ref in hub.launcher.list():
            hub.launcher.stop(ref, 0)
        hub.until(lambda: hub.launcher.poll() is not None and not hub.launcher.list())
        hub.close()
        for path in (home, hub.places.shm):
            shutil.rmtree(path, ignore_errors=True)
