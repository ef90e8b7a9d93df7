"""Turns a process that user code forks into an ordinary process, without the worker's signal handlers.

Signals that the worker handles are blocked around each fork. One that reaches the child before its handlers are
reset stays pending and then ends the child; otherwise the worker's handler would swallow it.
"""

from __future__ import annotations

import asyncio.unix_events
import os
import signal
import threading
from collections.abc import Callable

#: Signals that a worker handles.
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

_forking = (
    threading.local()
)  # its ``mask``: the signal mask of a thread that forks, as it was before
#: What `loop.add_signal_handler` installs: it only writes to the loop's wakeup descriptor.
_LOOP_HANDLER = getattr(asyncio.unix_events, "_sighandler_noop", None)


def release_children(disown: Callable[[], None], own: Callable[[object], bool]) -> None:
    """Have every process that user code forks from now on behave as a child of an ordinary program.

    Args:
        disown: Makes the worker's state forget the input that runs; called in the child.
        own: Whether a signal handler is the worker's. The child keeps the handlers of user code.
    """

    def in_child() -> None:
        disown()
        signal.set_wakeup_fd(-1)  # an event loop's: a signal of the child would wake the worker's
        inherited = {number: signal.getsignal(number) for number in HANDLED}
        reset = [n for n, handler in inherited.items() if handler is _LOOP_HANDLER or own(handler)]
        for number in reset:
            signal.signal(number, signal.SIG_DFL)
        _unblock()
        if signal.SIGINT in reset:
            try:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            except KeyboardInterrupt:  # raised from here, it would be ignored
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGINT)

    os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=in_child)


def _block() -> None:
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)
