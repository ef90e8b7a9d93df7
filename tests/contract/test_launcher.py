"""What every launcher must do; each one that can run here is put through it."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from nbfn.config import LAUNCHERS
from nbfn.hub.launchers.base import Exit, Failed, Launcher, Started, WorkerSpec
from tests.unit.kernel.fake_hub import FakeHub, fake_hub


@pytest.fixture(params=LAUNCHERS)
def hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Have a hub with one way to start workers."""
    with fake_hub(monkeypatch, launcher=request.param) as hub:
        yield hub


def make(worker: str, **given: object) -> WorkerSpec:
    return WorkerSpec(worker, sys.executable, **given)  # type: ignore[arg-type]


def up(hub: FakeHub, spec: WorkerSpec) -> int:
    hub.launcher.submit(spec)
    return hub.until(lambda: next((h for h in hub.hellos if h.peer == spec.worker), None)).pid


def test_a_worker_starts_and_says_hello(hub: FakeHub) -> None:
    pid = up(hub, make("wk-1"))
    assert hub.report("wk-1", Started).pid == pid
    assert [(r.worker, r.pid) for r in hub.launcher.list()] == [("wk-1", pid)]


def test_submitting_twice_starts_one(hub: FakeHub) -> None:
    hub.launcher.submit(make("wk-1"))
    up(hub, make("wk-1"))
    up(hub, make("wk-2"))
    assert [h.peer for h in hub.hellos].count("wk-1") == 1


def test_environment_and_directory_are_as_asked(hub: FakeHub) -> None:
    up(hub, make("wk-1", environment={"COLOUR": "blue"}, cwd="/usr"))
    hub.bind("wk-1", "import os\ndef f(): return os.environ['COLOUR'], os.environ['NBFN_WORKER']")
    assert hub.call("wk-1") == ("blue", "wk-1")


def test_stop_is_gentle_first(hub: FakeHub) -> None:
    up(hub, make("wk-1"))
    hub.launcher.stop(hub.launcher.list()[0], 10)
    report = hub.report("wk-1", Exit)
    assert (report.exit_code, report.signal, report.ordered) == (0, None, True)
    assert not hub.launcher.list()


def test_stop_is_not_gentle_in_the_end(hub: FakeHub) -> None:
    up(hub, make("wk-1"))
    stubborn = "while True:\n        try: time.sleep(60)\n        except BaseException: pass"
    hub.bind("wk-1", f"import time\ndef f():\n    print('on')\n    {stubborn}")
    hub.run("wk-1", ())
    hub.until(hub.text)
    began = time.monotonic()
    hub.launcher.stop(hub.launcher.list()[0], 0.3)
    report = hub.report("wk-1", Exit)
    assert (report.signal, report.ordered) == (signal.SIGKILL, True)
    assert 0.25 < time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("body", "code", "number"),
    [
        ("os._exit(3)", 3, None),
        ("ctypes.string_at(0)", None, signal.SIGSEGV),
        ("os.abort()", None, signal.SIGABRT),
    ],
)
def test_an_exit_says_how(hub: FakeHub, body: str, code: int | None, number: int | None) -> None:
    up(hub, make("wk-1"))
    hub.bind("wk-1", f"import ctypes, os\ndef f(): {body}")
    hub.run("wk-1", ())
    report = hub.report("wk-1", Exit)
    assert (report.exit_code, report.signal, report.ordered) == (code, number, False)
    assert report.running_lease == 1
    assert report.memory_peak is not None
    assert report.memory_peak > 2**20


def test_a_python_that_is_not_there_is_a_failure_to_start(hub: FakeHub) -> None:
    hub.launcher.submit(WorkerSpec("wk-1", "/no/such/python"))
    assert "/no/such/python" in hub.report("wk-1", Failed).reason
    assert not hub.launcher.list()


def test_a_python_that_cannot_run_workers_is_a_failure_to_start(hub: FakeHub) -> None:
    hub.launcher.submit(WorkerSpec("wk-1", "/bin/false"))
    assert "cannot run workers" in hub.report("wk-1", Failed).reason


def test_its_descriptors_wake_who_polls(hub: FakeHub) -> None:
    pid = up(hub, make("wk-1"))
    launcher: Launcher = hub.launcher
    hub.until(lambda: not select.select(launcher.sources(), [], [], 0)[0])
    os.kill(pid, signal.SIGKILL)
    assert select.select(launcher.sources(), [], [], 10)[0]


def test_polling_without_news_returns_at_once(hub: FakeHub) -> None:
    assert hub.launcher.poll() == []


def test_capacity_is_that_of_the_machine(hub: FakeHub) -> None:
    capacity = hub.launcher.capacity()
    assert capacity.cpu >= 1
    assert capacity.memory > 2**27
