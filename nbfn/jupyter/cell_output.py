"""The output area of a cell: can be written to later and from any thread.

ipykernel keeps the parent message of an output in context variables. An `OutputArea` keeps the context
of its creator, so that its output appears below that cell even after other cells have run.
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

#: Environment variables of front ends that can display widgets (Jupyter Server, VS Code, Colab).
_FRONT_ENDS = ("JPY_SESSION_NAME", "VSCODE_PID", "VSCODE_CWD", "COLAB_RELEASE_TAG")


class OutputArea:
    """The output area of the cell (or the terminal) that is running now."""

    def __init__(self) -> None:
        shell: Any = get_ipython()
        # The current streams, so that %%capture and redirect_stdout receive the output.
        self._streams: dict[str, TextIO] = {"stdout": sys.stdout, "stderr": sys.stderr}
        self._publisher = getattr(shell, "display_pub", None)
        self._kernel = getattr(shell, "kernel", None)
        self._header, self._parent = _calling_cell(shell)
        self.cell = str(self._header.get("msg_id", ""))
        #: Equal for output areas that write to the same streams of the same cell.
        self.stream_key = (self.cell, *map(id, self._streams.values()))
        self._context = contextvars.copy_context()
        self._context.run(self._pin)

    @property
    def parent(self) -> dict[str, Any]:
        """The message that ran the cell; empty if there is none."""
        return self._parent or {}

    @property
    def notebook(self) -> bool:
        """Whether the output belongs to a kernel, and not to a terminal."""
        return self._kernel is not None

    @property
    def rewritable(self) -> bool:
        """Whether a line can be overwritten, as in a terminal."""
        return not self.notebook and self._streams["stdout"].isatty()

    @property
    def widgets(self) -> bool:
        """Whether a front end is connected that can display widgets."""
        present = any(name in os.environ for name in _FRONT_ENDS)
        return self.notebook and (present or "google.colab" in sys.modules)

    def _pin(self) -> None:
        # A thread that the user started has no parent message: ipykernel then uses the latest cell.
        # Set the parent now.
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
        """Run a function in the context of the cell.

        Args:
            action: The function.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Returns:
            Its result; None if it raised an exception, which is logged.
        """
        try:
            # A context cannot be entered twice at the same time; a copy takes microseconds.
            return self._context.copy().run(action, *args, **kwargs)
        except Exception:
            log.exception("could not display the output of a cell")
            return None

    def write(self, channel: str, text: str) -> None:
        """Write text to a stream of the cell.

        Args:
            channel: ``stdout`` or ``stderr``.
            text: The text.
        """
        stream = self._streams[channel]
        self.run(stream.write, text)
        if not self.notebook:
            self.run(stream.flush)

    def publish(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Publish a MIME bundle; a terminal gets its plain text.

        Args:
            data: The bundle.
            **kwargs: For `DisplayPublisher.publish`; ``update=True`` replaces the output that has the same
                ``transient["display_id"]``.
        """
        if self._publisher is not None:
            self.run(self._publisher.publish, data=data, **kwargs)
        elif text := data.get("text/plain"):
            self.write("stdout", f"{text}\n")

    def clear(self, *, wait: bool = False) -> None:
        """Clear the cell's output, as `IPython.display.clear_output` does."""
        if self._publisher is not None:
            self.run(self._publisher.clear_output, wait=wait)

    def emit(self, channel: str, data: bytes) -> None:
        """Display an `Emission` of remote code.

        Args:
            channel: ``stdout``, ``stderr``, ``clear``, ``display`` or ``update``.
            data: The text, or a MIME bundle as JSON.
        """
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
    """Return the parent of the running cell's output: the header of its execute request, and the request."""
    publisher, kernel = getattr(shell, "display_pub", None), getattr(shell, "kernel", None)
    header = getattr(publisher, "parent_header", None) or {}
    return header, kernel.get_parent() if kernel is not None else {}


def _calling_cell(shell: Any) -> tuple[dict[str, Any], Any]:
    """Return the same; in a thread of the user, that of the cell that started the thread."""
    variable = getattr(getattr(shell, "display_pub", None), "_parent_header", None)
    own = isinstance(variable, contextvars.ContextVar) and variable in contextvars.copy_context()
    started: tuple[dict[str, Any], Any] | None = None if own else thread_context.current_mark()
    return started or current_cell(shell)


def _read(data: bytes) -> dict[str, Any]:
    # User code on the worker produced it: accept only a JSON object.
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
