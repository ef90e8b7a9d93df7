"""Tracebacks without nbfn's own frames: the user's call, then the user's remote code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

_HERE = str(Path(__file__).parent)


def install(shell: Any) -> None:
    """Leave nbfn's frames out of what IPython prints.

    IPython hides frames that carry ``__tracebackhide__``, but says so in a line for each gap. Only
    nbfn's are taken out here; those of others are shown or hidden as ever.
    """
    _wrap(shell.InteractiveTB, "get_records", _without_ours)
    _wrap(shell.SyntaxTB, "structured_traceback", _without_magic)


def uninstall(shell: Any) -> None:
    """Undo `install`."""
    for formatter, name in (
        (shell.InteractiveTB, "get_records"),
        (shell.SyntaxTB, "structured_traceback"),
    ):
        if hasattr(formatter.__dict__.get(name), "nbfn"):
            delattr(formatter, name)


def _wrap(formatter: Any, name: str, around: Callable[..., Any]) -> None:
    original = getattr(formatter, name, None)
    if original is None or name in formatter.__dict__:  # somebody has changed it: leave it alone
        return

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs)

    wrapped.nbfn = True  # type: ignore[attr-defined]
    setattr(formatter, name, wrapped)


def _without_ours(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    records = original(*args, **kwargs)
    frames = [getattr(record, "frame", None) for record in records]
    # What led to the body of a %%remote cell is the magic's own business.
    magic = max((n for n, frame in enumerate(frames) if _is_magic(frame)), default=-1)
    hidden = [is_ours(frame) for frame in frames]
    for n, frame in enumerate(frames):
        # nbfn waits by futures, which hand on what they were told.
        if n and hidden[n - 1] and _module(frame).startswith("concurrent.futures"):
            hidden[n] = True
    kept = [r for n, r in enumerate(records) if n > magic and not hidden[n]]
    return kept or records


def _without_magic(
    original: Callable[..., Any], kind: Any, error: Any, summary: Any, *args: Any, **kwargs: Any
) -> Any:
    entries = summary if isinstance(summary, list) else []
    if any(str(getattr(entry, "filename", "")).startswith(_HERE) for entry in entries):
        summary = []
    return original(kind, error, summary, *args, **kwargs)


def is_ours(frame: Any) -> bool:
    """Whether a frame is nbfn's and asks to be hidden."""
    if frame is None:
        return False
    ours = _module(frame).partition(".")[0] in ("nbfn", "nbfn_kernel")
    return ours and bool(frame.f_locals.get("__tracebackhide__"))


def _is_magic(frame: Any) -> bool:
    return frame is not None and _module(frame).startswith(f"{__package__}.") and is_ours(frame)


def _module(frame: Any) -> str:
    return str(frame.f_globals.get("__name__", "")) if frame is not None else ""
