"""A disk that is full, read-only or broken: refused with numbers, nothing accepted is lost, and it recovers
without help (docs/guarantees.md, P9, F27).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import nbfn
from nbfn.client.client import Client
from nbfn.client.discovery import is_running, read_connection_file
from nbfn.config import Places
from nbfn.exception import ConnectionError, ResourceExhaustedError
from tests.conftest import stop_hub, wait_until

app = nbfn.App()
MIB = 2**20


@app.function(max_containers=2)
def size_after(gate: Path | None, data: bytes) -> int:
    while gate is not None and not gate.exists():
        time.sleep(0.01)
    return len(data)


@app.function()
def same(number: int) -> int:
    print("ran", number)
    return number


def hub_pid() -> int:
    return int(str(read_connection_file(Places.of())["pid"]))


def free() -> int:
    disk = os.statvfs(Places.of().home)
    return disk.f_bavail * disk.f_frsize


@contextlib.contextmanager
def filled() -> Iterator[Path]:
    """Have another program's file take up all the room of the home's disk."""
    path = Places.of().home / "another program's"
    with path.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(MIB))
            file.flush()
    fill(path)
    yield path
    path.unlink()


def fill(path: Path) -> None:
    """Have the file take up what has become free."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        while True:
            os.write(descriptor, bytes(4096))
    except OSError:
        pass
    finally:
        os.close(descriptor)


def refusal(action: Callable[[], object]) -> str:
    """Do something until it is refused for lack of room; return what is said."""
    for _ in range(100):
        try:
            action()
        except ResourceExhaustedError as error:
            return str(error)
    raise AssertionError("it was never refused")


def stops_within(seconds: float) -> None:
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "nbfn", "hub", "stop"], check=True, timeout=30)
    wait_until(lambda: not is_running(Places.of()), within=seconds)
    assert time.monotonic() - begun < seconds


