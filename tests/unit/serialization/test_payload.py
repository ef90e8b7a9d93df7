"""Values to payloads and back: small ones inside the message, large parts beside it, nothing left behind."""

from __future__ import annotations

import errno
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

from nbfn.config import Places
from nbfn.exception import DeserializationError, ResourceExhaustedError, SerializationError
from nbfn.protocol.messages import Payload, Segment
from nbfn.serialization import shared_memory
from nbfn.serialization.payload import SEGMENT_MIN, Serializer


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "home", tmp_path / "run", tmp_path / "shm").create()


@pytest.fixture
def serializer(places: Places) -> Serializer:
    return Serializer(places, "cl-test")


def files(path: Path) -> list[str]:
    return sorted(found.name for found in path.iterdir())


@pytest.mark.parametrize(
    "value", [None, 7, "é", b"\0", [1, {"a": (2, 3)}], lambda: 3, np.arange(10), {1, 2}]
)
def test_small_values_travel_inside_the_message(
    serializer: Serializer, places: Places, value: object
) -> None:
    payload = serializer.dump(value)
    back = serializer.load(payload)
    assert not payload.segments
    assert not files(places.shm)
    if callable(value):
        assert back() == 3
    else:
        assert np.array_equal(back, value) if isinstance(value, np.ndarray) else back == value


def test_a_large_array_travels_as_a_file_and_may_be_changed_by_its_receiver(
    serializer: Serializer, places: Places
) -> None:
    array = np.arange(SEGMENT_MIN, dtype=np.int64)
    payload = serializer.dump({"array": array, "name": "x"})
    assert len(payload.data) < 1000
    assert [segment.size for segment in payload.segments] == [array.nbytes]
    back = serializer.load(payload)["array"]
    back[0] = -1  # its own copy
    assert array[0] == 0
    assert serializer.load(payload)["array"][0] == 0
    serializer.discard(payload)
    assert not files(places.shm)
    assert back[1] == 1, "what is mapped stays readable"


def test_a_large_pickle_without_buffers_travels_as_a_file_too(
    serializer: Serializer, places: Places
) -> None:
    value = [str(n) for n in range(100_000)]
    payload = serializer.dump(value)
    assert payload.spilled
    assert payload.data == b""
    assert serializer.load(payload) == value
    serializer.discard(payload)
    assert not files(places.shm)


def test_an_array_that_is_not_contiguous_arrives_whole(serializer: Serializer) -> None:
    array = np.arange(4 * SEGMENT_MIN).reshape(4, -1).T[::2]
    payload = serializer.dump(array)
    assert np.array_equal(serializer.load(payload), array)
    serializer.discard(payload)


def test_what_must_last_goes_to_disk_and_is_not_its_makers_to_discard(
    serializer: Serializer, places: Places
) -> None:
    payload = serializer.durable.dump(bytes(SEGMENT_MIN))
    assert files(places.blobs) == [payload.segments[0].name]
    serializer.discard(payload)
    assert serializer.load(payload) == bytes(SEGMENT_MIN)


def test_segments_are_private(serializer: Serializer, places: Places) -> None:
    payload = serializer.dump(bytes(SEGMENT_MIN))
    assert (places.shm / payload.segments[0].name).stat().st_mode & 0o777 == 0o600
    assert places.shm.stat().st_mode & 0o777 == 0o700


def test_what_a_killed_peer_left_is_swept(serializer: Serializer, places: Places) -> None:
    serializer.dump(bytes(SEGMENT_MIN))
    other = Serializer(places, "cl-other").dump(bytes(SEGMENT_MIN))
    Serializer(places, "hub").sweep("cl-test")
    assert files(places.shm) == [other.segments[0].name]


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", ".hidden"])
def test_a_segment_cannot_name_a_file_elsewhere(serializer: Serializer, name: str) -> None:
    with pytest.raises(DeserializationError, match="not the name of a segment"):
        serializer.load(Payload(b"", (Segment("shm", name, 1),), spilled=True))


def test_what_cannot_be_pickled_is_named_by_its_innermost_type(serializer: Serializer) -> None:
    with pytest.raises(SerializationError, match=r"an object of type sqlite3\.Connection"):
        serializer.dump({"rows": [1, {"conn": sqlite3.connect(":memory:")}]})
    with pytest.raises(SerializationError, match=r"_thread\.lock"):
        serializer.dump([threading.Lock()])


def test_a_value_whose_call_has_ended_says_so(serializer: Serializer) -> None:
    payload = serializer.dump(bytes(SEGMENT_MIN))
    serializer.discard(payload)
    with pytest.raises(DeserializationError, match="its call has ended"):
        serializer.load(payload)


def test_without_shared_memory_a_value_travels_by_the_disk_and_leaves_nothing(
    serializer: Serializer, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_from(monkeypatch, places.shm, 0)
    array = np.arange(SEGMENT_MIN, dtype=np.int64)
    payload = serializer.dump(array)
    assert files(places.spill) == [payload.segments[0].name]
    assert (places.spill / payload.segments[0].name).stat().st_mode & 0o777 == 0o600
    back = serializer.load(payload)
    assert np.array_equal(back, array)
    assert not files(places.shm)
    for end in (serializer.discard, serializer.reclaim, serializer.discard):
        end(payload)
        assert not files(places.spill)
    assert back[-1] == array[-1], "what is mapped stays readable"
    serializer.dump(array)
    Serializer(places, "hub").sweep("cl-test")
    assert not files(places.spill)


@pytest.mark.parametrize("place", ["shm", "blob"])
def test_a_value_for_which_there_is_no_room_leaves_none_of_its_parts(
    serializer: Serializer, places: Places, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    for folder in (places.shm, places.spill, places.blobs):
        full_from(monkeypatch, folder, 2)
    parts = [np.full(SEGMENT_MIN, n) for n in range(6)]
    dump = serializer.dump if place == "shm" else serializer.durable.dump
    with pytest.raises(ResourceExhaustedError, match=r"^No room for a value of 2 MB: free are "):
        dump(parts)
    assert not files(places.shm) + files(places.spill) + files(places.blobs)


def full_from(monkeypatch: pytest.MonkeyPatch, folder: Path, count: int) -> None:
    """Let a folder take only so many files."""
    write = shared_memory.write

    def refuse(descriptor: int, raw: memoryview) -> None:
        file = Path(f"/proc/self/fd/{descriptor}").readlink()
        if file.parent == folder and len(files(folder)) > count:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(descriptor, raw)

    monkeypatch.setattr(shared_memory, "write", refuse)
