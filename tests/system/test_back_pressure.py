"""Whatever the sizes of inputs and results, no process holds more than a fixed amount of them.

See docs/guarantees.md, F22, F23.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

import nbfn
from nbfn.client.client import Client
from nbfn.config import Places
from nbfn.exception import Error
from tests.conftest import processes_of, stop_hub, wait_until

app = nbfn.App()
KB, MB = 10**3, 10**6
#: Bytes that each process may hold, and that may lie in shared memory, when a consumer has stopped.
MOST = 400 * MB


@app.function(max_containers=2)
def make(size: int) -> bytes:
    return b"y" * size


@app.function(max_containers=2)
def array(size: int) -> Any:
    import numpy

    return numpy.zeros(size, "u1")


@app.function(max_containers=2)
def length(value: Any) -> int:
    return len(value)


@app.function(max_containers=2)
@nbfn.batched(max_batch_size=50, wait_ms=50)
def make_batch(sizes: list[int]) -> list[bytes]:
    return [b"y" * size for size in sizes]


@app.function(max_containers=2)
@nbfn.concurrent(max_inputs=20)
def make_at_once(size: int) -> bytes:
    return b"y" * size


@app.function(max_containers=2)
def numbers(count: int, size: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b"z" * size


@app.function(max_containers=2, retries=nbfn.Retries(max_retries=5, initial_delay=0.0))
def unsteady(folder: str, number: int) -> bytes:
    """Fail the first time for every tenth input."""
    mark = Path(folder, str(number))
    if number % 10 == 0 and not mark.exists():
        mark.touch()
        raise ValueError("once")
    return b"y" * (250 * KB)


class MapNow(NamedTuple):
    """How many inputs of the map that runs have ended, and how many run."""

    ended: int
    running: int


def map_now() -> MapNow:
    row = next(row for row in Client.attach().overview().calls if row.state == "running")
    return MapNow(row.succeeded + row.failed + row.cancelled, row.running)


def settled() -> int:
    """Wait until nothing of the map is at work and return how many of its inputs have ended."""
    wait_until(lambda: (row := map_now()).ended and not row.running, 60)
    return map_now().ended


def held(home: Path) -> dict[str, int]:
    """Return the bytes of memory of the largest of the hub and its workers, and of the segments."""
    pss = [
        psutil.Process(pid).memory_full_info().pss
        for pid in processes_of(home)
        if psutil.pid_exists(pid)
    ]
    shm = sum(path.stat().st_size for path in Places.of().shm.iterdir())
    return {"process": max(pss), "shared": shm}


@pytest.mark.parametrize(
    ("function", "size", "count", "ordered"),
    [
        (make, 250 * KB, 2400, True),
        (make, 250 * KB, 2400, False),
        (make, 20 * MB, 30, True),
        (make_batch, 250 * KB, 2400, True),
        (make_at_once, 250 * KB, 2400, True),
        (array, MB, 800, True),
        (array, 20 * MB, 40, False),
    ],
)
def test_a_consumer_that_stops_holds_up_the_workers(
    home: Path, function: Any, size: int, count: int, ordered: bool
) -> None:
    results = iter(function.map([size] * count, order_outputs=ordered))
    assert len(next(results)) == size
    done = settled()
    assert 1 <= done < count
    assert done * size < MOST, "as many results wait as are in limits"
    assert max(held(home).values()) < MOST
    assert sum(1 for _ in results) == count - 1, "it goes on when the consumer does"


def test_many_maps_that_are_not_read_share_the_room(home: Path) -> None:
    maps = [iter(make.map([250 * KB] * 500)) for _ in range(6)]
    for results in maps:
        next(results)
    client = Client.attach()
    wait_until(lambda: not any(row.running for row in client.overview().calls), 60)
    rows = client.overview().calls
    assert sum(row.succeeded + row.failed + row.cancelled for row in rows) * 250 * KB < MOST
    assert max(held(home).values()) < MOST
    assert [sum(1 for _ in results) for results in maps] == [499] * 6


def test_inputs_that_run_again_do_not_wait_for_results_to_be_taken(
    home: Path, tmp_path: Path
) -> None:
    folders = itertools.repeat(str(tmp_path))
    results = list(unsteady.map(folders, range(1000)))
    assert [len(result) for result in results] == [250 * KB] * 1000


def pulled_ahead(function: Any, value: Any, count: int, **options: Any) -> int:
    """Return how many inputs a map has pulled at most beyond the results that it gave."""
    pulled = given = ahead = 0

    def inputs() -> Iterator[Any]:
        nonlocal pulled
        for _ in range(count):
            pulled += 1
            yield value

    for _ in function.map(inputs(), **options):
        given += 1
        ahead = max(ahead, pulled - given)
    assert given == count
    return ahead


@pytest.mark.parametrize("options", [{}, {"return_exceptions": True}, {"order_outputs": False}])
def test_large_inputs_are_not_pulled_far_ahead(home: Path, options: dict[str, Any]) -> None:
    assert pulled_ahead(length, b"x" * (250 * KB), 1200, **options) < 400
    assert pulled_ahead(length, b"x" * (20 * MB), 20, **options) < 8
    assert pulled_ahead(length, b"x", 20_000, **options) > 900, "small ones are"
    assert max(held(home).values()) < MOST


def test_one_input_is_always_under_way(home: Path) -> None:
    import numpy

    assert list(length.map(numpy.zeros(300 * MB, "u1") for _ in range(3))) == [300 * MB] * 3
    assert [len(value) for value in make.map([100 * MB] * 3)] == [100 * MB] * 3


@pytest.mark.parametrize(("count", "size"), [(1500, 250 * KB), (20, 20 * MB)])
def test_a_generator_stops_when_its_items_are_not_taken(home: Path, count: int, size: int) -> None:
    items = numbers.remote_gen(count, size)
    assert len(next(items)) == size
    wait_until(lambda: _idle(home))
    assert max(held(home).values()) < 100 * MB
    assert sum(1 for _ in items) == count - 1


def _idle(home: Path) -> bool:
    """Whether no process of a home uses the processor."""

    def used() -> float:
        times = [psutil.Process(pid).cpu_times() for pid in processes_of(home)]
        return sum(one.user + one.system for one in times)

    before = used()
    psutil.cpu_percent(0.3)
    return used() - before < 0.1


@app.function(max_containers=2, timeout=120)
def waits(flag: str, value: bytes) -> int:
    while not Path(flag).exists():
        time.sleep(0.01)
    if value.startswith(b"bad") and not Path(f"{flag}.mended").exists():
        raise ValueError("bad")
    return len(value)


def test_spawned_inputs_wait_on_the_disk(home: Path, tmp_path: Path) -> None:
    flag, count = tmp_path / "flag", 1200
    values = itertools.chain([b"bad" * 80 * KB], itertools.repeat(b"x" * (250 * KB), count - 1))
    call = waits.spawn_map(itertools.repeat(str(flag)), values)
    one = waits.spawn(str(flag), b"x" * (250 * KB))
    assert max(held(home).values()) < 220 * MB, "300 MB wait"
    one.cancel()
    stop_hub(Places.of())
    assert call.num_inputs() == count
    assert max(held(home).values()) < 220 * MB, "after a restart as well"
    flag.touch()
    assert list(call.iter(start=1)) == [250 * KB] * (count - 1)
    with pytest.raises(ValueError, match="bad"):
        call.get(index=0)
    Path(f"{flag}.mended").touch()
    assert call.retry() == 1
    assert call.get(index=0) == 240 * KB
    with pytest.raises(Error, match="cancelled"):
        one.get()


def test_results_of_spawned_calls_wait_on_the_disk(home: Path) -> None:
    call = make.spawn_map([250 * KB] * 1200)
    wait_until(lambda: call._call_info().ended, 60)
    assert max(held(home).values()) < 220 * MB
    first = call.iter()
    assert len(next(first)) == 250 * KB
    assert sum(1 for _ in first) == 1199
    assert max(held(home).values()) < 220 * MB


def peak(pid: int) -> int:
    """Return the most bytes of memory that a process has held so far."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


@pytest.mark.parametrize("way", ["spawn", "remote"])
def test_thousands_of_calls_that_begin_at_once(home: Path, way: str) -> None:
    value = b"x" * (250 * KB)

    async def begin() -> list[Any]:
        return await asyncio.gather(*(getattr(length, way).aio(value) for _ in range(1600)))

    found = asyncio.run(begin())
    assert peak(Client.attach().overview().hub.pid) < 220 * MB, "400 MB were sent"
    values = nbfn.FunctionCall.gather(*found) if way == "spawn" else found
    assert values == [250 * KB] * 1600
