"""Threads of the notebook: which cell started one, so that its calls print there.

ipykernel takes what a thread prints for the latest cell's. For calls, nbfn goes by who started it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

#: Where a thread keeps what `mark` returned when it was started.
_MARK = "_nbfn_cell"


def install(mark: Callable[[], Any]) -> None:
    """Have each thread remember what ``mark()`` returns on the thread that starts it."""
    uninstall()
    original: Any = threading.Thread.start

    def start(self: threading.Thread) -> None:
        # A thread's threads belong to its own cell.
        setattr(self, _MARK, current_mark() or mark())
        original(self)

    start.nbfn = original  # type: ignore[attr-defined]
    threading.Thread.start = start  # type: ignore[method-assign]


def uninstall() -> None:
    """Undo `install`, unless somebody has changed it since."""
    if original := getattr(threading.Thread.start, "nbfn", None):
        threading.Thread.start = original  # type: ignore[method-assign]


def current_mark() -> Any:
    """Return what the thread that asks was marked with; None for the main thread."""
    return getattr(threading.current_thread(), _MARK, None)
