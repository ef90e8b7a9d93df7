"""Mappings of segments: private, without descriptors, and no more than a process may have."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import psutil
import pytest

from nbfn.serialization import shared_memory
from nbfn.serialization.shared_memory import MAP_MIN, load_private


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "segment"
    path.write_bytes(os.urandom(MAP_MIN))
    return path


def descriptors(file: Path) -> int:
    """Return how many descriptors of a file this process has."""
    return sum(one.path == str(file.resolve()) for one in psutil.Process().open_files())


def test_a_mapping_is_private_and_keeps_no_descriptor(file: Path) -> None:
    content = file.read_bytes()
    memory = load_private(file, MAP_MIN, shared=True)
    assert isinstance(memory, mmap.mmap)
    assert descriptors(file) == 0
    with file.open():
        assert descriptors(file) == 1
    file.unlink()
    assert memory[:] == content
    memory[0] = (content[0] + 1) % 256
    assert memory[1:] == content[1:]


def test_what_is_small_is_read(file: Path) -> None:
    read = load_private(file, MAP_MIN - 1, shared=True)
    assert isinstance(read, bytearray)
    assert read == file.read_bytes()[:-1]


def test_no_more_than_a_number_are_mapped_at_a_time(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_memory, "MOST_MAPPED", len(shared_memory._mapped) + 2)
    loaded = [load_private(file, MAP_MIN, shared=False) for _ in range(4)]
    assert [type(one) for one in loaded] == [mmap.mmap, mmap.mmap, bytearray, bytearray]
    assert len({bytes(one[:]) for one in loaded}) == 1
    del loaded[0]
    assert isinstance(load_private(file, MAP_MIN, shared=False), mmap.mmap)


def test_while_little_memory_is_free_a_value_is_read(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = 4096
    for free, kind in ((blocks // 4, mmap.mmap), (blocks // 4 - 1, bytearray)):
        room = os.statvfs_result((4096, 4096, blocks, free, free, 0, 0, 0, 0, 255))
        monkeypatch.setattr(os, "fstatvfs", lambda _, room=room: room)
        assert type(load_private(file, MAP_MIN, shared=True)) is kind
        assert type(load_private(file, MAP_MIN, shared=False)) is mmap.mmap


def test_a_file_that_is_too_short_is_an_error(file: Path) -> None:
    os.truncate(file, MAP_MIN // 2)  # touching what is not there would end the process
    with pytest.raises(OSError, match="is shorter than"):
        load_private(file, MAP_MIN, shared=True)
