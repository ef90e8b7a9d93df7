"""Runs of Apps that go on after this process: when it is ended, what it waits for is left, not cancelled."""

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
    """Let an App go on if the process is ended inside the block, by Ctrl-C above all."""
    _running.add(app_id)
    ours = threading.current_thread() is threading.main_thread()
    # Another handler, a notebook's, say, has reasons of its own.
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, _interrupted)
    try:
        yield
    finally:
        if ours and signal.getsignal(signal.SIGINT) is _interrupted:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupted(number: int, frame: FrameType | None) -> None:
    process_ends()
    signal.default_int_handler(number, frame)


def process_ends() -> None:
    """Note that this process is being ended: what is given up from now on was not meant to be cancelled."""
    global _ending
    _ending = True


def goes_on(app_id: str) -> bool:
    """Return whether the calls of an App go on though nobody here waits for them any more."""
    return _ending and app_id in _running
