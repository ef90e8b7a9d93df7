"""Tests that the hub starts and stops automatically, and that calls survive when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import nbfn
from nbfn import cli
from nbfn.client import client, discovery
from nbfn.client.client import Client
from nbfn.client.discovery import is_running, read_connection_file
from nbfn.config import Places
from nbfn.protocol import messages
from nbfn.serialization import segment_directory
from tests.conftest import a_home, wait_until

app = nbfn.App()


@app.function()
def square(x: int) -> int:
    return x * x


@app.function()
def size(data: bytes) -> int:
    return len(data)


@app.function()
def wait_for(path: Path) -> str:
    while not (path.exists() and path.read_text()):
        time.sleep(0.005)
    return path.read_text()


def hub_pid() -> int:
    return int(str(read_connection_file(Places.of())["pid"]))


def kill_hub() -> None:
    os.kill(hub_pid(), signal.SIGKILL)
    wait_until(lambda: not is_running(Places.of()))


def test_the_first_call_starts_it_and_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["hub", "status"]) == 1
    assert square.remote(3) == 9
    assert cli.main(["hub", "status"]) == 0
    said = capsys.readouterr().out
    assert f"pid {hub_pid()}" in said
    assert "square v1" in said


def test_two_that_start_one_at_the_same_time_end_with_one(home: Path) -> None:
    code = "import nbfn; print(nbfn.Client.attach().overview().hub.pid)"
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    pids = {process.communicate(timeout=60)[0] for process in both}
    assert pids == {f"{hub_pid()}\n"}


def test_one_that_comes_too_late_is_not_left_behind(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[subprocess.Popen[bytes]] = []
    start = discovery.start

    def start_slowly(places: Places) -> subprocess.Popen[bytes]:
        late.append(process := start(places))
        process.send_signal(signal.SIGSTOP)
        return process

    monkeypatch.setattr(discovery, "start", start_slowly)
    mine = Client()
    with ThreadPoolExecutor() as pool:
        seen = pool.submit(mine.overview)
        wait_until(lambda: late)
        subprocess.run([sys.executable, "-c", "import nbfn; nbfn.Client.attach()"], check=True)
        assert seen.result(20).hub.pid != late[0].pid
    assert cli.main(["hub", "stop"]) == 0
    late[0].send_signal(signal.SIGCONT)
    assert late[0].wait(10) == -signal.SIGTERM
    mine.close()


PROGRAM = """
import nbfn
app = nbfn.App()
@app.function()
def double(x):
    return 2 * x
