"""Opens Jupyter channels for consoles on a worker, on request.

`console_kernel`, which serves them, is imported when the first console is opened.
"""

from __future__ import annotations

import importlib
import os
import threading
from pathlib import Path

from nbfn.config import Places
from nbfn.protocol.messages import ConsoleOpened
from nbfn_kernel.session import remote_session
from nbfn_kernel.worker.outbox import Outbox
from nbfn_kernel.worker.serial_executor import SerialExecutor


class ConsoleServer:
    """Opens the channels at the first request; any number of consoles may use them.

    Args:
        executor: The executor of this worker.
        outbox: Queues the replies for the hub.
    """

    def __init__(self, executor: SerialExecutor, outbox: Outbox) -> None:
        self._executor = executor
        self._outbox = outbox
        self._file: Path | None = None
        self._requests: list[int] = []  # pending requests
        self._lock = threading.Lock()

    def open(self, request: int) -> None:
        """Open the channels unless they are open, and reply to the request; does not block."""
        remote_session.remove_stale_files(Places.of().runtime)
        with self._lock:
            self._requests.append(request)
            if self._file is not None:
                self._answer(str(self._file), "")
            elif len(self._requests) == 1:
                threading.Thread(target=self._serve, name="nbfn-console", daemon=True).start()

    def close(self) -> None:
        """Remove the connection file and sockets; called when the worker ends."""
        if self._file is not None:
            remote_session.remove_files(self._file.with_suffix(""))

    def _serve(self) -> None:
        base = Places.of().runtime / f"c{os.getpid()}"
        try:
            remote_session.remove_files(base)
            app = importlib.import_module(
                "nbfn_kernel.console.console_kernel"
            ).ConsoleApp.open_channels(base, self._executor)
        except Exception as error:  # noqa: BLE001 - any error is reported to the client
            with self._lock:
                self._answer("", f"{type(error).__name__}: {error}")
            return
        with self._lock:
            self._file = Path(app.abs_connection_file)
            self._answer(str(self._file), "")
        app.start()

    def _answer(self, file: str, error: str) -> None:
        for request in self._requests:
            self._outbox.put(ConsoleOpened(request, file, error))
        self._requests.clear()
        self._outbox.send_now()
