"""Prints the progress of runs and deployments, after `enable_output`."""

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
    """Where progress is written.

    Attributes:
        stream: The file; None for whatever ``sys.stdout`` is at the time.
        quiet: Whether no lines of progress are wanted.
        timestamps: Whether the time stands before each line of remote output.
    """

    stream: TextIO | None = None
    quiet: bool = False
    timestamps: bool = False

    @property
    def rewritable(self) -> bool:
        """Whether a line can be written over, as in a terminal."""
        return (self.stream or sys.stdout).isatty()

    def line(self, text: str) -> None:
        """Write a line."""
        self.write(f"{text}\n")

    def write(self, text: str) -> None:
        """Write text, at once."""
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
    """Return where progress is written; None if output is not enabled."""
    return _current.get()


def write_line(text: str) -> None:
    """Write a line of progress, if output is enabled."""
    if (output := _current.get()) is not None:
        output.line(text)


@contextlib.contextmanager
def redirected_to(output: Output) -> Iterator[None]:
    """Write progress there while the block runs."""
    token = _current.set(output)
    try:
        yield
    finally:
        _current.reset(token)


@contextlib.contextmanager
def enable_output(show_progress: bool = True) -> Iterator[None]:
    """Print the progress of runs and deployments, and everything that the workers of a running App write.

    What calls of this process print is shown with and without it; with it also what web requests and
    scheduled calls print, and tracebacks of failures without a caller.

    Args:
        show_progress: Whether to print steps, too.

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
