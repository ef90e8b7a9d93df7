"""Large arguments through the whole system: what workers keep stays right, and no memory is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import nbfn
from nbfn.config import Places
from tests.conftest import wait_until

app = nbfn.App()
ITEMS = 2**18  # 2 MiB


def segments() -> list[Path]:
    return list(Places.of().shm.iterdir())


@app.function(max_containers=1)
def keep_the_first(value: np.ndarray) -> tuple[int, int]:
    """Return the sums of this argument and of the first one ever."""
    import builtins

    first = builtins.__dict__.setdefault("kept_by_the_test", value)
    return int(value.sum()), int(first.sum())


@app.function(max_containers=1)
def size(value: np.ndarray) -> int:
    return value.nbytes


@app.function(max_containers=1)
def told_of_its_end(value: np.ndarray, path: Path, *, fail: bool) -> np.ndarray:
    weakref.finalize(value, path.touch)
    if fail:
        raise ValueError(value)
    return value


@pytest.mark.parametrize("fail", [False, True])
def test_an_idle_worker_has_let_go_of_its_last_argument(
    home: Path, tmp_path: Path, fail: bool
) -> None:
    with contextlib.suppress(ValueError):
        told_of_its_end.remote(np.ones(ITEMS), tmp_path / "ended", fail=fail)
    wait_until((tmp_path / "ended").exists)


def test_an_argument_that_a_worker_keeps_never_changes(home: Path) -> None:
    for number in range(1, 11):
        array = np.full(ITEMS, number)
        assert keep_the_first.remote(array) == (number * ITEMS, ITEMS)
    arrays = (np.full(ITEMS, number) for number in range(20))
    assert list(keep_the_first.map(arrays)) == [(n * ITEMS, ITEMS) for n in range(20)]


def test_the_memory_of_an_argument_is_used_again_and_freed_when_idle(home: Path) -> None:
    used = set()
    for _ in range(10):
        assert size.remote(np.ones(ITEMS)) == 8 * ITEMS
        wait_until(segments)
        used |= {path.stat().st_ino for path in segments()}
    assert len(used) < 5
    wait_until(lambda: not segments())  # with the client connected and nothing going on


@app.function(max_containers=1)
def yields_until_killed(count: int, gate: Path) -> Iterator[np.ndarray]:
    for number in range(count):
        yield np.full(ITEMS, number)
    while not gate.exists():
        time.sleep(0.01)
    time.sleep(0.3)  # the second attempt: most of its items have been sent then
    os.kill(os.getpid(), signal.SIGKILL)


def test_items_that_a_second_attempt_yields_again_are_freed(home: Path, tmp_path: Path) -> None:
    items = yields_until_killed.remote_gen(5, tmp_path / "gate")
    got = [int(next(items)[0]) for _ in range(5)]
    (tmp_path / "gate").touch()
    with pytest.raises(nbfn.exception.WorkerCrashed):
        next(items)
    assert got == [0, 1, 2, 3, 4]
    wait_until(lambda: not segments())  # with the client connected


def test_what_a_killed_client_had_kept_is_swept(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBFN_CLIENT_GRACE", "0.2")
    nbfn.Client.attach()
    script = """
        import time, numpy as np, nbfn
        app = nbfn.App()

        @app.function(max_containers=1)
        def size(array):
            return array.nbytes

        for _ in range(3):
            size.remote(np.ones(2**18))
        print("sent", flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "sent\n"
        wait_until(segments)
        other.send_signal(signal.SIGKILL)
    wait_until(lambda: not segments())
