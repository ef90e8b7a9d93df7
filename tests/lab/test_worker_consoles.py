"""A console on a worker as a kernel of the Jupyter server: a real worker, and the server's own kernel manager."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

import nbfn
from nbfn.client.client import Client
from nbfn.exception import NotFoundError
from nbfn.jupyter.server.worker_consoles import WorkerConsoles
from nbfn.protocol.messages import WorkerRow
from tests.conftest import a_home, wait_until

app = nbfn.App("consoles")
level = 5


@app.function(serialized=True, max_containers=1)
def busy(seconds: float) -> float:
    time.sleep(seconds)
    return level


@pytest.fixture(scope="module", autouse=True)
def home() -> Iterator[Path]:
    with a_home() as base:
        yield base


@pytest.fixture
def worker() -> WorkerRow:
    busy.keep_warm(1)
    rows = Client.attach().overview
    mine = lambda: [r for r in rows().workers if r.function == "busy" and r.state == "idle"]  # noqa: E731
    wait_until(mine, 60)
    return mine()[0]


@pytest.fixture
def kernels(jp_asyncio_loop: Any) -> Iterator[AsyncMappingKernelManager]:
    made = AsyncMappingKernelManager()
    yield made
    jp_asyncio_loop.run_until_complete(made.shutdown_all())


@pytest.fixture
def consoles(kernels: AsyncMappingKernelManager) -> WorkerConsoles:
    return WorkerConsoles(kernels)


async def opened(consoles: WorkerConsoles, worker: WorkerRow) -> str:
    client = await Client.attach.aio()
    file = await client.attach_console.aio(worker.id)
    return consoles.open(worker.id, worker.pid, file)


async def value(manager: Any, code: str) -> str:
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(20)
        heard: list[Any] = []
        reply = await client.execute_interactive(code, timeout=20, output_hook=heard.append)
        assert reply["content"]["status"] == "ok", reply["content"]
    finally:
        client.stop_channels()
    return "".join(m["content"]["data"]["text/plain"] for m in heard if "data" in m["content"])


async def until(holds: Any, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.05)


async def test_it_runs_code_in_the_worker_and_two_requests_share_one_kernel(
    consoles: WorkerConsoles, kernels: AsyncMappingKernelManager, worker: WorkerRow
) -> None:
    kernel_id = await opened(consoles, worker)
    assert await opened(consoles, worker) == kernel_id
    assert [kernel["id"] for kernel in kernels.list_kernels()] == [kernel_id]
    assert await value(kernels.get_kernel(kernel_id), "import os; os.getpid()") == str(worker.pid)


async def test_an_interrupt_stops_its_code_and_not_the_worker(
    consoles: WorkerConsoles, kernels: AsyncMappingKernelManager, worker: WorkerRow
) -> None:
    manager = kernels.get_kernel(await opened(consoles, worker))
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready(20)
    client.execute("import time\nwhile True: time.sleep(0.01)")
    await until(lambda: manager.execution_state == "busy")
    await kernels.interrupt_kernel(manager.kernel_id)
    reply = await client.get_shell_msg(timeout=20)
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    client.stop_channels()
    assert await busy.remote.aio(0) == level


async def test_shutting_it_down_leaves_the_worker_and_its_sockets(
    consoles: WorkerConsoles, kernels: AsyncMappingKernelManager, worker: WorkerRow
) -> None:
    first = await opened(consoles, worker)
    await kernels.shutdown_kernel(first)
    assert first not in kernels
    again = await opened(consoles, worker)
    assert again != first
    assert await value(kernels.get_kernel(again), "1 + 1") == "2"
    with pytest.raises(RuntimeError, match="cannot be restarted"):
        await kernels.restart_kernel(again)


async def test_when_the_worker_is_killed_clients_learn_that_the_kernel_is_dead(
    consoles: WorkerConsoles, kernels: AsyncMappingKernelManager, worker: WorkerRow
) -> None:
    kernel_id = await opened(consoles, worker)
    died: list[bool] = []
    kernels.add_restart_callback(kernel_id, lambda: died.append(True), "dead")
    os.kill(worker.pid, signal.SIGKILL)
    await until(lambda: kernel_id not in kernels)
    assert died == [True]
    with pytest.raises(NotFoundError, match="has ended"):
        consoles.open(worker.id, worker.pid, "/nowhere/connection.json")
