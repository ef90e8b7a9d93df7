"""Provides `display`, figures and `get_ipython()` in a worker, by an IPython shell without terminal and history."""

from __future__ import annotations

import base64
import builtins
import contextlib
import json
import sys
from collections.abc import Callable
from typing import Any

from IPython.core.displaypub import DisplayPublisher
from IPython.core.getipython import get_ipython
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

#: Sends (channel, data) as output of the running input.
Emit = Callable[[str, bytes], None]

_INLINE = "matplotlib_inline.backend_inline"


def _json_default(value: object) -> object:
    """Encode bytes in base64, as Jupyter does; convert other objects to text."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    return str(value)


class WorkerDisplayPublisher(DisplayPublisher):
    """Sends displays to the hub instead of printing them."""

    emit: Emit | None = None

    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        source: object = None,
        *,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **_ignored: Any,
    ) -> None:
        """See `DisplayPublisher.publish`."""
        shown = {
            "data": data,
            "metadata": metadata or {},
            "transient": transient or {},
            "update": update,
        }
        if self.emit is not None:
            self.emit("display", json.dumps(shown, default=_json_default).encode())

    def clear_output(self, wait: bool = False) -> None:
        """See `DisplayPublisher.clear_output`."""
        if self.emit is not None:
            self.emit("clear", json.dumps({"wait": wait}).encode())


class WorkerShell(InteractiveShell):
    """The shell of a worker kernel."""

    def _ipython_dir_changed(self, name: str, new: str) -> None:
        """Do nothing: the base class creates a directory in the user's home."""


def create() -> WorkerShell:
    """Create the shell of this process; opens no files and starts no threads, so a fork server may call it."""
    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    config.InteractiveShell.display_pub_class = WorkerDisplayPublisher
    shell = WorkerShell.instance(
        config=config, display_pub_class=WorkerDisplayPublisher, profile="default"
    )
    builtins.get_ipython = get_ipython  # type: ignore[attr-defined]
    for name in ("exit", "quit", "open"):  # Functions expect Python's own
        shell.user_ns.pop(name, None)
    return shell


def connect(emit: Emit) -> None:
    """Send the shell's displays.

    Args:
        emit: Sends one display.
    """
    publisher = (WorkerShell.instance() if WorkerShell.initialized() else create()).display_pub
    assert isinstance(publisher, WorkerDisplayPublisher)
    publisher.emit = emit


def flush_figures() -> None:
    """Display the open figures of user code; cheap where matplotlib is not in use."""
    inline = sys.modules.get(_INLINE)
    if inline is None or "matplotlib.pyplot" not in sys.modules:
        return
    shell = WorkerShell.instance()
    with contextlib.suppress(Exception):  # a half-imported pyplot, a figure that cannot be drawn
        if not hasattr(shell, "_saved_rcParams"):
            inline.configure_inline_support(shell, f"module://{_INLINE}")
        inline.flush_figures()
