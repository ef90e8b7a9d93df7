"""Removes nbfn's own frames from tracebacks: they show the user's call, then the user's remote code."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from nbfn.exception import Detached, Error
from nbfn.serialization.traceback_codec import NO_VARIABLES, is_rebuilt

_HERE = f"{Path(__file__).parent}{os.sep}"
#: Modules that nbfn waits in and pickles with: their frames are removed too.
_TOOLS = ("concurrent.futures.", "threading.", "cloudpickle.")
#: Ids of tracebacks that are being printed and whose errors nbfn raised deliberately.
_deliberate: set[int] = set()


def install(shell: Any) -> None:
    """Patch a shell so that tracebacks have no frames of nbfn.

    IPython hides frames that define ``__tracebackhide__``, but prints a line for each gap. Frames of
    other packages are not changed. If nbfn itself failed, its frames are shown.
    """
    _wrap(shell.InteractiveTB, "structured_traceback", _note_deliberate)
    _wrap(shell.InteractiveTB, "get_records", _without_own_frames)
    _wrap(shell.SyntaxTB, "structured_traceback", _without_magic_entries)
    _wrap(shell.InteractiveTB, "debugger", _announce_debugger)
    _wrap(shell, "showtraceback", _show_traceback)


def uninstall(shell: Any) -> None:
    """Undo `install`."""
    for formatter, name in (
        (shell.InteractiveTB, "structured_traceback"),
        (shell.InteractiveTB, "get_records"),
        (shell.InteractiveTB, "debugger"),
        (shell.SyntaxTB, "structured_traceback"),
        (shell, "showtraceback"),
    ):
        if hasattr(formatter.__dict__.get(name), "nbfn"):
            delattr(formatter, name)


def _wrap(formatter: Any, name: str, around: Callable[..., Any]) -> None:
    original = getattr(formatter, name, None)
    if original is None or name in formatter.__dict__:  # already patched by other code
        return

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs)

    wrapped.nbfn = True  # type: ignore[attr-defined]
    setattr(formatter, name, wrapped)


def _note_deliberate(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Record the tracebacks of errors in a chain that nbfn raised deliberately, and those of their causes."""
    error = kwargs.get("evalue", args[1] if len(args) > 1 else None)
    deliberate = False
    while isinstance(error, BaseException):
        deliberate = deliberate or isinstance(error, Error)
        if deliberate:
            _deliberate.add(id(error.__traceback__))
        error = error.__cause__
    try:
        return original(*args, **kwargs)
    finally:
        _deliberate.clear()


def _without_own_frames(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    records = original(*args, **kwargs)
    frames = [getattr(record, "frame", None) for record in records]
    # Frames above the body of a %%remote cell belong to the magic.
    magic = max((n for n, frame in enumerate(frames) if _is_magic(frame)), default=-1)
    hidden = _hidden(frames, deliberate=bool(args) and id(args[0]) in _deliberate)
    return [r for n, r in enumerate(records) if n > magic and not hidden[n]]


def _hidden(frames: list[Any], *, deliberate: bool) -> list[bool]:
    """Return which frames to remove: nbfn's own, except those of an error inside nbfn."""
    own = _own(frames)
    last = next((f for f in reversed(frames) if not _is_tool(f)), None)
    if not deliberate and own and own[-1] and not is_hidden(last):
        end = len(own) - (own[::-1].index(False) if False in own else len(own))
        own[end:] = [is_hidden(frame) for frame in frames[end:]]
    return own


def _own(frames: list[Any]) -> list[bool]:
    """Return which frames are nbfn's, or those of a tool that nbfn called."""
    own: list[bool] = []
    for frame in frames:
        own.append(_is_nbfn(frame) or (bool(own) and own[-1] and _is_tool(frame)))
    return own


def _show_traceback(
    original: Callable[..., Any], exc_tuple: Any = None, *args: Any, **kwargs: Any
) -> Any:
    """Remove nbfn's frames from errors that Python itself prints: exception groups and syntax errors.

    For a map that was detached, print only the message.
    """
    error = exc_tuple[1] if exc_tuple else sys.exc_info()[1]
    if isinstance(error, Detached):
        said = f"detached: {error} %fn attach {error.call_id} gives its results."
        return original.__self__._showtraceback(type(error), error, [said])  # type: ignore[attr-defined]
    if error is not None and (isinstance(error, SyntaxError) or _has_group(error)):
        _remove_own_frames(error)
    return original(exc_tuple, *args, **kwargs)


def _remove_own_frames(error: BaseException) -> None:
    """Remove nbfn's frames from the traceback of an error."""
    links: list[TracebackType] = []
    link = error.__traceback__
    while link is not None:
        links.append(link)
        link = link.tb_next
    frames = [link.tb_frame for link in links]
    if any(map(_is_magic, frames)):
        return
    hidden = _hidden(frames, deliberate=False)
    kept = [link for n, link in enumerate(links) if not hidden[n]]
    for link, following in zip(kept, [*kept[1:], None], strict=False):
        link.tb_next = following
    if kept:
        error.__traceback__ = kept[0]


def _announce_debugger(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Print, before a debugger opens at a remote frame, that its variables are not here and how to get them."""
    error = getattr(sys, "last_value", None)
    link = getattr(sys, "last_traceback", None)
    while link is not None and link.tb_next is not None:
        link = link.tb_next
    if link is not None and is_rebuilt(link.tb_frame):
        calls = re.findall(r"\((fc-\w{22}(?:\[\d+\])?)\)", "\n".join(_notes(error)))
        way = f" %fn replay {calls[-1]} runs the input here, with them." if calls else ""
        print(f"{NO_VARIABLES}{way}")  # noqa: T201 - the cell's own output
    return original(*args, **kwargs)


def _notes(error: object) -> list[str]:
    return [str(note) for note in getattr(error, "__notes__", None) or ()]


def _has_group(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, BaseExceptionGroup):
        error = error.__context__
    return error is not None


def _without_magic_entries(
    original: Callable[..., Any], kind: Any, error: Any, summary: Any, *args: Any, **kwargs: Any
) -> Any:
    entries = summary if isinstance(summary, list) else []
    if any(str(getattr(entry, "filename", "")).startswith(_HERE) for entry in entries):
        summary = []
    return original(kind, error, summary, *args, **kwargs)


def is_hidden(frame: Any) -> bool:
    """Whether a frame is nbfn's and defines ``__tracebackhide__``."""
    return _is_nbfn(frame) and bool(frame.f_locals.get("__tracebackhide__"))


def _is_nbfn(frame: Any) -> bool:
    return _module(frame).partition(".")[0] in ("nbfn", "nbfn_kernel")


def _is_tool(frame: Any) -> bool:
    return f"{_module(frame)}.".startswith(_TOOLS)


def _is_magic(frame: Any) -> bool:
    return frame is not None and _module(frame).startswith(f"{__package__}.") and is_hidden(frame)


def _module(frame: Any) -> str:
    return str(frame.f_globals.get("__name__", "")) if frame is not None else ""
