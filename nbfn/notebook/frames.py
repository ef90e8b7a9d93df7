"""Tracebacks without nbfn's own frames: the user's call, then the user's remote code."""

from __future__ import annotations

from typing import Any

_ATTRIBUTE = "_nbfn_get_records"


def install(shell: Any) -> None:
    """Leave nbfn's frames out of what IPython prints.

    IPython hides frames that carry ``__tracebackhide__``, but says so in a line for each gap. Only
    nbfn's are taken out here; those of others are shown or hidden as ever.
    """
    formatter = shell.InteractiveTB
    if not hasattr(formatter, "get_records") or _ATTRIBUTE in formatter.__dict__:
        return
    original = formatter.get_records

    def get_records(*args: Any, **kwargs: Any) -> Any:
        records = original(*args, **kwargs)
        kept = [record for record in records if not is_ours(getattr(record, "frame", None))]
        return kept or records

    formatter.__dict__[_ATTRIBUTE] = original
    formatter.get_records = get_records


def uninstall(shell: Any) -> None:
    """Undo `install`."""
    formatter = shell.InteractiveTB
    if formatter.__dict__.pop(_ATTRIBUTE, None) is not None:
        del formatter.get_records


def is_ours(frame: Any) -> bool:
    """Whether a frame is nbfn's and asks to be hidden."""
    if frame is None:
        return False
    module = str(frame.f_globals.get("__name__", ""))
    ours = module.partition(".")[0] in ("nbfn", "nbfn_kernel")
    return ours and bool(frame.f_locals.get("__tracebackhide__"))
