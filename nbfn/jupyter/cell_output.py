"""Where a cell's output goes: captured once, written to later and from any thread.

ipykernel keeps "which cell asked for this" in context variables. A `OutputArea` keeps the context of the
caller, so what it writes lands under that cell also after other cells have run.
"""

from __future__ import annotations

import contextvars
import json
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from IPython.core.getipython import get_ipython

from nbfn.jupyter import thread_context

log = logging.getLogger("nbfn.client")

#: Variables that only a front end sets which can show widgets (Jupyter Server, VS Code, Colab).
_FRONT_ENDS = ("JPY_SESSION_NAME", "VSCODE_PID", "VSCODE_CWD", "COLAB_RELEASE_TAG")


class OutputArea:
    """The output area of the cell (or the terminal) that is running now."""

    def __init__(self) -> None:
        shell: Any = get_ipython()
        # Whatever stands in for them now (%%capture, redirect_stdout) gets the output.
        self._streams: dict[str, TextIO] = {"stdout": sys.stdout, "stderr": sys.stderr}
        self._publisher = getattr(shell, "display_pub", None)
        self._kernel = getattr(shell, "kernel", None)
        self._header, self._parent = _calling_cell(shell)
        self.cell = str(self._header.get("msg_id", ""))
        #: Equal for places whose texts come together.
        self.stream_key = (self.cell, *map(id, self._streams.values()))
        self._context = contextvars.copy_context()
        self._context.run(self._pin)

    @property
    def notebook(self) -> bool:
        """Whether a kernel shows the output, and not a terminal."""
        return self._kernel is not None

    @property
    def rewritable(self) -> bool:
        """Whether a line can be written over, as in a terminal."""
        return not self.notebook and self._streams["stdout"].isatty()

    @property
    def widgets(self) -> bool:
        """Whether somebody is there who can see a widget and press its buttons."""
        present = any(name in os.environ for name in _FRONT_ENDS)
        return self.notebook and (present or "google.colab" in sys.modules)

    def _pin(self) -> None:
        # A thread that the user started has no parent of its own: ipykernel then falls back to
        # "the latest cell". Fix now what it is.
        kernel = self._kernel
        if kernel is None:
            return
        targets: list[Any] = [*self._streams.values(), self._publisher]
        for target in targets:
            if hasattr(target, "set_thread_parent"):
                target.set_thread_parent({"header": self._header})
        if isinstance(variable := getattr(kernel, "_shell_parent", None), contextvars.ContextVar):
            variable.set(self._parent)

    def run(self, action: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run something that displays, as if the cell did it. A failure is logged, not raised."""
        try:
            # A context can be entered once at a time; a copy costs microseconds.
            return self._context.copy().run(action, *args, **kwargs)
        except Exception:
            log.exception("output of a cell could not be shown")
            return None

    def write(self, channel: str, text: str) -> None:
        """Write text to ``stdout`` or ``stderr`` of the cell."""
        stream = self._streams[channel]
        self.run(stream.write, text)
        if not self.notebook:
            self.run(stream.flush)

    def publish(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Publish a MIME bundle; ``update=True`` replaces the one of ``transient["display_id"]``."""
        if self._publisher is not None:
            self.run(self._publisher.publish, data=data, **kwargs)
        elif text := data.get("text/plain"):
            self.write("stdout", f"{text}\n")

    def clear(self, *, wait: bool = False) -> None:
        """Clear the cell's output, as `IPython.display.clear_output` does."""
        if self._publisher is not None:
            self.run(self._publisher.clear_output, wait=wait)

    def emit(self, channel: str, data: bytes) -> None:
        """Show an `Emission` of remote code."""
        if channel in self._streams:
            self.write(channel, data.decode("utf-8", "replace"))
        elif channel == "clear":
            self.clear(wait=bool(_read(data).get("wait")))
        elif channel in ("display", "update"):
            bundle = _read(data)
            self.publish(
                bundle.get("data") or {},
                metadata=bundle.get("metadata") or {},
                transient=bundle.get("transient") or {},
                update=channel == "update" or bundle.get("update") is True,
            )


def current_cell(shell: Any) -> tuple[dict[str, Any], Any]:
    """Return what ipykernel takes for the cell that runs: the header of its message, and the message."""
    publisher, kernel = getattr(shell, "display_pub", None), getattr(shell, "kernel", None)
    header = getattr(publisher, "parent_header", None) or {}
    return header, kernel.get_parent() if kernel is not None else {}


def _calling_cell(shell: Any) -> tuple[dict[str, Any], Any]:
    """Return the same, of a thread of the user's the cell that started it."""
    variable = getattr(getattr(shell, "display_pub", None), "_parent_header", None)
    own = isinstance(variable, contextvars.ContextVar) and variable in contextvars.copy_context()
    started: tuple[dict[str, Any], Any] | None = None if own else thread_context.current_mark()
    return started or current_cell(shell)


def _read(data: bytes) -> dict[str, Any]:
    # What a worker sends was made by user code: take it as data, and only the shape we know.
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
