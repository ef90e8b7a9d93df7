"""Which frames of a traceback are the user's business: nbfn's own, at its beginning, are not.

``NBFN_TRACEBACK=1`` (or Modal's ``MODAL_TRACEBACK=1``) shows them all.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar, cast

from nbfn.exception import Error

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

#: Packages whose code is never the user's.
OURS = frozenset({"nbfn", "nbfn_kernel"})
#: Modules in which nbfn waits, where an interrupt comes, or which do its pickling.
_WITHIN = frozenset({
    "threading", "concurrent.futures._base", "asyncio.tasks", "asyncio.futures", "cloudpickle.cloudpickle",
})  # fmt: skip
#: The note on an error of nbfn's own code that is not one of its exceptions.
HIDDEN = "nbfn's own frames are hidden; NBFN_TRACEBACK=1 shows them."


def hide(error: BaseException, *, on_purpose: tuple[type[Exception], ...] = ()) -> None:
    """Take nbfn's own frames from the beginning of an error's traceback, and of those that led to it.

    For the outermost function of nbfn, in ``except BaseException as error: hide(error); raise``: the
    frames above it, which are the user's, are added while the error propagates.

    Args:
        error: The error.
        on_purpose: Kinds of errors that nbfn raises there, besides its own: they are no defects.
    """
    if shown():
        return
    rest = after(error.__traceback__)
    defect = _is_unexpected(error) and not isinstance(error, on_purpose)
    if rest is None and defect and HIDDEN not in getattr(error, "__notes__", ()):
        error.add_note(HIDDEN)
    error.__traceback__ = rest
    seen, pending = {id(error)}, [error.__cause__, error.__context__]
    while pending:
        before = pending.pop()
        if before is not None and id(before) not in seen:
            seen.add(id(before))
            before.__traceback__ = after(before.__traceback__)
            pending += [before.__cause__, before.__context__]


def trimmed(function: F) -> F:
    """Make a public function one whose errors show none of nbfn's own frames, as `hide` does."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            hide(error, on_purpose=(TypeError,))  # of arguments
            raise

    return cast("F", call)


def trimmed_init(cls: type[T]) -> type[T]:
    """Do for the constructor of a class what `trimmed` does for a function."""
    setattr(cls, "__init__", trimmed(cls.__init__))  # noqa: B010 - mypy refuses the assignment
    return cls


def shown() -> bool:
    """Whether the user wants to see all frames."""
    return any(
        os.environ.get(name, "") not in ("", "0") for name in ("NBFN_TRACEBACK", "MODAL_TRACEBACK")
    )


def after(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback from its first frame on that is not nbfn's own."""
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in OURS and module not in _WITHIN:
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