print(double.remote(21))
"""


@pytest.mark.parametrize(
    "setting", [{"PYTHONWARNINGS": "error"}, {"TMPDIR": "long"}, {"TMPDIR": "/no/such/place"}]
)
def test_it_starts_in_odd_surroundings(home: Path, tmp_path: Path, setting: dict[str, str]) -> None:
    long = tmp_path / ("long" * 30)
    long.mkdir()
    added = {name: value.replace("long", str(long)) for name, value in setting.items()}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={k: v for k, v in os.environ.items() if k != "XDG_RUNTIME_DIR"} | added,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout == "42\n", ran.stderr


def test_a_program_whose_directory_was_deleted_may_call(home: Path, tmp_path: Path) -> None:
    script = f"import os\nos.chdir({str(tmp_path)!r})\nos.rmdir({str(tmp_path)!r})\n{PROGRAM}"
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout == "42\n", ran.stderr


def test_a_home_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NBFN_HOME", str(tmp_path / "file"))
    with pytest.raises(nbfn.exception.InvalidError, match=r"Cannot make .*file: .* Set NBFN_HOME"):
        Client()


def test_after_a_kill_the_next_call_starts_another() -> None:
    assert square.remote(2) == 4
    kill_hub()
    assert square.remote(3) == 9


def test_a_call_after_a_restart_does_not_deploy_an_older_version_again() -> None:
    def deployed(number: int) -> nbfn.Function[[], int]:
        shared = nbfn.App("shared")

        @shared.function()
        def which() -> int:
            return number

        shared.deploy()
        return which

    old, new = deployed(1), deployed(2)
    kill_hub()
    assert square.remote(2) == 4  # on the next hub
    assert old.remote() == 1
    assert nbfn.Function.from_name("shared", "which").remote() == 2
    assert (old.remote(), new.remote()) == (1, 2)


def test_a_call_under_way_survives_a_kill(tmp_path: Path) -> None:
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(wait_for.remote(tmp_path / "go")))
    thread.start()
    wait_until(
        lambda: wait_for.is_hydrated and wait_for.get_current_stats().num_running_inputs == 1
    )
    kill_hub()
    (tmp_path / "go").write_text("here")
    thread.join(20)
    assert results == ["here"]


def test_a_map_under_way_survives_a_kill() -> None:
    results = square.map(range(20_000))
    got = [next(results) for _ in range(500)]
    kill_hub()
    got += list(results)
    assert got == [i * i for i in range(20_000)]


def test_nothing_is_started_for_who_does_not_want_it(home: Path) -> None:
    started = time.monotonic()
    watcher = Client(start=False)
    with pytest.raises(nbfn.exception.ConnectionError, match="Start one with 'nbfn hub start'"):
        watcher.overview()
    assert time.monotonic() - started < 2
    watcher.close()


def test_a_hub_that_never_answers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBFN_CONNECT_TIMEOUT", "0.3")
    lost = Client(f"ipc://{home}/nobody.sock")
    with pytest.raises(
        nbfn.exception.ConnectionError, match=r"No nbfn hub at ipc://.*nobody.sock \(waited 0 s\)"
    ):
        lost.overview()
    lost.close()


@pytest.mark.parametrize(
    ("later", "todo"), [(1, "Upgrade nbfn at the hub and end it"), (-1, "Upgrade nbfn here")]
)
def test_one_of_another_protocol_is_told_what_to_do_and_harms_nobody(
    monkeypatch: pytest.MonkeyPatch, later: int, todo: str
) -> None:
    assert square.remote(3) == 9
    theirs = messages.PROTOCOL
    monkeypatch.setattr(messages, "PROTOCOL", theirs + later)
    other = Client(start=False)
    with pytest.raises(
        nbfn.exception.VersionError,
        match=rf"Protocol {theirs + later} here, {theirs} at the hub \(nbfn .*\)\. {todo}",
    ):
        other.overview()
    other.close()
    assert square.remote(4) == 16


def test_a_hub_of_another_protocol_can_be_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert square.remote(3) == 9
    with monkeypatch.context() as upgraded:
        upgraded.setattr(messages, "PROTOCOL", messages.PROTOCOL + 1)
        assert cli.main(["hub", "status"]) == 1
        assert "nbfn hub stop" in capsys.readouterr().err
        assert cli.main(["hub", "stop"]) == 0
    assert not is_running(Places.of())
    assert square.remote(4) == 16  # and the next call starts another


def test_stop(capsys: pytest.CaptureFixture[str]) -> None:
    assert square.remote(2) == 4
    assert cli.main(["hub", "stop"]) == 0
    assert not is_running(Places.of())
    assert cli.main(["hub", "stop"]) == 0  # there is none: nothing to do
    assert "No hub runs" in capsys.readouterr().out
    assert square.remote(2) == 4  # and back again


def are_gone(places: Places) -> bool:
    """Whether a hub has ended and left nothing in shared memory and temporary directories."""
    there = places.shm.exists() or places.runtime.exists()
    return not there and not is_running(places)


def test_its_directories_are_removed_when_it_ends_and_made_again_for_a_client_that_is_still_there(
    home: Path,
) -> None:
    assert square.remote(2) == 4
    for _ in range(2):
        assert cli.main(["hub", "stop"]) == 0
        wait_until(lambda: are_gone(Places.of()))
        assert size.remote(bytes(2_000_000)) == 2_000_000
        client.Client.attach().close()  # it may keep that memory for another value


def test_they_are_removed_when_it_ends_by_itself(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBFN_IDLE_EXIT", "0.5")
    monkeypatch.setenv("NBFN_CLIENT_GRACE", "0.5")
    assert size.remote(bytes(2_000_000)) == 2_000_000
    client.Client.attach().close()
    wait_until(lambda: are_gone(Places.of()), within=30)


def test_those_of_a_killed_hub_are_removed_when_the_next_one_ends(home: Path) -> None:
    assert square.remote(2) == 4
    kill_hub()
    assert Places.of().shm.exists()
    assert size.remote(bytes(2_000_000)) == 2_000_000
    client.Client.attach().close()
    assert cli.main(["hub", "stop"]) == 0
    wait_until(lambda: are_gone(Places.of()))


def test_a_hub_removes_what_killed_hubs_of_other_homes_left_but_nothing_that_is_in_use(
    home: Path,
) -> None:
    long_ago = time.time() - 2 * segment_directory.ABANDONED
    with a_home() as other:
        assert square.remote(2) == 4
        living = Places.of(other)
        os.utime(living.shm, (long_ago, long_ago))
        killed, recent = (Places.of(other / name).create() for name in ("killed", "recent"))
        (killed.shm / "cl-1.0").write_bytes(b"left")
        os.utime(killed.shm, (long_ago, long_ago))
        code = "import nbfn; nbfn.Client.attach().overview()"
        environment = os.environ | {"NBFN_HOME": str(home)}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
        assert not killed.shm.exists()
        assert living.shm.exists()
        assert recent.shm.exists()
        for places in (killed, recent):
            segment_directory.remove_if_unused(places.shm)
            places.runtime.rmdir()


def test_watching(home: Path) -> None:
    changes: list[messages.OverviewChanges] = []
    lost = threading.Event()
    watcher = Client()
    watcher.watch(changes.append)
    watcher.on_lost(lost.set)
    assert watcher.overview().functions == ()
    assert square.remote(3) == 9
    wait_until(lambda: any(row.name == "square" for each in changes for row in each.functions))
    kill_hub()
    assert lost.wait(5)
    before = len(changes)
    assert square.remote(4) == 16
    wait_until(lambda: any(each.complete for each in changes[before:]))
    watcher.close()


def test_a_forked_child_has_a_client_of_its_own() -> None:
    assert square.remote(2) == 4
    mine = client.current()
    pid = os.fork()
    if pid == 0:
        try:
            assert client.current() is None
            os._exit(square.remote(3))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert client.current() is mine
    assert square.remote(3) == 9
