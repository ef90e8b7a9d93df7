"""Removes the leading frames of nbfn from the tracebacks that users see.

``NBFN_TRACEBACK=1`` (or Modal's ``MODAL_TRACEBACK=1``) keeps all frames.
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

#: The packages of nbfn itself.
OURS = frozenset({"nbfn", "nbfn_kernel"})
#: Modules that nbfn calls to wait, where an interrupt is raised, or to pickle.
_WITHIN = frozenset({
    "threading", "concurrent.futures._base", "asyncio.tasks", "asyncio.futures", "cloudpickle.cloudpickle",
})  # fmt: skip
#: The note on an unexpected error, raised in nbfn's own code, that is not one of its exceptions.
HIDDEN = "nbfn's own frames are hidden; NBFN_TRACEBACK=1 shows them."


def hide(error: BaseException, *, on_purpose: tuple[type[Exception], ...] = ()) -> None:
    """Remove the leading frames of nbfn from the traceback of an error, its causes and its contexts.

    The outermost function of nbfn calls it: ``except BaseException as error: hide(error); raise``.
    Python adds the frames of the user's code while the error propagates.

    Args:
        error: The error.
        on_purpose: Types of errors that the caller raises deliberately, besides those of
            `nbfn.exception`. They get no note that frames are hidden.
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
    """Decorate a public function: hide the frames of nbfn in the errors that it raises, as `hide` does."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            hide(error, on_purpose=(TypeError,))  # raised for wrong arguments
            raise

    return cast("F", call)


def trimmed_init(cls: type[T]) -> type[T]:
    """Decorate a class: hide the frames of nbfn in the errors of its constructor, as `trimmed` does."""
    setattr(cls, "__init__", trimmed(cls.__init__))  # noqa: B010 - mypy refuses the assignment
    return cls


def shown() -> bool:
    """Return whether tracebacks show all frames, as set by ``NBFN_TRACEBACK`` or ``MODAL_TRACEBACK``."""
    return any(
        os.environ.get(name, "") not in ("", "0") for name in ("NBFN_TRACEBACK", "MODAL_TRACEBACK")
    )


def after(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without its leading frames of nbfn; None if it has no others."""
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
    """Return the ``stacklevel`` with which a warning of the caller names the line of the user's code."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _root(frame) in (*OURS, "IPython"):
        frame, level = frame.f_back, level + 1
    return level


def _root(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
