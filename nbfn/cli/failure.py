"""Errors of the user's own code, printed as Python would."""

from __future__ import annotations

import traceback


def show(error: BaseException) -> None:
    """Print an error with its traceback, without the frames of the command line around it."""
    inner = error.__traceback__
    while inner is not None and _is_ours(str(inner.tb_frame.f_globals.get("__name__"))):
        inner = inner.tb_next
    traceback.print_exception(error.with_traceback(inner or error.__traceback__))


def _is_ours(module: str) -> bool:
    return f"{module}.".startswith(("nbfn.cli.", "importlib.", "click."))
