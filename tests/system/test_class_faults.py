"""Classes and variants when the hub is restarted (docs/guarantees.md, P1, P2)."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbfn
from nbfn.client.client import Client
from nbfn.client.discovery import is_running, read_connection_file
from nbfn.config import Places
from tests.conftest import stop_hub, wait_until

app = nbfn.App("objects")


@app.cls(max_containers=1)
class Slow:
    name: str = nbfn.parameter(default="")
    path: str = nbfn.parameter(default="")

    @nbfn.method()
    def take(self, mark: Path, seconds: float) -> tuple[str, int]:
        mark.touch()
        time.sleep(seconds)
        return self.name, os.getpid()

    @nbfn.exit()
    def leave(self) -> None:
        if self.path:
            time.sleep(0.3)
            Path(self.path).write_text("left")


def kill_hub() -> None:
    os.kill(int(str(read_connection_file(Places.of())["pid"])), signal.SIGKILL)
    wait_until(lambda: not is_running(Places.of()))


def test_a_spawned_method_survives_the_hub_and_keeps_its_parameters(
    home: Path, tmp_path: Path
) -> None:
    slow = Slow(name="kept")
    first = slow.take.spawn(tmp_path / "begun", 1.0)
    second = Slow.with_options(timeout=50)(name="other").take.spawn(tmp_path / "other", 0.0)
    wait_until((tmp_path / "begun").exists)
    kill_hub()
    assert first.get(timeout=30)[0] == "kept"
    assert second.get(timeout=30)[0] == "other"


def test_an_object_is_the_same_after_a_restart(home: Path, tmp_path: Path) -> None:
    app.deploy()
    slow = nbfn.Cls.from_name("objects", "Slow")(name="same")
    slow.take.remote(tmp_path / "m", 0.0)
    slow.update_autoscaler(max_containers=3)
    before = slow.take.object_id
    kill_hub()
    assert slow.take.remote(tmp_path / "m", 0.0)[0] == "same"
    assert slow.take.object_id == before
    row = next(one for one in Client.attach().overview().functions if one.id == before)
    assert (row.name, row.max_containers) == ("Slow(name='same')", 3)


def test_a_hub_that_has_forgotten_a_class_is_told_again_of_it_and_of_its_object(
    home: Path, tmp_path: Path
) -> None:
    private = nbfn.App()  # what was deployed is not deployed again by a call
    slow = private.cls(max_containers=1)(Slow._raw)
    begun = tmp_path / "begun"
    with ThreadPoolExecutor(1) as threads:
        result = threads.submit(slow(name="again").take.remote, begun, 2.0)
        wait_until(begun.exists)
        for path in home.glob("nbfn.db*"):  # before the next hub can open it
            path.unlink()
        kill_hub()
        assert result.result(30)[0] == "again"


def test_exit_hooks_run_when_the_hub_is_stopped(home: Path, tmp_path: Path) -> None:
    Slow(path=str(tmp_path / "left")).take.remote(tmp_path / "m", 0.0)
    stop_hub(Places.of())
    wait_until((tmp_path / "left").exists)