@pytest.fixture
def small(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home on a file system of 64 MB, of which 8 MB are kept in reserve."""
    monkeypatch.setenv("NBFN_DISK_RESERVE", "8")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "nbfn-test", str(home)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a file system takes root")
    try:
        yield home
    finally:
        stop_hub(Places.of())
        subprocess.run(["umount", "-l", str(home)], check=True)


def test_f27_a_burst_is_refused_with_numbers_and_all_that_was_accepted_comes_out(
    small: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    accepted: list[nbfn.FunctionCall[int]] = []
    refused: list[Exception] = []

    async def spawn() -> None:
        try:
            accepted.append(await size_after.spawn.aio(gate, b"x" * 60_000))
        except Exception as error:
            refused.append(error)

    async def burst() -> None:
        async with asyncio.timeout(60):
            await asyncio.gather(*(spawn() for _ in range(1500)))

    asyncio.run(burst())
    assert {type(error) for error in refused} == {ResourceExhaustedError}
    said = str(refused[0])
    assert f"MB are free on the disk of {small}" in said
    assert "the last 8 MB are reserved for accepted calls" in said
    assert "0.1 MB are needed" in said
    assert free() > 4 * MIB, "the reserve was kept"
    gate.touch()
    assert [call.get(timeout=60) for call in accepted] == [60_000] * len(accepted)
    assert len(accepted) > 300
    wait_until(lambda: _spawns())  # what has ended leaves room in the database
    stops_within(10)


def _spawns() -> bool:
    try:
        return size_after.spawn(None, b"x").get(timeout=20) == 1
    except ResourceExhaustedError:
        return False


def test_f27_what_runs_is_recorded_though_another_program_fills_the_disk(
    small: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    calls = [size_after.spawn(gate, b"x" * 100) for _ in range(20)]
    wait_until(lambda: (small / "ballast").exists())
    pid = hub_pid()
    with filled():
        text = refusal(lambda: size_after.spawn(gate, b"x"))
        assert re.search(r"(\b[0-2](\.\d)? MB|\d k?B) are free", text), "the ballast has 2"
        gate.touch()
        assert [call.get(timeout=30) for call in calls] == [100] * 20
        assert same.remote(5) == 5
    wait_until(_spawns)
    wait_until(lambda: same.spawn(1).get(timeout=20) and (small / "ballast").exists())
    assert hub_pid() == pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(Places.of()))
    stored = [nbfn.FunctionCall.from_id(call.object_id) for call in calls]
    assert [call.get(timeout=30) for call in stored] == [100] * 20


def test_f27_without_any_room_every_wait_ends_and_the_hub_can_be_stopped(
    small: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    call = size_after.spawn(gate, b"x" * 100)
    assert same.remote(1) == 1
    wait_until(lambda: (small / "ballast").exists())
    (small / "ballast").unlink()
    with filled():
        begun = time.monotonic()
        # The database's log has some room of its own.
        stored: list[str] = []

        def store() -> None:
            nbfn.Secret.objects.create(name := f"s{len(stored)}", {"A": "x" * 100_000})
            stored.append(name)

        text = refusal(store)
        assert re.search(r"not on disk yet.* [kM]?B are free", text)
        with pytest.raises(ResourceExhaustedError, match="cannot be written now"):
            size_after.spawn(None, b"x" * 60_000)
        assert time.monotonic() - begun < 30
        assert same.remote(2) == 2, "what needs no disk goes on"
        gate.touch()
        assert call.get(timeout=30) == 100
        stops_within(15)
    assert call.get(timeout=30) == 100
    assert same.spawn(3).get(timeout=30) == 3
    assert {secret.name for secret in nbfn.Secret.objects.list()} == set(stored)


def test_f27_a_hub_starts_and_goes_on_when_the_disk_is_full(small: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    call = size_after.spawn(gate, b"x" * 100)
    wait_until(lambda: (small / "ballast").exists())
    with filled():
        os.kill(hub_pid(), signal.SIGKILL)
        gate.touch()
        assert call.get(timeout=30) == 100
        assert same.remote(4) == 4


def test_errors_of_the_disk_are_refused_and_pass(home: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    call = size_after.spawn(gate, b"x" * 100)
    assert same.remote(1) == 1
    pid = hub_pid()
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))  # then writes fail with EFBIG
    try:
        text = refusal(lambda: size_after.spawn(gate, b"x" * 60_000))
        assert re.search("disk I/O error|disk is full", text)
        assert same.remote(2) == 2
        gate.touch()
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    assert call.get(timeout=30) == 100
    wait_until(_spawns)
    assert hub_pid() == pid


def test_a_hub_in_the_foreground_ends_at_ctrl_c_while_it_cannot_write(
    small: Path, tmp_path: Path
) -> None:
    hub = subprocess.Popen([sys.executable, "-m", "nbfn", "hub", "start"], stderr=subprocess.PIPE)
    wait_until(lambda: read_connection_file(Places.of()))
    assert same.remote(1) == 1
    resource.prlimit(hub_pid(), resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    refusal(lambda: size_after.spawn(None, b"x" * 60_000))
    hub.send_signal(signal.SIGINT)
    assert hub.wait(15) == 0
    assert hub.stderr is not None
    hub.stderr.close()


def test_a_home_that_is_read_only_is_told_in_a_sentence(small: Path) -> None:
    assert same.spawn(1).get(timeout=30) == 1
    stop_hub(Places.of())
    remount = ["mount", "-o", "remount,ro", str(small)]  # fails while a log is open
    wait_until(lambda: not subprocess.run(remount, check=False, capture_output=True).returncode)
    try:
        with pytest.raises(ConnectionError, match="Read-only file system") as refused:
            same.spawn(2)
        assert "Traceback" not in str(refused.value)
        started = subprocess.run(
            [sys.executable, "-m", "nbfn", "hub", "start"],
            check=False, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert started.returncode == 1
        assert "Read-only file system" in started.stderr
        assert "Traceback" not in started.stderr
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(small)], check=True)
    assert same.spawn(3).get(timeout=30) == 3


def test_logs_are_kept_again_when_there_is_room_again(small: Path) -> None:
    def kept(number: int) -> bool:
        return any(f"ran {number}" in line.message for line in same.logs.tail(1000))

    assert same.remote(1) == 1
    wait_until(lambda: kept(1))
    with filled():
        for number in range(100, 120):
            assert same.remote(number) == number
        same.for_each(range(1000, 3000))
    assert same.remote(500) == 500
    wait_until(lambda: kept(500))


def test_large_arguments_are_refused_before_they_use_up_the_reserve(
    small: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    accepted: list[nbfn.FunctionCall[int]] = []

    def spawn() -> None:
        accepted.append(size_after.spawn(gate, b"x" * 2 * MIB))

    text = refusal(spawn)
    assert re.search(r"No room for a value of 2 MB: free are .* in .*blobs \(8 MB", text)
    assert free() >= 8 * MIB
    assert 15 < len(accepted) < 32
    gate.touch()
    assert {call.get(timeout=60) for call in accepted} == {2 * MIB}
    wait_until(lambda: free() > 40 * MIB)
    assert size_after.spawn(gate, b"x" * 2 * MIB).get(timeout=30) == 2 * MIB


def test_a_call_of_many_inputs_for_which_there_is_no_room_is_refused_whole(
    small: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    before = size_after.spawn(gate, b"x")
    with pytest.raises(ResourceExhaustedError, match=r"MB are free on the disk of .* are needed"):
        size_after.spawn_map([gate] * 2000, (b"x" * 60_000 for _ in range(2000)))
    assert same.remote(1) == 1
    gate.touch()
    assert before.get(timeout=30) == 1
    wait_until(lambda: not [c for c in Client.attach().overview().calls if not c.ended])
    wait_until(_spawns)


def test_deployments_are_refused_or_last(small: Path) -> None:
    names: list[str] = []

    def deploy() -> None:
        large = nbfn.App(name := f"large-{len(names)}")
        large.function(serialized=True, name="one")(lambda ballast=bytes(100_000): len(ballast))
        large.deploy()
        names.append(name)

    deploy()
    wait_until(lambda: (small / "ballast").exists())
    (small / "ballast").unlink()
    with filled():
        assert "not on disk yet" in refusal(deploy)
        assert nbfn.Function.from_name("large-0", "one").remote() == 100_000
        os.kill(hub_pid(), signal.SIGKILL)
        wait_until(lambda: not is_running(Places.of()))
    for name in names:
        assert nbfn.Function.from_name(name, "one").remote() == 100_000
