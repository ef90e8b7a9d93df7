"""The texts of the cells in which functions are written: no other process could read them."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbfn.serialization.dependencies import DependencySnapshot

#: Characters of the cell that a function is written in, and of its helpers' cells, that go along with it.
MOST_SOURCE = 256 * 1024


def cell_text(raw: Callable[..., Any]) -> str:
    """Return the text of the whole cell or file, where no other process could read it; of a very
    long one nothing.
    """
    filename = getattr(getattr(raw, "__code__", None), "co_filename", "")
    text = "" if Path(filename).is_file() else "".join(linecache.getlines(filename))
    return text if len(text) <= MOST_SOURCE else ""


def helper_texts(snapshot: DependencySnapshot, own: str) -> dict[str, str]:
    """Return the texts of the cells, by name, in which a function's helpers are written.

    No worker and no other notebook could read them, and their lines belong into tracebacks.

    Args:
        snapshot: Of the function.
        own: The name of its own cell, whose text is known.
    """
    texts: dict[str, str] = {}
    left = MOST_SOURCE
    for name in sorted(snapshot.files - {own}):
        text = "" if Path(name).is_file() else "".join(linecache.getlines(name))
        if 0 < len(text) <= left:
            texts[name] = text
            left -= len(text)
    return texts
