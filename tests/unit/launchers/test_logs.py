"""Logs of workers that did not end well are kept, but not all of them for ever."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from nbfn.config import LAUNCHERS, Settings
from nbfn.hub.launchers import local
from nbfn.hub.launchers.base import Exit
from nbfn.hub.launchers.local import LocalLauncher
from tests.unit.kernel.fake_hub import FakeHub, fake_hub


@pytest.fixture(params=LAUNCHERS)
def launcher(request: pytest.FixtureRequest) -> str:
    """How workers are started; logs of servers begin with it."""
    return str(request.param)


@pytest.fixture
def hub(launcher: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(local, "MAX_LOGS", 4)
    monkeypatch.setattr(local, "COUNT_LOGS_AFTER", 3)
    with fake_hub(monkeypatch, launcher=launcher) as hub:
        yield hub


def kept(hub: FakeHub) -> set[str]:
    return {path.stem for path in hub.places.logs.glob("wk-*")}


def kill(hub: FakeHub, worker: str) -> None:
    os.kill(hub.start(worker).pid, signal.SIGKILL)
    hub.report(worker, Exit)


def test_the_oldest_go_while_the_hub_runs_but_never_those_of_who_lives(
    hub: FakeHub, launcher: str
) -> None:
    hub.start("wk-alive")
    for path in hub.places.logs.iterdir():
        os.utime(path, (0, 0))
    for number in range(6):
        kill(hub, f"wk-{number}")
    assert kept(hub) == {"wk-alive", "wk-4", "wk-5"}
    assert list(hub.places.logs.glob(f"{launcher}-*.log"))


def test_a_new_hub_finds_a_worker_whose_logs_are_older_than_all_that_are_kept(
    hub: FakeHub, launcher: str
) -> None:
    pid = hub.start("wk-alive").pid
    for path in hub.places.logs.iterdir():
        os.utime(path, (0, 0))
    for number in range(6):
        (hub.places.logs / f"wk-{number}.err").write_text("killed")
    for number in range(3):
        (hub.places.logs / f"{launcher}-{number}.log").touch()
    (hub.places.logs / f"{launcher}-ill.log").write_text("no such module")
    second = LocalLauncher(hub.places, Settings(), "ipc://nowhere")
    try:
        assert [(ref.worker, ref.pid) for ref in second.list()] == [("wk-alive", pid)]
        assert len(kept(hub)) == 1 + 3
        servers = {path.stem for path in hub.places.logs.glob(f"{launcher}-*.log")}
        assert f"{launcher}-ill" in servers
        assert not servers & {f"{launcher}-{number}" for number in range(3)}
    finally:
        second.close()
