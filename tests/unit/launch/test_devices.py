"""What this machine has, by what the operating system says."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from nbfn.launch import devices, processes
from nbfn.launch.memory import MemoryUse


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
    assert devices.gpus(tmp_path) == found


def test_gpus_are_counted_by_their_device_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("nvidia10", "nvidia2", "nvidia0", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert devices.gpus(tmp_path) == ("0", "2", "10")


def test_memory_is_what_processes_here_may_have() -> None:
    assert 0 < devices.memory() <= psutil.virtual_memory().total


def test_what_a_process_holds_is_counted_with_all_that_it_started() -> None:
    alone = psutil.Process().memory_info().rss
    code = "held = bytearray(80 * 2**20); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert processes.resident(os.getpid()) > alone + 70 * 2**20
        child.communicate("\n")
    assert processes.resident(2**22 + 1) == 0


def test_what_processes_share_is_counted_once() -> None:
    before = processes.proportional(os.getpid())
    held = bytearray(50 * 2**20)
    held[:: mmap.PAGESIZE] = b"x" * len(held[:: mmap.PAGESIZE])
    children = []
    for _ in range(3):
        if not (child := os.fork()):
            signal.pause()
        children.append(child)
    try:
        assert processes.resident(os.getpid()) > 4 * len(held)
        assert len(held) * 0.9 < processes.proportional(os.getpid()) - before < 2 * len(held)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert processes.proportional(2**22 + 1) == 0


def test_growth_is_noticed_at_once_though_exact_measurements_are_spaced() -> None:
    use = MemoryUse(os.getpid())
    limit = processes.proportional(os.getpid()) + 5 * 2**20
    assert processes.resident(os.getpid()) > limit, "what is mapped of files counts as resident"
    assert not use.exceeds(limit)
    held = bytearray(50 * 2**20)
    held[:: mmap.PAGESIZE] = b"x" * len(held[:: mmap.PAGESIZE])
    assert use.exceeds(limit)
    assert use.peak > limit
