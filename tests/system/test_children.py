"""Processes that user code starts inside a Function behave as those of an ordinary program."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import shared_memory
from multiprocessing.context import ForkProcess
from pathlib import Path

import loky
import psutil
import pytest

import nbfn
from tests.conftest import wait_until

TRIES = 20

app = nbfn.App()


def fork_and_send(number: int) -> int:
    """Fork a child that sleeps, send it a signal at once, and return how it ended; 0 if that did not end it."""
    child = os.fork()
    if not child:
        time.sleep(30)
        os._exit(0)
    os.kill(child, number)
    ends = time.monotonic() + 2
    while time.monotonic() < ends:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 0


@app.function(name="terminate_at_once")
def terminate_at_once() -> Counter[int | None]:
    codes: Counter[int | None] = Counter()
    for _ in range(TRIES):
        child = ForkProcess(target=time.sleep, args=(30,))
        child.start()
        child.terminate()
        child.join(2)
        codes[child.exitcode] += 1
        child.kill()
    return codes


def test_a_child_that_is_terminated_right_after_its_start_ends(home: Path) -> None:
    assert terminate_at_once.remote() == {-signal.SIGTERM: TRIES}


@app.function(name="open_and_close_pools", timeout=30)
def open_and_close_pools() -> str:
    for _ in range(TRIES):
        with multiprocessing.get_context("fork").Pool(2):
            pass
    return "closed"


def test_a_pool_that_is_closed_at_once_does_not_hang(home: Path) -> None:
    assert open_and_close_pools.remote() == "closed"


@app.function(name="signal_children")
def signal_children(number: int) -> Counter[int]:
    return Counter(fork_and_send(number) for _ in range(TRIES))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_to_a_new_child_has_its_usual_effect(home: Path, number: signal.Signals) -> None:
    assert signal_children.remote(number) == {-number: TRIES}


@app.function(name="interrupt_children")
def interrupt_children() -> int:
    return sum(fork_and_send(signal.SIGINT) in {-signal.SIGINT, 1, 130} for _ in range(TRIES))


def test_an_interrupt_ends_a_new_child(home: Path) -> None:
    """But for one that Python itself passes over, since it comes while a module's hook runs after the fork."""
    assert interrupt_children.remote() > TRIES // 2


@app.function(name="signal_beside_a_loop")
@nbfn.concurrent(max_inputs=4)
async def signal_beside_a_loop() -> tuple[int, Counter[int]]:
    codes = Counter(fork_and_send(signal.SIGTERM) for _ in range(TRIES))
    await asyncio.sleep(0.2)  # a turn of the loop, which would hear of a signal
    return os.getpid(), codes


def test_a_signal_to_a_child_does_not_reach_the_event_loop_of_its_parent(home: Path) -> None:
    first, codes = signal_beside_a_loop.remote()
    assert codes == {-signal.SIGTERM: TRIES}
    assert signal_beside_a_loop.remote()[0] == first, "the worker lived on"


@app.function(name="keep_handler_and_mask")
def keep_handler_and_mask() -> tuple[int, str, str]:
    before = signal.signal(signal.SIGTERM, lambda *_: os._exit(55))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        here, there = os.pipe()
        child = os.fork()
        if not child:
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
            os.write(there, str(sorted(mask)).encode())
            time.sleep(30)
        told = os.read(here, 1000).decode()
        os.kill(child, signal.SIGTERM)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        mine = str(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
        return code, told, mine
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
        signal.signal(signal.SIGTERM, before)


def test_a_child_inherits_the_handlers_and_the_mask_that_user_code_set(home: Path) -> None:
    mask = str([signal.SIGUSR2])
    assert keep_handler_and_mask.remote() == (55, mask, mask)


@app.function(name="squares_by")
def squares_by(kind: str) -> list[int]:
    numbers = range(-3, 3)
    if kind == "executor":
        with ProcessPoolExecutor(2) as executor:
            return list(executor.map(abs, numbers))
    if kind == "loky":
        return list(loky.get_reusable_executor(2).map(abs, numbers))
    with multiprocessing.get_context(kind).Pool(2) as pool:
        return pool.map(abs, numbers)


@pytest.mark.parametrize("kind", ["fork", "spawn", "forkserver", "executor", "loky"])
def test_pools_of_processes_work_inside_a_function(home: Path, kind: str) -> None:
    assert squares_by.remote(kind) == [3, 2, 1, 0, 1, 2]


@app.function(name="double")
def double(number: int) -> int:
    return number * 2


@app.function(name="call_from_child")
def call_from_child() -> bytes:
    double.remote(1)  # the worker's own connection is there before the fork
    here, there = os.pipe()
    child = os.fork()
    if not child:
        os.write(there, str(double.remote(21)).encode())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    return os.read(here, 100)


def test_a_child_may_call_functions(home: Path) -> None:
    assert call_from_child.remote() == b"42"


@app.function(name="leave_a_child")
def leave_a_child() -> tuple[int, int]:
    child = os.fork()
    if not child:
        os.setsid()
        time.sleep(600)
    return os.getpid(), child


def test_a_child_lives_on_after_its_input_and_ends_with_its_worker(home: Path) -> None:
    worker, child = leave_a_child.remote()
    assert psutil.Process(child).status() != psutil.STATUS_ZOMBIE
    os.kill(worker, signal.SIGTERM)
    wait_until(lambda: not psutil.pid_exists(child))


@app.function(name="use_shared_resources")
def use_shared_resources() -> tuple[int, str]:
    list(loky.get_reusable_executor(2).map(abs, range(3)))  # makes semaphores
    queue = multiprocessing.get_context("spawn").Queue()
    queue.put(1)
    return os.getpid(), shared_memory.SharedMemory(create=True, size=1000).name


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_shared_memory_and_semaphores_go_with_the_worker(
    home: Path, number: signal.Signals
) -> None:
    def there() -> set[str]:
        names = {path.name for path in Path("/dev/shm").iterdir()}
        return {name for name in names if name.startswith(("sem.", "psm_", "loky-"))}

    before = there()
    worker, name = use_shared_resources.remote()
    assert name in there()
    os.kill(worker, number)
    wait_until(lambda: not psutil.pid_exists(worker))
    wait_until(lambda: there() <= before)
