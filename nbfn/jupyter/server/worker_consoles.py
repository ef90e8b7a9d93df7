"""Consoles on workers as kernels of the Jupyter server, so that JupyterLab's own console can use them.

The kernel is the thread that a worker serves (`nbfn_kernel.console`), not a process of the server: shutting it down
only disconnects, and when the worker ends, clients are told that the kernel is dead.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.kernelspec import KernelSpec
from jupyter_server.prometheus.metrics import KERNEL_CURRENTLY_RUNNING_TOTAL
from jupyter_server.services.kernels.kernelmanager import MappingKernelManager, ServerKernelManager

from nbfn.exception import NotFoundError

#: Seconds between two checks whether the workers of consoles still run.
CHECK_INTERVAL = 1.0
#: The name of these kernels; there is no kernelspec of that name, so they are not offered for notebooks.
KERNEL_NAME = "nbfn-worker"


class WorkerKernelManager(ServerKernelManager):
    """Connects to the console of one worker."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(owns_kernel=False, kernel_name=KERNEL_NAME, **kwargs)
        self._callbacks: dict[str, list[Callable[[], object]]] = {"restart": [], "dead": []}
        self._has_ended = False

    @property
    def kernel_spec(self) -> KernelSpec:
        """A description of the kernel for the server; it cannot be started from it."""
        return KernelSpec(display_name="nbfn worker", language="python", interrupt_mode="message")

    async def is_alive(self) -> bool:  # type: ignore[override]
        """Return whether the worker runs."""
        return not self._has_ended

    async def interrupt_kernel(self) -> None:  # type: ignore[override]
        """Interrupt code of the console; what the worker runs for calls is not interrupted."""
        self._connect_control_socket()
        self.session.send(self._control_socket, self.session.msg("interrupt_request", content={}))

    async def shutdown_kernel(self, *_args: Any, **_more: Any) -> None:  # type: ignore[override]
        """Disconnect; the worker continues."""
        self._close_control_socket()

    async def restart_kernel(self, *_args: Any, **_more: Any) -> None:  # type: ignore[override]
        """Refuse: the worker runs inputs of others."""
        raise RuntimeError("The console of a worker cannot be restarted. Stop the worker instead.")

    def add_restart_callback(self, callback: Callable[[], object], event: str = "restart") -> None:
        """Call back when the worker has ended (event ``dead``); it never restarts."""
        self._callbacks[event].append(callback)

    def remove_restart_callback(
        self, callback: Callable[[], object], event: str = "restart"
    ) -> None:
        """Undo `add_restart_callback`."""
        if callback in self._callbacks[event]:
            self._callbacks[event].remove(callback)

    def handle_worker_end(self) -> None:
        """Tell clients that the kernel is dead."""
        self._has_ended = True
        self._close_control_socket()
        self.execution_state = "dead"
        for callback in list(self._callbacks["dead"]):
            callback()


class WorkerConsoles:
    """The consoles that are open, one kernel for each worker.

    Args:
        kernels: The kernel manager of the Jupyter server.
    """

    def __init__(self, kernels: Any) -> None:
        self._kernels = kernels
        self._open: dict[str, tuple[str, psutil.Process]] = {}  # worker → (kernel id, its process)
        self._watch_task: asyncio.Task[None] | None = None

    def open(self, worker: str, pid: int, connection_file: str) -> str:
        """Return the id of the kernel of a worker's console.

        Args:
            worker: The worker's id.
            pid: The id of its process.
            connection_file: The connection file of its console.

        Returns:
            The id of the kernel; the same one while the console is open.

        Raises:
            NotFoundError: If the worker has ended, or the server's kernels run elsewhere.
        """
        if _are_remote(self._kernels):
            raise NotFoundError(
                "The kernels of this Jupyter server run elsewhere. In a terminal: "
                f"jupyter console --existing {connection_file}"
            )
        known, _ = self._open.get(worker, ("", None))
        if known in self._kernels:
            return known
        try:
            process = psutil.Process(pid)
            info = json.loads(Path(connection_file).read_text("utf-8"))
        except (psutil.NoSuchProcess, OSError) as error:
            raise NotFoundError(f"Worker {worker} has ended.") from error
        kernel_id = self._connect(info)
        self._open[worker] = (kernel_id, process)
        if self._watch_task is None:
            self._watch_task = asyncio.create_task(self._watch())
        return kernel_id

    async def close(self) -> None:
        """Stop watching the workers."""
        if self._watch_task is not None:
            self._watch_task.cancel()
            await asyncio.wait([self._watch_task])

    def _connect(self, info: Any) -> str:
        kernel_id = str(uuid.uuid4())
        manager = WorkerKernelManager(
            parent=self._kernels, log=self._kernels.log, context=self._kernels.context
        )
        manager.load_connection_info(info)
        manager.kernel_id = kernel_id
        manager.execution_state = "idle"
        manager.last_activity = datetime.now(UTC)
        manager.ready.set_result(None)
        # As `MultiKernelManager.list_kernel_ids` adds external kernels.
        self._kernels._kernels[kernel_id] = manager
        self._kernels._kernel_connections[kernel_id] = 0
        self._kernels.start_watching_activity(kernel_id)
        KERNEL_CURRENTLY_RUNNING_TOTAL.labels(type=KERNEL_NAME).inc()
        return kernel_id

    async def _watch(self) -> None:
        while self._open:
            await asyncio.sleep(CHECK_INTERVAL)
            for worker, (kernel_id, process) in list(self._open.items()):
                if kernel_id not in self._kernels:  # shut down by its user
                    del self._open[worker]
                elif not _runs(process):
                    del self._open[worker]
                    self._end(kernel_id)
        self._watch_task = None

    def _end(self, kernel_id: str) -> None:
        manager = self._kernels.get_kernel(kernel_id)
        manager.handle_worker_end()
        self._kernels.stop_watching_activity(kernel_id)
        self._kernels.remove_kernel(kernel_id)
        KERNEL_CURRENTLY_RUNNING_TOTAL.labels(type=KERNEL_NAME).dec()


def _are_remote(kernels: object) -> bool:
    """Whether kernels are managed by another server, through a gateway."""
    from jupyter_server.gateway.managers import GatewayMappingKernelManager  # only for consoles

    is_remote = isinstance(kernels, GatewayMappingKernelManager)
    return is_remote or not isinstance(kernels, MappingKernelManager)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
