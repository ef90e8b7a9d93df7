"""Finds the frames and the globals of the code that a worker runs, for its consoles."""

from __future__ import annotations

import inspect
import sys
import threading
from types import FrameType
from typing import Any

from nbfn_kernel.worker.serial_executor import SerialExecutor

_AWAITED_ATTRIBUTES = ("cr_await", "ag_await", "gi_yieldfrom")


def frames(executor: SerialExecutor) -> list[FrameType]:
    """Return the frames of the running user code, innermost first; of concurrent inputs, those of all."""
    stacks = sys._current_frames()
    threads = [threading.main_thread(), *threading.enumerate()]
    wanted = [t.ident for t in threads if t is threads[0] or t.name == "nbfn-input"]
    found: list[FrameType] = []
    for ident in dict.fromkeys(wanted):
        found += _user_frames(stacks.get(ident or 0))
    if executor.concurrent is not None:
        for task in executor.concurrent.tasks():
            found += _awaited_frames(task.get_coro())
    return found


def _awaited_frames(awaitable: Any) -> list[FrameType]:
    """Return the frames of a suspended coroutine and of the coroutines that it awaits, innermost first."""
    found: list[FrameType] = []
    while awaitable is not None:
        for kind in ("cr", "ag", "gi"):  # coroutine, asynchronous generator, generator
            if (
                frame := getattr(awaitable, f"{kind}_frame", None)
            ) is not None and not _is_nbfn_frame(frame):
                found.insert(0, frame)
        awaitable = next(
            (
                getattr(awaitable, name)
                for name in _AWAITED_ATTRIBUTES
                if getattr(awaitable, name, None) is not None
            ),
            None,
        )
    return found


def _user_frames(frame: FrameType | None) -> list[FrameType]:
    found = []
    while frame is not None and not _is_nbfn_frame(frame):
        found.append(frame)
        frame = frame.f_back
    return found if frame is not None else []


def _is_nbfn_frame(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == "nbfn_kernel"


def global_names(executor: SerialExecutor) -> dict[str, Any]:
    """Return the globals of the Function; of a decorated function, those of the function it wraps."""
    for target in executor.loaded.targets.values() if executor.loaded is not None else ():
        found = inspect.unwrap(getattr(target.function, "__func__", target.function))
        if isinstance(names := getattr(found, "__globals__", None), dict):
            return names
    return vars(sys.modules["__main__"])


def function_name(executor: SerialExecutor) -> str:
    """Return the name of the Function that the worker runs."""
    return executor.loaded.definition.name if executor.loaded is not None else "no Function yet"
