"""What is particular to forked workers: what is told of a crash, what is inherited, what it costs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbfn.hub.launchers import procfs
from nbfn.hub.launchers.base import Exit, Started, WorkerSpec
from tests.unit.kernel.fake_hub import FakeHub, fake_hub


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    with pytest.MonkeyPatch.context() as monkeypatch, fake_hub(monkeypatch) as hub:
        yield hub


def test_the_server_is_safe_to_fork(hub: FakeHub) -> None:
    worker = hub.start("wk-a").pid
    server = procfs.processes()[worker].parent
    assert len(list(Path(f"/proc/{server}/task").iterdir())) == 1
    assert procfs.processes()[server].name == procfs.FORK_SERVER


def test_a_crash_is_told_with_lease_memory_and_last_words(hub: FakeHub) -> None:
    hub.start("wk-b")
    hub.bind(
        "wk-b", "import ctypes\ndef f():\n    big = bytearray(80 * 2**20)\n    ctypes.string_at(0)"
    )
    (entry,) = hub.run("wk-b", ())
    report = hub.report("wk-b", Exit)
    assert report.running_lease == entry.lease
    assert (report.memory_peak or 0) > 80 * 2**20
    assert "Segmentation fault" in report.stderr_tail
    assert report.stderr_tail.endswith("in f")


def test_a_worker_that_dies_idle_ran_nothing(hub: FakeHub) -> None:
    pid = hub.start("wk-c").pid
    hub.bind("wk-c", "def f(): return 1")
    assert hub.call("wk-c") == 1
    os.kill(pid, 9)
    assert hub.report("wk-c", Exit).running_lease == 0


def test_a_worker_has_only_its_own_descriptors(hub: FakeHub) -> None:
    pid = hub.start("wk-d").pid
    links = [str(Path(f"/proc/{pid}/fd/{n}").readlink()) for n in range(3)]
    assert links == ["/dev/null", *(str(hub.places.logs / f"wk-d.{end}") for end in ("out", "err"))]
    server = procfs.processes()[pid].parent
    ours, theirs = (set(map(Path.readlink, Path(f"/proc/{p}/fd").iterdir())) for p in (server, pid))
    assert not [link for link in ours & theirs if str(link).startswith(("socket:", "pipe:"))]
    assert os.getpgid(pid) == os.getsid(pid) == pid


def test_an_idle_worker_is_small(hub: FakeHub) -> None:
    pid = hub.start("wk-e").pid
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (pss,) = (int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    assert pss < 25 * 1024


def test_logs_of_good_ends_are_removed(hub: FakeHub) -> None:
    hub.start("wk-f")
    (ref,) = (r for r in hub.launcher.list() if r.worker == "wk-f")
    hub.launcher.stop(ref, 5)
    hub.report("wk-f", Exit)
    assert not list(hub.places.logs.glob("wk-f.*"))


def test_many_at_once(hub: FakeHub) -> None:
    names = [f"wk-m{n}" for n in range(20)]
    for name in names:
        hub.launcher.submit(WorkerSpec(name, hub.hellos[0].executable))
    hub.until(lambda: {h.peer for h in hub.hellos} >= set(names))
    assert len({r.pid for r in hub.reports if isinstance(r, Started)}) >= 20


def test_the_lock_is_seen_without_being_touched(tmp_path: Path) -> None:
    import fcntl

    path = tmp_path / "lock"
    assert not procfs.is_locked(path)
    with path.open("w") as file:
        assert not procfs.is_locked(path)
        fcntl.flock(file, fcntl.LOCK_EX)
        assert procfs.is_locked(path)
    assert not procfs.is_locked(path)
