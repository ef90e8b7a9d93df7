"""Detached runs of Apps: when this process is ended, the calls that it waits for continue."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_running: set[str] = set()  # ids of Apps
_ending = False


@contextmanager
def detached(app_id: str) -> Iterator[None]:
    """Keep the calls of an App running if the process is ended inside the block, for example by Ctrl-C."""
    _running.add(app_id)
    ours = threading.current_thread() is threading.main_thread()
    # Another handler, such as that of a notebook, is not replaced.
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, _interrupted)
    try:
        yield
    finally:
        if ours and signal.getsignal(signal.SIGINT) is _interrupted:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupted(number: int, frame: FrameType | None) -> None:
    note_process_end()
    signal.default_int_handler(number, frame)


def note_process_end() -> None:
    """Note that this process is being ended: calls of detached runs are not cancelled from now on."""
    global _ending
    _ending = True


def is_detached(app_id: str) -> bool:
    """Return whether the calls of an App continue although this process ends."""
    return _ending and app_id in _running
