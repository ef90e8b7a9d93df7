"""Entry point of a worker process: the main thread runs inputs, a second thread talks to the hub."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import signal
import sys
import threading
import warnings
from typing import Any

from nbfn.client.call_observer import set_observer
from nbfn.config import Places, Settings
from nbfn.context import enter_worker
from nbfn.protocol import codec
from nbfn.protocol.messages import input_id
from nbfn.protocol.transport import Link
from nbfn.protocol.worker_state import FINISHED, WorkerState
from nbfn.serialization.payload import Carrier
from nbfn_kernel.console.console_server import ConsoleServer
from nbfn_kernel.worker import display_shell, fork_handlers, log_forwarding, output_capture, stdin
from nbfn_kernel.worker.hub_connection import HubConnection
from nbfn_kernel.worker.log_files import LogFiles
from nbfn_kernel.worker.nested_output import NestedCallObserver
from nbfn_kernel.worker.outbox import Outbox
from nbfn_kernel.worker.serial_executor import SerialExecutor

#: Seconds the last messages have to leave.
LINGER = 5.0
#: Bytes of the largest display that is sent.
MAX_DISPLAY = 12 * 1024 * 1024

_versions: dict[str, str] = {}


def preload() -> None:
    """Do what every worker needs, before a fork server forks: no thread, no socket."""
    for name in ("nbfn", "cloudpickle"):
        try:
            _versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            _versions[name] = "0"
    with warnings.catch_warnings():  # those of other people's packages, which may be errors here
        warnings.simplefilter("ignore")
        display_shell.create()


def main(memory: Any = None) -> None:
    """Run a worker until the hub, a signal or the loss of the hub ends it.

    Args:
        memory: Shared with the fork server; see `WorkerState`.
    """
    logging.getLogger("nbfn").addHandler(logging.StreamHandler(sys.__stderr__))
    worker = os.environ["NBFN_WORKER"]
    places = Places.of()
    os.environ.update(
        MODAL_TASK_ID=worker,
        MODAL_IS_REMOTE="1",
        MODAL_CLOUD_PROVIDER="local",
        MODAL_REGION="local",
        MPLBACKEND="module://matplotlib_inline.backend_inline",
    )
    link = Link(os.environ.get("NBFN_HUB", places.endpoint), codec.TO_WORKER)
    state = WorkerState(memory)
    outbox = Outbox(link.wake, state, LogFiles())
    executor = SerialExecutor(Carrier(places, worker), outbox, state)
    console_server = ConsoleServer(executor, outbox)
    connection = HubConnection(
        link, executor, outbox, Settings.load().hub_grace, _versions, console_server.open
    )
    thread = threading.Thread(target=connection.run, name="nbfn-link", daemon=True)
    _install_hooks(executor, outbox, connection)
    executor.take_signals()
    fork_handlers.release_children(executor.disown, executor.handles)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM, signal.SIGINT})
    thread.start()  # it inherits the mask, so signals come to this thread, in its system calls too
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1, signal.SIGTERM, signal.SIGINT})
    executor.run()
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    state.numbers[FINISHED] = 1
    connection.finish()
    console_server.close()
    thread.join(2 * LINGER)
    with contextlib.suppress(Exception):
        logging.shutdown()


def _install_hooks(executor: SerialExecutor, outbox: Outbox, connection: HubConnection) -> None:
    """Attribute prints, displays, logs and the context to the input that runs."""

    def emit(channel: str, data: bytes) -> None:
        if (console := output_capture.diverted.get(threading.get_ident())) is not None:
            console(channel, data.decode())
            return
        lease = executor.lease()
        if not lease and not output_capture.is_forwarding():
            return
        outbox.collect_files(lease)  # what was written before it
        if len(data) <= MAX_DISPLAY:
            outbox.write_packed(lease, channel, data)
        else:
            note = f"[nbfn: a display of {len(data) // 2**20} MiB is too large to send]\n"
            outbox.write(lease, "stderr", note)

    enter_worker(input_id, executor.drain, lambda: connection.input_of(executor.lease()))
    display_shell.connect(emit)
    output_capture.install(outbox, executor.lease)
    stdin.install(executor.name)
    log_forwarding.install(outbox, executor.lease)
    set_observer(NestedCallObserver(executor.lease, outbox))
