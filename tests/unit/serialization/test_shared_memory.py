"""Segments that are filled again: only when nobody has them mapped, only a few, only for a while."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nbfn.config import Places
from nbfn.exception import DeserializationError
from nbfn.protocol.messages import Payload
from nbfn.serialization import shared_memory
from nbfn.serialization.payload import SEGMENT_MIN, Serializer

#: Items of an array of 2 MiB.
ITEMS = 2**18


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "home", tmp_path / "run", tmp_path / "shm").create()


@pytest.fixture
def maker(places: Places) -> Serializer:
    return Serializer(places, "cl-maker")


@pytest.fixture
def receiver(places: Places) -> Serializer:
    return Serializer(places, "wk-receiver")


def array(value: int, items: int = ITEMS) -> np.ndarray:
    return np.full(items, value, dtype=np.int64)


def inode(places: Places, payload: Payload) -> int:
    (segment,) = payload.segments
    return (places.shm / segment.name).stat().st_ino


def count(places: Places) -> int:
    return len(list(places.shm.iterdir()))


def in_child(work: Callable[[], object]) -> int:
    """Run something in a forked child; return its id. The child ends with 0 if it returned true."""
    if pid := os.fork():
        return pid
    try:
        os._exit(0 if work() else 1)
    finally:
        os._exit(2)


def ended_well(pid: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_segment_is_filled_again_under_another_name(
    places: Places, maker: Serializer, receiver: Serializer
) -> None:
    first = maker.dump(array(0))
    known = inode(places, first)
    names = {first.segments[0].name}
    payload = first
    for value in range(1, 6):
        maker.reclaim(payload)
        payload = maker.dump(array(value))
        assert inode(places, payload) == known
        assert (places.shm / payload.segments[0].name).stat().st_mode & 0o777 == 0o600
        assert np.array_equal(receiver.load(payload), array(value))
        names.add(payload.segments[0].name)
    assert len(names) == 6
    assert all(name.startswith("cl-maker.") for name in names)
    with pytest.raises(DeserializationError, match="its call has ended"):
        receiver.load(first)


def test_a_smaller_value_arrives_in_a_larger_segment(
    places: Places, maker: Serializer, receiver: Serializer
) -> None:
    payload = maker.dump(array(7))
    known = inode(places, payload)
    for items in (ITEMS - 1, ITEMS // 2, ITEMS):  # the segment stays as large as it was made
        maker.reclaim(payload)
        payload = maker.dump(array(items, items))
        assert inode(places, payload) == known
        assert np.array_equal(receiver.load(payload), array(items, items))
    maker.reclaim(payload)
    assert inode(places, maker.dump(array(7, ITEMS // 2 - 1))) != known, "much too large for it"
    assert inode(places, maker.dump(array(7, ITEMS + 1))) != known


@pytest.mark.parametrize(
    "filled_before", [0, 1, 2]
)  # written to a file, mapped first, mapped still
def test_a_kept_array_never_changes(
    places: Places, maker: Serializer, receiver: Serializer, filled_before: int
) -> None:
    for _ in range(filled_before):
        maker.reclaim(maker.dump(array(0)))
    payload = maker.dump(array(1))
    kept, again = receiver.load(payload), receiver.load(payload)
    again[0] = -1
    del again  # one of two mappings
    for value in range(2, 12):
        maker.reclaim(payload)
        payload = maker.dump(array(value))
        assert receiver.load(payload)[-1] == value
        assert np.array_equal(kept, array(1))
    assert count(places) == 1


def test_a_part_of_an_array_keeps_all_of_it(maker: Serializer, receiver: Serializer) -> None:
    payload = maker.dump({"a": array(1)})
    part = receiver.load(payload)["a"][5:10]
    maker.reclaim(payload)
    maker.dump(array(2))
    assert part.tolist() == [1] * 5


def test_what_is_mapped_in_the_same_process_is_safe_too(maker: Serializer) -> None:
    payload = maker.dump(array(1))
    kept = maker.load(payload)
    maker.reclaim(payload)
    maker.dump(array(2))
    assert np.array_equal(kept, array(1))


def test_a_forked_child_of_the_receiver_keeps_it_with_all_descriptors_closed(
    maker: Serializer, receiver: Serializer
) -> None:
    payload = maker.dump(array(1))
    kept = [receiver.load(payload)]
    reading, writing = os.pipe()

    def child() -> bool:
        os.dup2(reading, 0)
        os.closerange(1, 1024)
        os.read(0, 1)
        return bool((kept[0] == 1).all())

    pid = in_child(child)
    time.sleep(0.2)  # until it has closed them
    kept.clear()
    maker.reclaim(payload)
    maker.dump(array(2))
    os.write(writing, b"x")
    os.close(reading)
    os.close(writing)
    assert ended_well(pid)


def test_what_a_dead_receiver_had_is_filled_again(
    places: Places, maker: Serializer, receiver: Serializer
) -> None:
    payload = maker.dump(array(1))
    known = inode(places, payload)
    reading, writing = os.pipe()

    def child() -> bool:
        kept = receiver.load(payload)
        os.write(writing, b"x")
        time.sleep(60)
        return bool(kept[0])

    pid = in_child(child)
    os.read(reading, 1)
    os.kill(pid, signal.SIGKILL)
    assert not ended_well(pid)
    os.close(reading)
    os.close(writing)
    maker.reclaim(payload)
    assert inode(places, maker.dump(array(2))) == known


@pytest.mark.parametrize("step", ["open", "lock"])
def test_a_receiver_that_comes_too_late_finds_nothing(
    maker: Serializer, receiver: Serializer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    payload = maker.dump(array(1))
    taken: list[Payload] = []

    def late(descriptor: int, how: int) -> None:  # it has opened the file
        monkeypatch.setattr(shared_memory.fcntl, "flock", flock)
        if step == "lock":
            flock(descriptor, how)
        maker.reclaim(payload)
        taken.append(maker.dump(array(2)))
        if step == "open":
            flock(descriptor, how)

    flock = fcntl.flock
    monkeypatch.setattr(shared_memory.fcntl, "flock", late)
    with pytest.raises(DeserializationError, match="its call has ended"):
        receiver.load(payload)
    assert np.array_equal(receiver.load(taken[0]), array(2))


def test_small_segments_others_segments_and_too_many_are_not_kept(
    places: Places, maker: Serializer, receiver: Serializer, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker.reclaim(maker.dump(bytes(SEGMENT_MIN)))
    maker.reclaim(receiver.dump(array(1)))
    assert count(places) == 0
    many = [maker.dump(array(n)) for n in range(2 * shared_memory.MOST)]
    for payload in many:
        maker.reclaim(payload)
    assert count(places) == shared_memory.MOST
    maker.close()
    monkeypatch.setattr(shared_memory, "MOST_BYTES", 2 * 8 * ITEMS + 1)
    many = [maker.dump(array(n)) for n in range(3)]
    for payload in many:
        maker.reclaim(payload)
    assert count(places) == 2


def test_what_lasts_on_disk_is_never_filled_again(places: Places, maker: Serializer) -> None:
    payload = maker.durable.dump(array(1))
    maker.reclaim(payload)
    maker.reclaim(maker.dump(array(2)))
    other = maker.durable.dump(array(3))
    assert len(list(places.blobs.iterdir())) == 2
    assert maker.load(payload)[0] == 1
    assert maker.load(other)[0] == 3


def test_little_room_is_left_to_others(
    places: Places, maker: Serializer, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = os.statvfs_result((4096, 4096, 4096, 4096, 1024, 0, 0, 0, 0, 255))  # 4 MiB
    monkeypatch.setattr(os, "statvfs", lambda _: room)
    maker.reclaim(maker.dump(array(1)))
    assert count(places) == 0


def test_what_is_kept_makes_room_for_what_does_not_fit(
    places: Places, maker: Serializer, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker.reclaim(maker.dump(array(1)))
    write = shared_memory.write

    def full(descriptor: int, raw: memoryview) -> None:
        if count(places) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(descriptor, raw)

    monkeypatch.setattr(shared_memory, "write", full)
    payload = maker.dump(array(2, 3 * ITEMS))
    assert maker.load(payload)[-1] == 2
    assert count(places) == 1


def test_it_is_kept_for_a_while_and_gone_at_the_end(places: Places, maker: Serializer) -> None:
    now = time.monotonic()
    assert maker.tidy(now) is None
    maker.reclaim(maker.dump(array(1)))
    due = maker.tidy(now)
    assert due is not None
    assert shared_memory.KEEP <= due < shared_memory.KEEP + 5
    assert count(places) == 1
    assert maker.tidy(now + due) is None
    assert count(places) == 0
    maker.reclaim(maker.dump(array(1)))
    maker.close()
    assert count(places) == 0


def test_discarding_twice_in_any_way_does_no_harm(
    places: Places, maker: Serializer, receiver: Serializer
) -> None:
    for end in (maker.reclaim, maker.discard):
        for again in (maker.reclaim, maker.discard):
            payload = maker.dump(array(1))
            end(payload)
            again(payload)
            other = maker.dump(array(2))
            again(payload)
            assert receiver.load(other)[-1] == 2
            maker.discard(other)
    maker.close()
    assert count(places) == 0


def test_threads_may_send_while_calls_end(
    places: Places, maker: Serializer, receiver: Serializer
) -> None:
    wrong: list[Any] = []

    def send(first: int) -> None:
        kept = []
        for value in range(first, first + 60):
            payload = maker.dump(array(value))
            got = receiver.load(payload)
            if value % 10 == 0:
                kept.append((value, got))
            maker.reclaim(payload)
            if not (got == value).all():
                wrong.append(value)
            del got
        wrong.extend(value for value, got in kept if not (got == value).all())

    threads = [threading.Thread(target=send, args=(1000 * n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    maker.close()
    assert count(places) == 0


def test_a_forked_child_of_the_maker_leaves_everything_alone(
    places: Places, maker: Serializer, receiver: Serializer
) -> None:
    under_way = maker.dump(array(1))
    maker.reclaim(maker.dump(array(0)))

    def child() -> bool:
        maker.discard(under_way)
        maker.reclaim(under_way)
        return maker._segments.refill(memoryview(bytes(8 * ITEMS))) is None

    assert ended_well(in_child(child))
    assert np.array_equal(receiver.load(under_way), array(1))
    assert count(places) == 2


def test_a_forked_child_of_the_maker_does_not_keep_the_memory(
    places: Places, maker: Serializer
) -> None:
    payload = maker.dump(array(1))
    for _ in range(2):  # the second time it is mapped
        maker.reclaim(payload)
        payload = maker.dump(array(2))
    descriptor = os.open(places.shm / payload.segments[0].name, os.O_RDONLY)
    maker.discard(payload)
    assert os.fstat(descriptor).st_size == 0
    os.close(descriptor)


def test_what_a_receiver_has_is_not_cut_off_when_it_is_discarded(
    maker: Serializer, receiver: Serializer
) -> None:
    payload = maker.dump(array(1))
    for _ in range(2):
        maker.reclaim(payload)
        payload = maker.dump(array(2))
    kept = receiver.load(payload)
    maker.discard(payload)
    assert np.array_equal(kept, array(2))


def test_without_locks_it_is_as_before(
    places: Places, maker: Serializer, receiver: Serializer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _how: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(shared_memory.fcntl, "flock", refuse)
    payload = maker.dump(array(1))
    kept = receiver.load(payload)
    maker.reclaim(payload)
    other = receiver.load(maker.dump(array(2)))
    assert kept[0] == 1
    assert other[0] == 2


def test_without_a_mapping_it_is_written(
    places: Places, maker: Serializer, receiver: Serializer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_memory, "MOST", 1)
    first, second = maker.dump(array(1)), maker.dump(array(2))
    maker.reclaim(first)
    first = maker.dump(array(3))  # mapped, under way
    maker.reclaim(second)

    def refuse(*_given: object, **_flags: object) -> None:
        raise AssertionError("one mapping was enough")

    with monkeypatch.context() as patch:
        patch.setattr(mmap, "mmap", refuse)
        second = maker.dump(array(4))
    assert receiver.load(first)[-1] == 3
    assert receiver.load(second)[-1] == 4
    assert count(places) == 2
