"""Workers that are subprocesses need nothing that only Linux has: hub, workers and client run without it.

`without_linux/sitecustomize.py` takes it away. That is as near to macOS as a test on Linux comes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import processes_of
from tests.program import HEAD

CHECKS = """
import ctypes, os, signal, subprocess, time
from nbfn.config import Places
from nbfn.exception import FunctionTimeoutError, WorkerCrashed


@app.function()
def missing():
    import select
    names = [n for n in ("eventfd", "pidfd_open", "memfd_create", "sched_getaffinity") if hasattr(os, n)]
    return names, hasattr(select, "epoll"), hasattr(signal, "pidfd_send_signal")

@app.function(max_containers=2)
def square(n):
    print("square of", n)
    return n * n

@app.function()
def reverse(data):
    return data[::-1]

@app.function(timeout=1)
def slow():
    time.sleep(60)

@app.function()
def stubborn(path):
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\\n")
    while os.stat(path).st_size < 16:  # the second attempt returns
        if sum(1 for _ in open(path)) > 1:
            return "again"
        time.sleep(0.05)

@app.function()
def crash():
    print("step 1")
    subprocess.run(["sh", "-c", "echo of a child"])
    ctypes.string_at(0)

@app.function(memory=(50, 300))
def greedy():
    held = bytearray(600 * 2**20)
    held[:: 4096] = b"x" * len(held[:: 4096])
    time.sleep(60)

@app.function()
def leave_child():
    return subprocess.Popen(["sleep", "300"], start_new_session=True).pid, os.getpid()


def killed():
    path = os.path.join(os.environ["TMPDIR"], "pids")
    call = stubborn.spawn(path)
    while not os.path.exists(path) or not open(path).read().endswith("\\n"):
        time.sleep(0.01)
    os.kill(int(open(path).read()), signal.SIGKILL)
    return call.get(timeout=30)

def error_of(kind, call):
    try:
        call()
    except kind as error:
        return str(error)

def large():
    data = bytes(range(256)) * 2**14
    same = reverse.remote(data) == data[::-1]
    folder = Places.of().shm
    return same, str(folder.parent) == os.environ["TMPDIR"], folder.is_dir(), oct(folder.stat().st_mode & 0o777)

def children():
    child, worker = leave_child.remote()
    os.kill(worker, signal.SIGKILL)
    for _ in range(1000):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return "gone"
        time.sleep(0.01)

def hub_killed():
    import json
    pid = json.loads(Places.of().connection_file.read_text())["pid"]
    call = square.spawn(12)
    os.kill(pid, signal.SIGKILL)
    return call.get(timeout=30), square.remote(3)

CHECKS = {
    "missing": missing.remote,
    "remote": lambda: square.remote(7),
    "map": lambda: list(square.map(range(10))),
    "large": large,
    "timeout": lambda: error_of(FunctionTimeoutError, slow.remote),
    "killed": killed,
    "crash": lambda: error_of(WorkerCrashed, crash.remote),
    "memory": lambda: error_of(WorkerCrashed, greedy.remote),
    "children": children,
    "hub killed": hub_killed,
}
for name, check in CHECKS.items():
    with app.run():
        print(name, "=", str(check()).replace(chr(10), " "), flush=True)
"""


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Variables of a process without Linux, with a home and a temporary directory of its own."""
    base = Path(tempfile.mkdtemp(prefix="nb-", dir="/tmp"))
    (base / "tmp").mkdir()
    variables = os.environ | {
        "NBFN_HOME": str(base / "home"),
        "TMPDIR": str(base / "tmp"),
        "NBFN_LAUNCHER": "subprocess",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "without_linux"), *sys.path]),
        "WITHOUT_LINUX_JOURNAL": str(base / "journal"),
    }
    variables.pop("XDG_RUNTIME_DIR", None)
    variables.pop("NBFN_HUB", None)
    try:
        yield variables
    finally:
        stop = [sys.executable, "-m", "nbfn", "hub", "stop"]
        subprocess.run(stop, env=variables, timeout=60, check=False, capture_output=True)
        left = processes_of(base / "home")
        segments = list((base / "tmp").glob("nbfn-*-shm-*"))
        shutil.rmtree(base)
        assert not left
        assert not segments, "the hub removes the directory of its segments"


@pytest.mark.slow
def test_calls_maps_kills_timeouts_prints_and_shared_memory(
    environment: dict[str, str], tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(HEAD + CHECKS)
    ran = subprocess.run(
        [sys.executable, str(program)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = dict(line.split(" = ", 1) for line in ran.stdout.splitlines() if " = " in line)
    assert told["missing"] == "([], False, False)"
    assert told["remote"] == "49"
    assert told["map"] == str([n * n for n in range(10)])
    assert all(f"square of {n}\n" in ran.stdout for n in range(10))
    assert told["large"] == "(True, True, True, '0o700')"
    assert "1 s" in told["timeout"]
    assert told["killed"] == "again"
    assert "SIGSEGV" in told["crash"]
    assert "Segmentation fault" in told["crash"]
    assert "step 1\nof a child\n" in ran.stdout
    assert "300 MiB" in told["memory"] or "300 MB" in told["memory"]
    assert told["children"] == "gone"
    assert told["hub killed"] == "(144, 9)"
    journal = Path(environment["WITHOUT_LINUX_JOURNAL"]).read_text()
    for part in ("nbfn hub start", "launchers.subprocess_server", "-m nbfn_kernel"):
        assert part in journal, "each kind of process runs without Linux"
    assert "launchers.forkserver" not in journal
    log = (Path(environment["NBFN_HOME"]) / "logs" / "hub.log").read_text()
    assert log.count("does not count towards limits") == 2, "once for each hub"
