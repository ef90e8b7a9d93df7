"""The entry point of a worker process: the main thread runs inputs, a second thread exchanges messages with the hub."""

from __future__ import annotations

import asyncio.unix_events
import contextlib
import importlib.metadata
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

from nbfn.client.call_observer import set_observer
from nbfn.config import Places, Settings
from nbfn.context import enter_worker
from nbfn.protocol import codec
from nbfn.protocol.messages import input_id
from nbfn.protocol.transport import Link
from nbfn.protocol.worker_state import FINISHED, WorkerState
from nbfn.serialization.payload import Serializer
from nbfn_kernel.console.console_server import ConsoleServer
from nbfn_kernel.worker import display_shell, log_forwarding, output_capture, stdin
from nbfn_kernel.worker.hub_connection import HubConnection
from nbfn_kernel.worker.log_files import LogFiles
from nbfn_kernel.worker.nested_output import NestedCallObserver
from nbfn_kernel.worker.outbox import Outbox
from nbfn_kernel.worker.serial_executor import SerialExecutor

#: Seconds to wait for the last messages to be sent; the thread is joined for twice as long.
LINGER = 5.0
#: The largest display that is sent, in bytes.
MAX_DISPLAY = 12 * 1024 * 1024

_versions: dict[str, str] = {}


def preload() -> None:
    """Set up what every worker needs, without threads and sockets; a fork server calls it before it forks."""
    for name in ("nbfn", "cloudpickle"):
        try:
            _versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            _versions[name] = "0"
    with warnings.catch_warnings():  # of third-party packages; they may be configured as errors
        warnings.simplefilter("ignore")
        display_shell.create()


def main(memory: Any = None) -> None:
    """Run a worker until the hub or a signal ends it, or it has no hub for too long.

    Args:
        memory: The memory shared with the fork server; see `WorkerState`.
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
    executor = SerialExecutor(Serializer(places, worker), outbox, state)
    console_server = ConsoleServer(executor, outbox)
    connection = HubConnection(
        link, executor, outbox, Settings.load().hub_grace, _versions, console_server.open
    )
    thread = threading.Thread(target=connection.run, name="nbfn-link", daemon=True)
    _install_hooks(executor, outbox, connection)
    executor.install_signal_handlers()
    install(executor.reset_after_fork, executor.owns_handler)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM, signal.SIGINT})
    thread.start()  # it inherits the mask, so signals interrupt the system calls of this thread
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
    """Install the hooks that attribute prints, displays, log records and the context to the running input."""

    def emit(channel: str, data: bytes) -> None:
        if (console := output_capture.console_outputs.get(threading.get_ident())) is not None:
            console(channel, data.decode())
            return
        lease = executor.current_lease()
        if not lease and not output_capture.is_forwarding():
            return
        outbox.collect_files(lease)  # output that was written before it
        if len(data) <= MAX_DISPLAY:
            outbox.write_packed(lease, channel, data)
        else:
            note = f"[nbfn: a display of {len(data) // 2**20} MiB is too large to send]\n"
            outbox.write(lease, "stderr", note)

    enter_worker(input_id, executor.drain, lambda: connection.input_of(executor.current_lease()))
    display_shell.connect(emit)
    output_capture.install(outbox, executor.current_lease)
    stdin.install(executor.function_name)
    log_forwarding.install(outbox, executor.current_lease)
    set_observer(NestedCallObserver(executor.current_lease, outbox))


# --- after a fork --------------------------------------------------------------------------------

#: The signals that a worker handles.
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

_forking = threading.local()  # ``mask``: the signal mask of the forking thread before the fork
#: What `loop.add_signal_handler` installs: it only writes to the loop's wakeup descriptor.
_LOOP_HANDLER = getattr(asyncio.unix_events, "_sighandler_noop", None)


def install(reset_worker: Callable[[], None], owns_handler: Callable[[object], bool]) -> None:
    """Reset the worker's state and signal handlers in each process that user code forks from now on.

    Args:
        reset_worker: Drops the worker's state; called in the child.
        owns_handler: Returns whether a signal handler is the worker's. The child keeps handlers of user code.
    """

    def in_child() -> None:
        reset_worker()
        signal.set_wakeup_fd(
            -1
        )  # otherwise a signal of the child would wake the worker's event loop
        inherited = {number: signal.getsignal(number) for number in HANDLED}
        reset = [
            n
            for n, handler in inherited.items()
            if handler is _LOOP_HANDLER or owns_handler(handler)
        ]
        for number in reset:
            signal.signal(number, signal.SIG_DFL)
        _unblock()
        if signal.SIGINT in reset:
            try:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            except KeyboardInterrupt:  # an exception raised here would be ignored
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGINT)

    os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=in_child)


def _block() -> None:
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)
