"""A container's 64 MB of shared memory, or less: what does not fit there travels by the disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from nbfn.config import Places
from tests.system.programs import run_program

#: Runs what follows with little shared memory, and with a small disk for the home, nobody else seeing that.
_MOUNT = """
set -e
mount -t tmpfs -o size=8m tmpfs /dev/shm
if [ -n "$HOME_SIZE" ]; then mount -t tmpfs -o size=$HOME_SIZE tmpfs "$NBFN_HOME"; fi
"$@"
code=$?
for folder in /dev/shm/nbfn-* "$NBFN_HOME/spill"; do ls $folder; done
"$1" -m nbfn hub stop > /dev/null
exit $code
"""
SMALL = ("unshare", "--mount", "bash", "-c", _MOUNT, "bash")


def _may_mount() -> bool:
    if os.geteuid() or shutil.which("unshare") is None:
        return False
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not _may_mount(), reason="needs root to mount a small /dev/shm")

FUNCTIONS = """
import numpy as np, nbfn
app = nbfn.App()
ITEMS = 3 * 2**20  # 24 MiB

@app.function()
def total(array):
    return int(array.sum())

@app.function()
def make(items):
    return np.ones(items, dtype=np.int64)

@app.function()
def make_some(items):
    for _ in range(3):
        yield np.ones(items, dtype=np.int64)
"""


def test_what_does_not_fit_into_shared_memory_travels_by_the_disk(
    home: Path, tmp_path: Path
) -> None:
    said = run_program(
        tmp_path,
        FUNCTIONS
        + """
big = np.ones(ITEMS, dtype=np.int64)
captured = np.ones(2**20, dtype=np.int64)

@app.function()
def uses():
    return int(captured.sum())

assert total.remote(big) == ITEMS
assert make.remote(ITEMS).sum() == ITEMS
assert [a.sum() for a in make_some.remote_gen(ITEMS)] == [ITEMS] * 3
assert total.spawn(big).get() == ITEMS
assert make.spawn(ITEMS).get().sum() == ITEMS
assert uses.remote() == 2**20
kept = list(make.map([ITEMS // 8] * 12))  # 3 MiB each, of which two fit
assert [a.sum() for a in kept] == [ITEMS // 8] * 12
assert list(total.map([big] * 4)) == [ITEMS] * 4
text = "x" * 20_000_000  # no buffer: the pickle itself is large
assert app.function(name="same")(lambda t: t).remote(text) == text
""",
        before=SMALL,
    )
    assert said == "", "a value was left behind"


def test_where_there_is_no_room_at_all_the_error_has_the_numbers(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME_SIZE", "40m")
    monkeypatch.setenv("NBFN_DISK_RESERVE", "16")
    said = run_program(
        tmp_path,
        FUNCTIONS
        + """
def error_of(call):
    try:
        return call()
    except nbfn.Error as error:
        return f"{type(error).__name__}: {error}"

print(error_of(lambda: total.remote(np.ones(2 * ITEMS))))
print(error_of(lambda: make.remote(2 * ITEMS)))
print(error_of(lambda: list(make_some.remote_gen(2 * ITEMS))))
print(error_of(lambda: list(total.map([np.ones(2 * ITEMS)]))))
print(error_of(lambda: total.spawn(np.ones(2 * ITEMS))))
print(total.remote(np.ones(10)), make.remote(10).sum())
""",
        before=SMALL,
    ).splitlines()
    places = Places.of(home)
    for line in said[:4]:
        assert line.startswith("ResourceExhaustedError: No room for a value of 48 MB: free are ")
        assert f" in {places.shm} and " in line
        assert f" in {places.spill} (16 MB of the disk are kept free for the hub)." in line
    assert said[4].startswith("ResourceExhaustedError: No room for a value of 48 MB: free are ")
    assert f" in {places.blobs}" in said[4]
    assert said[5:] == ["10 10"]
