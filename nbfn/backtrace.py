"""Which frames of a traceback are the user's business: nbfn's own, at its beginning, are not.

``NBFN_TRACEBACK=1`` (or Modal's ``MODAL_TRACEBACK=1``) shows them all.
"""

from __future__ import annotations

import os
import sys
from types import FrameType, TracebackType

from nbfn.exception import Error

#: Packages whose code is never the user's.
OURS = frozenset({"nbfn", "nbfn_kernel"})
#: Modules in which nbfn waits: an interrupt comes there.
_WAITS = frozenset({"threading", "concurrent.futures._base", "asyncio.tasks", "asyncio.futures"})
#: What is said of an error that came out of nbfn itself and is none of those it raises on purpose.
HIDDEN = "nbfn's own frames are hidden; NBFN_TRACEBACK=1 shows them."


def hide(error: BaseException) -> None:
    """Take nbfn's own frames from the beginning of an error's traceback.

    For the outermost function of nbfn, in ``except BaseException as error: hide(error); raise``: the
    frames above it, which are the user's, are added as the error goes on its way.
    """
    if shown():
        return
    trace = error.__traceback__
    rest = after(trace)
    if rest is None and _is_unexpected(error) and HIDDEN not in getattr(error, "__notes__", ()):
        error.add_note(HIDDEN)
    error.__traceback__ = rest


def shown() -> bool:
    """Whether the user wants to see all frames."""
    return any(
        os.environ.get(name, "") not in ("", "0") for name in ("NBFN_TRACEBACK", "MODAL_TRACEBACK")
    )


def after(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback from its first frame on that is not nbfn's own."""
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in OURS and module not in _WAITS:
            break
        trace = trace.tb_next
    return trace


def _is_unexpected(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(
        error, (Error, TimeoutError, StopIteration, StopAsyncIteration)
    )


def users_level() -> int:
    """Return the stacklevel that makes a warning of our caller one of the user's own line."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _root(frame) in (*OURS, "IPython"):
        frame, level = frame.f_back, level + 1
    return level


def _root(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
