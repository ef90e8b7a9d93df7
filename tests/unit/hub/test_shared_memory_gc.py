"""Whose shared memory is freed when, without processes."""

from __future__ import annotations

import os
from pathlib import Path

from nbfn.hub import shared_memory_gc
from nbfn.hub.shared_memory_gc import SharedMemoryGC
from nbfn.protocol.messages import Payload, Segment


def made(directory: Path, name: str) -> Payload:
    (directory / name).write_bytes(b"x")
    return Payload(b"", (Segment("shm", name, 1),))


def left(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_what_a_dead_worker_never_told_of_is_freed(tmp_path: Path) -> None:
    gc = SharedMemoryGC(tmp_path)
    gc.worker_joined("wk-1")
    gc.received("wk-1", [None, made(tmp_path, "wk-1.0")])
    for name in ("wk-1.1", "wk-2.0", "cl-1.0"):
        made(tmp_path, name)
    gc.worker_ended("wk-1")
    gc.worker_ended("wk-3")
    assert left(tmp_path) == {"wk-1.0", "wk-2.0", "cl-1.0"}
    gc.client_gone("cl-1")
    gc.client_gone("..")
    assert left(tmp_path) == {"wk-1.0", "wk-2.0"}


def test_what_was_there_before_this_hub_may_be_somebody_s(tmp_path: Path) -> None:
    made(tmp_path, "wk-1.0")
    gc = SharedMemoryGC(tmp_path)
    gc.worker_joined("wk-1")
    gc.worker_joined("wk-1")
    made(tmp_path, "wk-1.1")
    gc.worker_ended("wk-1")
    assert left(tmp_path) == {"wk-1.0"}


def test_when_nobody_is_left_all_goes_but_what_a_client_may_still_bring(tmp_path: Path) -> None:
    for name in ("wk-1.0", "wk-2.0", "cl-1.0", "cl-2.0"):
        made(tmp_path, name)
    os.utime(tmp_path / "cl-2.0", (1.0, 1.0))
    SharedMemoryGC(tmp_path).sweep({"wk-2"})
    assert left(tmp_path) == {"wk-2.0", "cl-1.0"}


def test_the_account_does_not_grow_with_what_is_freed(tmp_path: Path) -> None:
    gc = SharedMemoryGC(tmp_path)
    for n in range(5 * shared_memory_gc.MAX_TRACKED):
        gc.received("wk-1", [Payload(b"", (Segment("shm", f"wk-1.{n}", 1),))])
    assert len(gc._received["wk-1"]) <= shared_memory_gc.MAX_TRACKED


def test_what_was_spilled_to_the_disk_is_freed_as_well(tmp_path: Path) -> None:
    memory, disk = tmp_path / "shm", tmp_path / "spill"
    for directory in (memory, disk):
        directory.mkdir()
    gc = SharedMemoryGC(memory, disk)
    gc.worker_joined("wk-1")
    gc.received("wk-1", [made(disk, "wk-1.0")])
    made(memory, "wk-1.1")
    made(disk, "wk-1.2")
    gc.worker_ended("wk-1")
    assert (left(memory), left(disk)) == (set(), {"wk-1.0"})
    made(disk, "cl-1.0")
    gc.client_gone("cl-1")
    assert left(disk) == {"wk-1.0"}
    gc.sweep(set())
    assert left(disk) == set()
