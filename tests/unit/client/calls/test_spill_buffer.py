"""Results that nobody has taken: all there, in order, whatever of them is on disk."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import pytest

from nbfn.client.calls import result_collector
from nbfn.client.calls.result_collector import (
    OVERHEAD,
    PAGE_BYTES,
    PAGE_VALUES,
    MemoryBudget,
    SpillBuffer,
)


def filled(values: list[Any], room: MemoryBudget, folder: Path, each: int = 0) -> SpillBuffer[Any]:
    made: SpillBuffer[Any] = SpillBuffer(folder, room)
    for start in range(0, len(values), 100):
        some = values[start : start + 100]
        made.append(some, each * len(some))
        assert made.settle()
    return made


def read(values: SpillBuffer[Any], most: int = 77) -> list[Any]:
    found: list[Any] = []
    while page := values.page(len(found), most):
        found += page
    return found


def test_what_fits_stays_as_it_is(tmp_path: Path) -> None:
    things = [object() for _ in range(250)]
    values = filled(things, MemoryBudget(1000 * OVERHEAD), tmp_path)
    assert all(a is b for a, b in zip(read(values), things, strict=True))


def test_what_is_too_much_goes_to_a_file_and_comes_back_in_order(tmp_path: Path) -> None:
    room = MemoryBudget(1000 * OVERHEAD)
    values = filled(list(range(5 * PAGE_VALUES)), room, tmp_path)
    assert len(values) == 5 * PAGE_VALUES
    assert read(values) == read(values, 5000) == list(range(5 * PAGE_VALUES))
    assert values.page(1500, 1) == [1500]
    assert values.page(len(values), 5) == []
    assert room.taken <= room.size
    assert list(tmp_path.iterdir()) == []  # it has no name that could be left behind


def test_memory_is_shared_and_given_back(tmp_path: Path) -> None:
    room = MemoryBudget(1000 * OVERHEAD)
    first = filled(list(range(900)), room, tmp_path)
    second = filled(list(range(900)), room, tmp_path)
    assert room.taken == 1000 * OVERHEAD
    assert read(first) == read(second) == list(range(900))
    del first, second
    gc.collect()
    assert room.taken == 0


def test_large_values_are_written_a_megabyte_at_a_time(tmp_path: Path) -> None:
    values = filled([bytes(100_000)] * 50, MemoryBudget(0), tmp_path, each=100_000)
    assert [len(value) for value in read(values)] == [100_000] * 50
    assert len(values._pages) > 3
    assert len(values._last) * 100_000 < PAGE_BYTES


def test_values_are_put_in_the_place_of_others_wherever_they_are(tmp_path: Path) -> None:
    values = filled(list(range(3000)), MemoryBudget(500 * OVERHEAD), tmp_path)
    places = (3, 700, len(values) - 1)
    for place in places:
        values.put(place, -1)
    assert [n for n, value in enumerate(read(values)) if value == -1] == list(places)
    values.append(list(range(3000, 5000)), 0)
    assert values.settle()
    assert read(values)[2999:3002] == [-1, 3000, 3001]


def test_exceptions_keep_their_tracebacks_and_what_cannot_be_pickled_is_kept(
    tmp_path: Path,
) -> None:
    try:
        raise ValueError("seen")
    except ValueError as caught:
        error = caught
    lock = threading.Lock()
    things: list[Any] = [*range(500), error, lock, *range(1000)]
    found = read(filled(things, MemoryBudget(0), tmp_path))
    assert found[500] is error
    assert error.__traceback__ is not None
    assert found[501] is lock
    assert found[:500] + found[502:] == [*range(500), *range(1000)]


def test_a_full_disk_takes_nothing_until_it_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: SpillBuffer[int] = SpillBuffer(tmp_path, MemoryBudget(0))
    monkeypatch.setattr(result_collector, "SPARE", 1 << 60)
    values.append(list(range(PAGE_VALUES)), 0)
    assert not values.settle()
    assert read(values) == list(range(PAGE_VALUES))
    monkeypatch.setattr(result_collector, "SPARE", 0)
    assert values.settle()
    assert read(values) == list(range(PAGE_VALUES))
    assert values._last == []
