"""Ends a command at SIGTERM, SIGHUP or a broken pipe, with the exit code of a shell."""

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
#: The exit code of a program that SIGPIPE ended.
BROKEN_PIPE = 128 + signal.SIGPIPE

_code = 0  # the exit code, if not that of the signal


@contextlib.contextmanager
def exit_on_signals() -> Iterator[None]:
    """Raise SystemExit in the block at SIGTERM and SIGHUP; a second signal ends the process.

    Ignored signals (``nohup``) stay ignored.
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, _on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _on_signal(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    detached_apps.note_process_end()
    raise SystemExit(_code or 128 + number)


def exit_on_broken_pipe() -> None:
    """End the block of `exit_on_signals` because stdout is a broken pipe; thread-safe."""
    global _code
    _code = BROKEN_PIPE
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def is_pipe_broken() -> bool:
    """Return whether stdout is a pipe whose reader has closed it."""
    try:
        poll = select.poll()
        poll.register(sys.stdout, 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError, AttributeError):
        return False


def flush() -> None:
    """Flush stdout and stderr; a broken pipe is not an error."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:  # so that the interpreter's own flush does not fail
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except (OSError, ValueError):
            pass
