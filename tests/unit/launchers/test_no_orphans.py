"""Whatever is killed, nothing that it started stays: real processes, real ``kill -9``."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from nbfn.config import LAUNCHERS, Places, Settings
from nbfn.hub.launchers import procfs
from nbfn.hub.launchers.base import Exit
from nbfn.hub.launchers.local import LocalLauncher
from tests.unit.kernel.fake_hub import FakeHub, fake_hub

#: Starts four children in the ways in which children escape, and prints the pids of the last of each line.
BROOD = """
import os, subprocess, sys, time

def f():
    a, b = os.pipe()
    for kind in ("plain", "session", "daemon", "fork"):
        if kind in ("plain", "session"):
            child = subprocess.Popen(["sleep", "300"], start_new_session=kind == "session")
            os.write(b, b"%d\\n" % child.pid)
        elif not os.fork():
            os.setsid()
            if kind == "fork" or not os.fork():
                os.write(b, b"%d\\n" % os.getpid())
                time.sleep(300)
            os._exit(0)
    pids = b""
    while pids.count(b"\\n") < 4:
        pids += os.read(a, 100)
    print(pids.decode(), end="", flush=True)
    time.sleep(300)
"""


def wait_for(check: Callable[[], object], patience: float = 15.0) -> None:
    deadline = time.monotonic() + patience
    while not check():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(params=LAUNCHERS, autouse=True)
def launcher(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How workers are started."""
    monkeypatch.setenv("NBFN_LAUNCHER", request.param)
    return str(request.param)


@pytest.fixture
def hub(launcher: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with fake_hub(monkeypatch) as hub:
        yield hub


def brood(hub: FakeHub, worker: str) -> list[int]:
    hub.bind(worker, BROOD)
    hub.run(worker, ())
    hub.until(lambda: hub.text().count("\n") == 4)
    pids = [int(line) for line in hub.text().split()]
    assert not any(gone(pid) for pid in pids)
    return pids


def server_of(worker_pid: int) -> int:
    return procfs.processes()[worker_pid].parent


def test_a_killed_worker_takes_all_its_descendants_along(hub: FakeHub) -> None:
    pid = hub.start("wk-1").pid
    other = hub.start("wk-2").pid
    pids = brood(hub, "wk-1")
    os.kill(pid, signal.SIGKILL)
    report = hub.report("wk-1", Exit)
    assert (report.signal, report.exit_code, report.running_lease) == (signal.SIGKILL, None, 1)
    assert all(gone(p) for p in pids), "they must be gone when the exit is reported"
    assert not gone(other)


def test_a_stopped_worker_takes_all_its_descendants_along(hub: FakeHub) -> None:
    hub.start("wk-1")
    pids = brood(hub, "wk-1")
    hub.launcher.stop(hub.launcher.list()[0], 5)
    assert hub.report("wk-1", Exit).ordered
    assert all(gone(pid) for pid in pids)


def test_workers_and_their_children_die_with_their_server(hub: FakeHub) -> None:
    pid = hub.start("wk-1").pid
    hub.start("wk-2")
    pids = brood(hub, "wk-1")
    os.kill(server_of(pid), signal.SIGKILL)
    report = hub.report("wk-1", Exit)
    assert (report.exit_code, report.running_lease) == (None, None)
    hub.report("wk-2", Exit)
    wait_for(lambda: all(gone(p) for p in [pid, *pids]))
    hub.start("wk-3")  # a new server comes by itself


# --- the process that plays the hub is killed ----------------------------------------------------

HUB = """
import fcntl, os, sys, time
from nbfn.config import LAUNCHERS, Places, Settings
from nbfn.hub.launchers.base import WorkerSpec
from tests.unit.kernel.fake_hub import FakeHub
places = Places.of().create()
lock = os.open(places.lock_file, os.O_CREAT | os.O_RDWR)
fcntl.flock(lock, fcntl.LOCK_EX)
hub = FakeHub(places, Settings.load())
pid = hub.start("wk-1").pid
{body}
print(pid, *hub.text().split(), flush=True)
time.sleep(300)
"""
BUSY = "hub.bind('wk-1', sys.argv[1]); hub.run('wk-1', ()); hub.until(lambda: hub.text().count(chr(10)) == {lines})"


@contextmanager
def hub_process(
    home: Path, body: str, source: str = ""
) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    environment = os.environ | {
        "NBFN_HOME": str(home),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "NBFN_HUB_GRACE": "1",
        "NBFN_KILL_GRACE": "2",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    (home / "run").mkdir(mode=0o700, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", HUB.format(body=body), source],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, [int(word) for word in process.stdout.readline().split()]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def home() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="nbfn-", dir="/tmp"))
    yield path
    for used in (path, Places.of(path).shm):
        shutil.rmtree(used, ignore_errors=True)


@pytest.mark.parametrize("busy", [False, True])
def test_all_end_soon_after_the_hub_was_killed(home: Path, busy: bool) -> None:
    body = BUSY.format(lines=4) if busy else ""
    with hub_process(home, body, BROOD) as (process, pids):
        server = server_of(pids[0])
        process.kill()
        wait_for(lambda: all(gone(pid) for pid in [*pids, server]))


def test_a_worker_stuck_in_c_is_killed_when_no_hub_comes(home: Path) -> None:
    stuck = "import ctypes, time\ndef f():\n    print()\n    time.sleep(0.1)\n    ctypes.PyDLL(None).sleep(300)"
    with hub_process(home, BUSY.format(lines=1), stuck) as (process, pids):
        server = server_of(pids[0])
        process.kill()
        wait_for(lambda: all(gone(pid) for pid in [*pids, server]))


def test_hub_and_server_killed_at_one_stroke(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_process(home, BUSY.format(lines=4), BROOD) as (process, pids):
        server = server_of(pids[0])
        os.kill(process.pid, signal.SIGSTOP)  # so that it sees nothing of it
        os.kill(server, signal.SIGKILL)
        process.kill()
        wait_for(lambda: gone(pids[0]))
        monkeypatch.setenv("NBFN_HOME", str(home))
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
        LocalLauncher(Places.of(), Settings.load(), "ipc://nowhere").close()
        wait_for(lambda: all(gone(pid) for pid in pids))


def test_a_new_hub_finds_and_stops_workers_of_the_old_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub_process(home, "") as (process, pids):
        monkeypatch.setenv("NBFN_HOME", str(home))
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
        process.kill()
        process.wait()
        hub = FakeHub(Places.of(), Settings.load())
        hello = hub.until(lambda: hub.hellos[0] if hub.hellos else None)
        (ref,) = hub.launcher.list()
        assert (ref.worker, ref.pid) == ("wk-1", pids[0]) == (hello.peer, hello.pid)
        hub.launcher.stop(ref, 5)
        assert hub.report("wk-1", Exit).ordered
        wait_for(lambda: gone(pids[0]))
        hub.close()
