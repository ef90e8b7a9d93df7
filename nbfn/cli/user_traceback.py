"""Prints errors of the user's code with their tracebacks."""

from __future__ import annotations

import traceback

from nbfn.runtime import traceback_filter


def show(error: BaseException) -> None:
    """Print an error with its traceback, without the frames of the command line."""
    inner = error.__traceback__
    while inner is not None and _is_internal(str(inner.tb_frame.f_globals.get("__name__"))):
        inner = inner.tb_next
    error.__traceback__ = inner
    traceback_filter.hide(error)
    traceback.print_exception(error)


def show_cause(error: BaseException) -> None:
    """Print the cause of an error, if the user's code raised it."""
    cause = error.__cause__
    if cause is not None and traceback_filter.after(cause.__traceback__) is not None:
        show(cause)


def _is_internal(module: str) -> bool:
    return f"{module}.".startswith(("nbfn.cli.", "importlib.", "click."))
