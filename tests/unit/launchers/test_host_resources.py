"""What this machine has, by what the operating system says."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from nbfn.hub.launchers import local, processes, procfs
from nbfn.hub.launchers.memory import MemoryUse


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        ("0,1", ("0", "1")),
        (" 3 , GPU-5f ", ("3", "GPU-5f")),
        ("", ()),
        ("-1", ()),
        ("2,-1,3", ("2",)),
    ],
)
def test_gpus_are_those_that_the_variable_shows(
    visible: str, found: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "nvidia0").touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local.machine_gpus(tmp_path) == found


def test_gpus_are_counted_by_their_device_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("nvidia10", "nvidia2", "nvidia0", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert local.machine_gpus(tmp_path) == ("0", "2", "10")


def test_memory_is_what_processes_here_may_have() -> None:
    assert 0 < local.machine_memory() <= psutil.virtual_memory().total


#: The beginning of each program: it holds as little as a process can.
HEAD = """
import mmap, os, signal, subprocess, sys
def hold(size):
    held = bytearray(size)
    held[:: mmap.PAGESIZE] = b"x" * len(held[:: mmap.PAGESIZE])
    return held
def pause():
    print("paused", flush=True)
    input()
pause()
"""


class Program:
    """A process to be measured; this one holds what all tests before left in it.

    Args:
        text: What it does after it has paused once; at the end it pauses as well.
    """

    def __init__(self, text: str) -> None:
        code = f"{HEAD}{textwrap.dedent(text)}\npause()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Program:
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        procfs.kill_group(self.pid)
        self._process.communicate()

    def go_on(self) -> None:
        """Have it run to where it pauses next."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._wait()

    def _wait(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "paused\n"


@pytest.mark.parametrize(
    "measure",
    [procfs.resident, processes.resident, processes.exclusive],
    ids=["procfs", "psutil", "psutil-exclusive"],
)
def test_what_a_process_holds_is_counted_with_all_that_it_started(
    measure: Callable[[int], int],
) -> None:
    text = """
        code = "held = bytearray(80 * 2**20); print('held', flush=True); input()"
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout.readline() == b"held\\n"
        """
    with Program(text) as parent:
        alone = psutil.Process(parent.pid).memory_info().rss
        parent.go_on()
        assert measure(parent.pid) > alone + 70 * 2**20
    assert measure(2**22 + 1) == 0


def test_what_processes_share_is_counted_once() -> None:
    size = 50 * 2**20
    text = f"""
        held = hold({size})
        for _ in range(3):
            if not os.fork():
                signal.pause()
        """
    with Program(text) as parent:
        before = procfs.proportional(parent.pid)
        parent.go_on()
        assert procfs.resident(parent.pid) > 4 * size
        assert size * 0.9 < procfs.proportional(parent.pid) - before < 2 * size
    assert procfs.proportional(2**22 + 1) == 0


def test_growth_is_noticed_at_once_though_exact_measurements_are_spaced() -> None:
    with Program("held = hold(50 * 2**20)") as process:
        use = MemoryUse(process.pid, procfs.resident, procfs.proportional)
        limit = procfs.proportional(process.pid) + 5 * 2**20
        assert procfs.resident(process.pid) > limit, "what is mapped of files counts as resident"
        assert not use.exceeds(limit)
        process.go_on()
        assert use.exceeds(limit)
        assert use.peak > limit
