"""A worker that an earlier hub's worker server started. Its exit code and last lease are not known."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import psutil

from nbfn.hub.launchers.base import Exit


class AdoptedWorker:
    """Watches and ends one such worker.

    Args:
        worker: Its id.
        pid: Its process.
        on_end: Called by another thread when it has ended.

    Raises:
        psutil.Error: If there is no such process.
    """

    def __init__(self, worker: str, pid: int, on_end: Callable[[AdoptedWorker], None]) -> None:
        self._worker = worker
        self._process = psutil.Process(
            pid
        )  # compares start times, so a reused pid is not mistaken for it
        self._stop_requested = False
        self._kill_at = float("inf")
        self._on_end = on_end
        threading.Thread(target=self._wait, name="nbfn-adopted", daemon=True).start()

    def _wait(self) -> None:
        with contextlib.suppress(psutil.Error):
            self._process.wait()
        self._on_end(self)

    def pid(self, _worker: str) -> int:
        """Return its pid."""
        return int(self._process.pid)

    def stop(self, _worker: str, grace: float) -> None:
        """See `Launcher.stop`."""
        self._stop_requested = True
        self._kill_at = min(self._kill_at, time.monotonic() + grace)
        with contextlib.suppress(psutil.Error):
            self._process.terminate()

    def kill_if_overdue(self, now: float) -> None:
        """Kill it when its grace period is over."""
        if now >= self._kill_at:
            self._kill_at = float("inf")
            with contextlib.suppress(psutil.Error):
                self._process.kill()

    def report(self) -> Exit:
        """Return what is known of its end."""
        return Exit(self._worker, ordered=self._stop_requested)
