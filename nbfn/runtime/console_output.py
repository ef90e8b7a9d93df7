"""Prints the progress of runs and deployments while `enable_output` is active."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TextIO

#: Printed before a completed step.
DONE = "✓"


@dataclass(frozen=True, slots=True)
class Output:
    """The destination of progress lines.

    Attributes:
        stream: The file to write to; None for the current value of ``sys.stdout``.
        quiet: Whether to write no progress lines.
        timestamps: Whether each line of remote output starts with the time.
    """

    stream: TextIO | None = None
    quiet: bool = False
    timestamps: bool = False

    @property
    def rewritable(self) -> bool:
        """Whether a line can be overwritten, as in a terminal."""
        return (self.stream or sys.stdout).isatty()

    def line(self, text: str) -> None:
        """Write a line."""
        self.write(f"{text}\n")

    def write(self, text: str) -> None:
        """Write text and flush the stream."""
        if not self.quiet:
            stream = self.stream or sys.stdout
            with contextlib.suppress(OSError):  # the terminal was closed; the program continues
                stream.write(text)
                stream.flush()


_current: ContextVar[Output | None] = ContextVar("nbfn_output", default=None)


def enabled() -> bool:
    """Return whether output is enabled."""
    return _current.get() is not None


def current() -> Output | None:
    """Return the destination of progress lines; None if output is not enabled."""
    return _current.get()


def write_line(text: str) -> None:
    """Write a line of progress, if output is enabled."""
    if (output := _current.get()) is not None:
        output.line(text)


@contextlib.contextmanager
def redirected_to(output: Output) -> Iterator[None]:
    """Write progress lines to ``output`` while the block runs."""
    token = _current.set(output)
    try:
        yield
    finally:
        _current.reset(token)


@contextlib.contextmanager
def enable_output(show_progress: bool = True) -> Iterator[None]:
    """Print the progress of runs and deployments, and all output of the workers of a running App.

    The output of calls that this process makes is always printed. With this context manager, the
    output of web requests and scheduled calls and the tracebacks of failures without a caller are
    printed as well.

    Args:
        show_progress: Whether to print the steps of runs and deployments.

    Examples:
        >>> with enable_output():  # doctest: +SKIP
        ...     with app.run():
        ...         square.remote(3)
        ✓ Initialized. App ap-... of 'demo'.
        ✓ Created objects.
        9
        ✓ App completed.
    """
    with redirected_to(Output(quiet=not show_progress)):
        yield
