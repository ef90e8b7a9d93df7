"""Resets the worker's signal handlers in processes that user code forks.

Signals that the worker handles are blocked around each fork. A signal that reaches the child before its handlers are
reset stays pending and then ends the child; without the block, the worker's handler would ignore it.
"""

from __future__ import annotations

import asyncio.unix_events
import os
import signal
import threading
from collections.abc import Callable

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
