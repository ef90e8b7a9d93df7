"""Reads the source of the notebook cells that define functions, because other processes cannot read cells."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbfn.serialization.dependencies import DependencySnapshot

#: The most characters of source that are sent with a function: of its own cell, and of the cells of its helpers.
MOST_SOURCE = 256 * 1024


def cell_text(raw: Callable[..., Any]) -> str:
    """Return the source of the cell that defines a function.

    Args:
        raw: The function.

    Returns:
        The source; "" for a function in a file, which other processes can read, and for more than `MOST_SOURCE`
        characters.
    """
    filename = getattr(getattr(raw, "__code__", None), "co_filename", "")
    text = "" if Path(filename).is_file() else "".join(linecache.getlines(filename))
    return text if len(text) <= MOST_SOURCE else ""


def helper_texts(snapshot: DependencySnapshot, own: str) -> dict[str, str]:
    """Return the sources of the cells that define a function's helpers, for tracebacks in other processes.

    Args:
        snapshot: The dependencies of the function.
        own: The file name of the function's own cell, which is omitted.

    Returns:
        The sources by file name, at most `MOST_SOURCE` characters in total.
    """
    texts: dict[str, str] = {}
    left = MOST_SOURCE
    for name in sorted(snapshot.files - {own}):
        text = "" if Path(name).is_file() else "".join(linecache.getlines(name))
        if 0 < len(text) <= left:
            texts[name] = text
            left -= len(text)
    return texts
