"""Reads the text of the notebook cells that functions are written in, since no other process can."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbfn.serialization.dependencies import DependencySnapshot

#: The most characters of cells that are sent with a function: of its own cell, and of its helpers' cells.
MOST_SOURCE = 256 * 1024


def cell_text(raw: Callable[..., Any]) -> str:
    """Return the text of the cell that a function is written in; "" for files, which other processes can read, and for
    texts over `MOST_SOURCE`.
    """
    filename = getattr(getattr(raw, "__code__", None), "co_filename", "")
    text = "" if Path(filename).is_file() else "".join(linecache.getlines(filename))
    return text if len(text) <= MOST_SOURCE else ""


def helper_texts(snapshot: DependencySnapshot, own: str) -> dict[str, str]:
    """Return the texts of the cells that a function's helpers are written in, by file name.

    Tracebacks on workers and in other notebooks show their lines.

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
