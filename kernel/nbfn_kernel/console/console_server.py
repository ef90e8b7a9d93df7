"""Opens a worker's Jupyter channels for consoles, on request, and finds what consoles show.

The kernel behind the channels is `console_kernel`, which is imported when the first console is opened.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from nbfn.config import Places
from nbfn.wire.messages import ConsoleOpened
from nbfn_kernel.session import remote_session
from nbfn_kernel.worker.outbox import Outbox
from nbfn_kernel.worker.serial_executor import SerialExecutor

_NEXT = ("cr_await", "ag_await", "gi_yieldfrom")


class ConsoleServer:
    """Opens a worker's Jupyter channels once; any number of consoles may use them.

    Args:
        executor: Of this worker.
        outbox: Takes the answers.
    """

    def __init__(self, executor: SerialExecutor, outbox: Outbox) -> None:
        self._executor = executor
        self._outbox = outbox
        self._file: Path | None = None
        self._asked: list[int] = []  # requests that wait for it to open
        self._lock = threading.Lock()

    def open(self, request: int) -> None:
        """Open the channels unless they are open, then answer the request. Does not block."""
        remote_session.sweep(Places.of().runtime)
        with self._lock:
            self._asked.append(request)
            if self._file is not None:
                self._answer(str(self._file), "")
            elif len(self._asked) == 1:
                threading.Thread(target=self._serve, name="nbfn-console", daemon=True).start()

    def close(self) -> None:
        """Remove the files when the worker ends."""
        if self._file is not None:
            remote_session.remove_files(self._file.with_suffix(""))

    def _serve(self) -> None:
        base = Places.of().runtime / f"c{os.getpid()}"
        try:
            remote_session.remove_files(base)
            app = importlib.import_module("nbfn_kernel.console.console_kernel").ConsoleApp.opened(
                base, self._executor
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, who asked is to hear of it
            with self._lock:
                self._answer("", f"{type(error).__name__}: {error}")
            return
        with self._lock:
            self._file = Path(app.abs_connection_file)
            self._answer(str(self._file), "")
        app.start()

    def _answer(self, file: str, error: str) -> None:
        for request in self._asked:
            self._outbox.put(ConsoleOpened(request, file, error))
        self._asked.clear()
        self._outbox.hurry()


def frames(executor: SerialExecutor) -> list[FrameType]:
    """Return the frames of the user's code that runs, innermost first; of inputs at once, those of all."""
    stacks = sys._current_frames()
    threads = [threading.main_thread(), *threading.enumerate()]
    wanted = [t.ident for t in threads if t is threads[0] or t.name == "nbfn-input"]
    found: list[FrameType] = []
    for ident in dict.fromkeys(wanted):
        found += _users(stacks.get(ident or 0))
    if executor.concurrent is not None:
        for task in executor.concurrent.tasks():
            found += _awaiting(task.get_coro())
    return found


def _awaiting(waiting: Any) -> list[FrameType]:
    """Return the frames of a suspended coroutine and of what it awaits, innermost first."""
    found: list[FrameType] = []
    while waiting is not None:
        for kind in ("cr", "ag", "gi"):  # coroutine, asynchronous generator, generator
            if (frame := getattr(waiting, f"{kind}_frame", None)) is not None and not _is_ours(
                frame
            ):
                found.insert(0, frame)
        waiting = next(
            (getattr(waiting, name) for name in _NEXT if getattr(waiting, name, None) is not None),
            None,
        )
    return found


def _users(frame: FrameType | None) -> list[FrameType]:
    found = []
    while frame is not None and not _is_ours(frame):
        found.append(frame)
        frame = frame.f_back
    return found if frame is not None else []


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == "nbfn_kernel"


def names_of(executor: SerialExecutor) -> dict[str, Any]:
    """Return the globals of what the worker runs; of a decorated function those of what it wraps."""
    for target in executor.loaded.targets.values() if executor.loaded is not None else ():
        found = inspect.unwrap(getattr(target.function, "__func__", target.function))
        if isinstance(names := getattr(found, "__globals__", None), dict):
            return names
    return vars(sys.modules["__main__"])


def about(executor: SerialExecutor) -> str:
    """Return whose names a console sees."""
    return executor.loaded.definition.name if executor.loaded is not None else "no Function yet"
