"""Records which cell started a thread, so that the output of its calls appears below that cell.

ipykernel attributes the output of a thread to the latest cell.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

#: The attribute of a thread that holds the result of `mark` from when the thread was started.
_MARK = "_nbfn_cell"


def install(mark: Callable[[], Any]) -> None:
    """Patch `threading.Thread.start` so that each thread stores the cell that started it.

    Args:
        mark: Returns the current cell; called on the thread that starts the new one.
    """
    uninstall()
    original: Any = threading.Thread.start

    def start(self: threading.Thread) -> None:
        # A thread that a marked thread starts gets the same mark.
        setattr(self, _MARK, current_mark() or mark())
        original(self)

    start.nbfn = original  # type: ignore[attr-defined]
    threading.Thread.start = start  # type: ignore[method-assign]


def uninstall() -> None:
    """Undo `install`, unless other code has patched ``start`` since."""
    if original := getattr(threading.Thread.start, "nbfn", None):
        threading.Thread.start = original  # type: ignore[method-assign]


def current_mark() -> Any:
    """Return the mark of the current thread; None for the main thread."""
    return getattr(threading.current_thread(), _MARK, None)
