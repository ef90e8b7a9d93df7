"""How a command ends: told to by a signal, or since nobody reads what it prints."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from nbfn.client import detached_apps

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
#: Exit codes: as a program that SIGPIPE ended.
BROKEN_PIPE = 128 + signal.SIGPIPE

_code = 0  # the exit code, where it is not the signal's own


@contextlib.contextmanager
def in_good_order() -> Iterator[None]:
    """Have SIGTERM, and SIGHUP of a terminal that is closed, end the block by SystemExit; twice, at once.

    What is ignored (``nohup``) stays so.
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    detached_apps.process_ends()
    raise SystemExit(_code or 128 + number)


def pipe_broke() -> None:
    """End the block of `in_good_order`: nobody reads what is printed. Any thread."""
    global _code
    _code = BROKEN_PIPE
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def nobody_reads() -> bool:
    """Return whether the output goes into a pipe that nobody reads any more."""
    try:
        poll = select.poll()
        poll.register(sys.stdout, 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError, AttributeError):
        return False


def flush() -> None:
    """Write what is still to be written; a pipe that nobody reads any more is no error."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:  # nor is it one at the interpreter's end
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except (OSError, ValueError):
            pass
