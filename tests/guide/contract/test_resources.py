"""Tests of cpu, memory and gpu: reservation, enforcement and reports (docs/function-api.md#resources)."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

import nbfn
from nbfn.declarations import options
from nbfn.declarations.options import Resources
from nbfn.exception import InvalidError, ResourceExhaustedError, ServerWarning, WorkerCrashed
from tests.conftest import a_home, wait_until

MIB = 2**20
TOTAL = psutil.virtual_memory().total // MIB


def app() -> nbfn.App:
    return nbfn.App()


def waits(function: nbfn.Function[..., object, object]) -> str | None:
    """Return the text of the panel about what the inputs of a Function wait for."""
    rows = nbfn.Client.attach().overview().functions
    return next(row.waiting_for for row in rows if row.name == function.tag)


# --- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"cpu": 1000}, r"asks for 1000 cores for each worker, and this machine has \d+ core"),
        ({"memory": 10**9}, r"asks for [\d.,]+ GB of memory .* has [\d.]+ GB of memory"),
        ({"gpu": "any:64"}, r"asks for 64 GPUs for each worker, and this machine has"),
    ],
)
def test_what_can_never_be_placed_fails_at_once_with_the_reason(
    asked: dict[str, object], said: str
) -> None:
    @app().function(**asked)  # type: ignore[arg-type]
    def huge() -> None: ...

    with pytest.warns(ServerWarning, match=said):
        huge.hydrate()  # when it is registered
    with pytest.raises(ResourceExhaustedError, match=said):
        huge.remote()
    with pytest.raises(ResourceExhaustedError, match="'huge' asks"):
        huge.spawn().get(10)


# --- what is set aside ---------------------------------------------------------------------------


def test_workers_are_admitted_as_far_as_the_memory_goes_and_the_rest_says_what_it_waits_for(
    tmp_path: Path,
) -> None:
    @app().function(memory=TOTAL * 6 // 10, max_containers=2)
    def hold(mark: str) -> int:
        Path(mark).touch()
        while not Path(mark + ".go").exists():
            time.sleep(0.005)
        return os.getpid()

    calls = [hold.spawn(str(tmp_path / str(n))) for n in range(2)]
    wait_until(lambda: (tmp_path / "0").exists())
    wait_until(lambda: (waits(hold) or "").startswith("waits for "))
    assert "GB of memory" in (waits(hold) or "")
    assert not (tmp_path / "1").exists()
    for n in range(2):
        (tmp_path / f"{n}.go").touch()
    assert all(call.get(10) for call in calls)


def test_an_idle_worker_makes_room_for_who_needs_what_it_holds() -> None:
    @app().function(memory=TOTAL * 6 // 10)
    def one() -> str:
        return "one"

    @app().function(memory=TOTAL * 6 // 10)
    def other() -> str:
        return "other"

    assert (one.remote(), other.remote(), one.remote()) == ("one", "other", "one")


def test_a_call_that_nobody_can_ever_make_room_for_says_so() -> None:
    @app().function(memory=TOTAL * 6 // 10)
    def inner() -> None: ...

    @app().function(memory=TOTAL * 6 // 10)
    def outer() -> None:
        inner.remote()

    with pytest.raises(ResourceExhaustedError, match="'inner' waits for .* memory"):
        outer.remote()


def test_each_gpu_is_one_workers_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5")  # what the hub may use
    with a_home():

        @app().function(gpu="any", max_containers=2, timeout=20)
        def mine(mark: str) -> str:
            Path(mark, str(os.getpid())).touch()
            while len(list(Path(mark).iterdir())) < 2:
                time.sleep(0.005)
            return os.environ["CUDA_VISIBLE_DEVICES"]

        with tempfile.TemporaryDirectory() as mark:
            assert sorted(mine.map([mark] * 2)) == ["3", "GPU-5"]


# --- what is enforced ----------------------------------------------------------------------------


def test_a_worker_over_its_memory_limit_is_ended_and_nobody_else() -> None:
    shared = app()

    @shared.function(memory=(100, 300))
    def allocate(mebibytes: int) -> int:
        held = bytearray(mebibytes * MIB)
        time.sleep(30 if mebibytes > 300 else 0)
        return len(held)

    @shared.function()
    def bystander() -> int:
        return os.getpid()

    before = bystander.remote()
    assert allocate.remote(50) == 50 * MIB
    with pytest.raises(WorkerCrashed, match=r"out of memory \(limit 300 MB\)") as caught:
        allocate.remote(400)
    assert caught.value.oom
    assert caught.value.memory_limit == 300 * MIB
    assert (caught.value.memory_peak or 0) > 300 * MIB
    assert bystander.remote() == before
    assert allocate.remote(50) == 50 * MIB


def test_what_a_worker_started_counts_as_its_own_memory() -> None:
    @app().function(memory=(100, 300))
    def by_child() -> None:
        import subprocess

        code = f"import time; held = bytearray(400 * {MIB}); time.sleep(30)"
        subprocess.run([sys.executable, "-c", code], start_new_session=True, check=False)

    with pytest.raises(WorkerCrashed, match="out of memory"):
        by_child.remote()


@pytest.mark.parametrize("kind", ["private", "shared"])
def test_memory_that_processes_share_counts_once(kind: str) -> None:
    @app().function(memory=(100, 300))
    def fork_three(kind: str) -> int:
        held = bytearray(200 * MIB) if kind == "private" else mmap.mmap(-1, 200 * MIB)
        for at in range(0, len(held), mmap.PAGESIZE):
            held[at] = 1
        children = [_fork_and_touch(held, len(held) if kind == "shared" else 0) for _ in range(3)]
        time.sleep(1)  # ten looks of the one who watches
        return sum(_ended(child) for child in children)

    assert fork_three.remote(kind) == 0


def test_memory_that_was_shared_counts_for_each_who_writes_to_it() -> None:
    @app().function(memory=(100, 300))
    def fork_three() -> int:
        held = bytearray(200 * MIB)
        children = [_fork_and_touch(held, len(held)) for _ in range(3)]
        return sum(_ended(child) for child in children)

    with pytest.raises(WorkerCrashed, match=r"out of memory \(limit 300 MB\)") as caught:
        fork_three.remote()
    assert (caught.value.memory_peak or 0) > 300 * MIB


def test_pages_of_a_mapped_file_are_no_memory_of_the_worker(tmp_path: Path) -> None:
    @app().function(memory=(100, 300))
    def read_all(path: Path) -> int:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        read = sum(data[at] for at in range(0, len(data), mmap.PAGESIZE))
        time.sleep(1)
        return read + len(data)

    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(400 * MIB)
    assert read_all.remote(large) == 400 * MIB


def _fork_and_touch(held: bytearray | mmap.mmap, size: int) -> int:
    child = os.fork()
    if not child:
        for at in range(0, size, mmap.PAGESIZE):
            held[at] = 1
        time.sleep(30 if isinstance(held, bytearray) and size else 2)
        os._exit(0)
    return child


def _ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_recursion_that_eats_the_memory_ends_by_the_limit() -> None:
    """See docs/guarantees.md, F6."""

    @app().function(memory=(100, 300))
    def recurse(limit: int) -> None:
        sys.setrecursionlimit(limit)

        def deeper(held: list[object]) -> None:
            deeper([bytearray(MIB // 4), held])

        deeper([])

    with pytest.raises(RecursionError):
        recurse.remote(500)
    with pytest.raises(WorkerCrashed, match="out of memory"):
        recurse.remote(10**8)


def test_a_single_number_is_a_request_without_a_limit() -> None:
    assert Resources.read(memory=128, cpu=2) == Resources(memory=128 * MIB, cpu=2.0)

    @app().function(memory=64)
    def more_than_asked() -> int:
        return len(bytearray(200 * MIB))

    assert more_than_asked.remote() == 200 * MIB


# --- what is not ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "said"),
    [({"cpu": (1, 2)}, "limit of 'cpu' is not enforced"), ({"gpu": "A100"}, "counts GPUs")],
)
def test_what_cannot_be_enforced_says_so_once(
    asked: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "_warned", set())
    with pytest.warns(UserWarning, match=said):
        app().function(**asked)  # type: ignore[arg-type]
    app().function(**asked)  # type: ignore[arg-type]  # a second warning would be an error


def test_single_use_and_inputs_at_once_exclude_each_other() -> None:
    with pytest.raises(InvalidError, match="max_inputs=5 at once"):

        @app().function(single_use_containers=True)
        @nbfn.concurrent(max_inputs=5)
        def f() -> None: ...
