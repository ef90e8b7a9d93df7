"""Large values and file descriptors: values that are kept hold none, and running out of them does no harm."""

from __future__ import annotations

from pathlib import Path

from nbfn.serialization.shared_memory import MOST_MAPPED
from tests.system.programs import run_program

#: Functions that take and give arrays of more than 1 MiB.
FUNCTIONS = """
import os, numpy as np, nbfn
app = nbfn.App()
ITEMS = 140_000

@app.function()
def make(value):
    return np.full(ITEMS, value)

@app.function()
def make_many(count):
    for value in range(count):
        yield np.full(ITEMS, value)

@app.function(max_containers=1)
def keep(array):
    import builtins
    kept = builtins.__dict__.setdefault("kept_by_the_test", [])
    kept.append(array)
    return len(kept), len(os.listdir("/proc/self/fd")), int(sum(a[-1] for a in kept))

def open_files():
    return len(os.listdir("/proc/self/fd"))
"""


def test_kept_results_hold_no_descriptors(home: Path, tmp_path: Path) -> None:
    said = run_program(
        tmp_path,
        FUNCTIONS
        + """
kept = [make.remote(0)]
before = open_files()
kept += make.map(range(1, 150))
kept += make_many.remote_gen(50)
call = make.spawn(7)
kept += [call.get() for _ in range(50)]
assert [int(array[-1]) for array in kept] == [*range(150), *range(50), *[7] * 50]
kept[1][0] = -1  # its own copy
assert kept[2][0] == 2
print(open_files() - before)
""",
        files=128,
    )
    assert int(said) < 10


def test_arguments_that_a_worker_keeps_hold_no_descriptors(home: Path, tmp_path: Path) -> None:
    said = run_program(
        tmp_path,
        FUNCTIONS
        + """
_, before, _ = keep.remote(np.zeros(ITEMS))
*_, (count, after, total) = keep.map(np.full(ITEMS, n) for n in range(150))
assert count == 151 and total == sum(range(150)), (count, total)
print(after - before)
""",
    )
    assert int(said) < 10


EXHAUST = """
def exhaust():
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        return held

def release(held):
    for descriptor in held:
        os.close(descriptor)

def error_of(call):
    try:
        return call()
    except nbfn.Error as error:
        return f"{type(error).__name__}: {error}"
"""


def test_without_descriptors_large_values_fail_clearly_and_the_connection_lives(
    home: Path, tmp_path: Path
) -> None:
    said = run_program(
        tmp_path,
        FUNCTIONS
        + EXHAUST
        + """
keep.remote([1])
make.remote(1)
call = make.spawn(5)
held = exhaust()
print(error_of(lambda: keep.remote(np.zeros(ITEMS))))
print(error_of(lambda: make.remote(1)))
print(error_of(call.get))
print(keep.remote([1])[0])  # what is small needs none
release(held)
assert make.remote(3)[-1] == 3
assert call.get()[-1] == 5
""",
        files=100,
    ).splitlines()
    sentence = (
        "This process has as many files open as it may (100, see `ulimit -n`). "
        "Close some, or raise the limit."
    )
    assert said[0] == f"ResourceExhaustedError: {sentence}"
    assert all(line.startswith("ExecutionError: ") and sentence in line for line in said[1:3])
    assert said[3] == "2"


def test_a_process_without_descriptors_is_told_so_at_its_first_call(
    home: Path, tmp_path: Path
) -> None:
    """libzmq ends a process that has three to five left when it connects."""
    said = run_program(
        tmp_path,
        FUNCTIONS
        + EXHAUST
        + """
held = exhaust()
for free in range(8):
    print(error_of(lambda: make.remote(1)))
    os.close(held.pop())
release(held)
assert make.remote(1)[-1] == 1
""",
        files=100,
    ).splitlines()
    assert len(said) == 8
    assert all(line.startswith("ResourceExhaustedError: This process has as many") for line in said)


def test_a_lost_hub_is_found_again_once_there_are_descriptors(home: Path, tmp_path: Path) -> None:
    said = run_program(
        tmp_path,
        FUNCTIONS
        + EXHAUST
        + """
import json, signal, threading
make.remote(1)
call = make.spawn(5)
call.get()
pid = json.load(open(os.environ["NBFN_HOME"] + "/hub.json"))["pid"]
held = exhaust()
os.kill(pid, signal.SIGKILL)
threading.Timer(1, release, [held]).start()  # meanwhile it looks for the hub several times
print(len(make.remote(2)), int(call.get()[-1]))
""",
        files=100,
    )
    assert said == "140000 5\n"


def test_values_that_are_kept_leave_mappings_for_others(tmp_path: Path) -> None:
    said = run_program(
        tmp_path,
        """
import os, pathlib
from nbfn.serialization import shared_memory
file = pathlib.Path("segment")
file.write_bytes(os.urandom(shared_memory.MAP_MIN))
many = shared_memory.MOST_MAPPED + 50
loaded = [shared_memory.load_private(file, shared_memory.MAP_MIN, shared=False) for _ in range(many)]
assert loaded[-1][:] == loaded[0][:] == file.read_bytes()
print(len(open("/proc/self/maps").readlines()))
""",
    )
    assert MOST_MAPPED < int(said) < MOST_MAPPED + 1000 < 65_530
