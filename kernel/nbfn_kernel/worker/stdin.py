"""Replaces a worker's ``sys.stdin`` and `breakpoint`: a worker has no terminal, so using them raises an error."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from nbfn.exception import NEEDS_TERMINAL, ExecutionError

#: Values of ``PYTHONBREAKPOINT`` that stand for Python's own debugger, which needs a terminal.
_PDB = frozenset({"", "pdb.set_trace"})


class Stdin(io.TextIOBase):
    """Stands in for ``sys.stdin``: reading raises, instead of finding the end of an empty file.

    Args:
        name: Returns the name of the Function whose code runs.
    """

    encoding = "utf-8"
    errors = "strict"
    name = "<stdin>"

    def __init__(self, name: Callable[[], str]) -> None:
        super().__init__()
        self._of = name
        self.buffer = _Bytes(self)

    def readable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def fileno(self) -> int:
        """Return the real descriptor, which a subprocess may be given; it is that of an empty file."""
        return 0

    def read(self, size: int | None = -1, /) -> str:
        """Refuse."""
        self.refuse("it read standard input")

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        """Refuse."""
        self.refuse("it read standard input")

    def refuse(self, what: str) -> NoReturn:
        """Raise the error that says what to do instead.

        Args:
            what: What was done.

        Raises:
            ExecutionError: Always.
        """
        raise needs_terminal(f"{self._of()!r} asked for input ({what})")

    def on_breakpoint(self, *args: Any, **kwargs: Any) -> Any:
        """Be `sys.breakpointhook`: refuse Python's own debugger; another one may have a way of its own."""
        if os.environ.get("PYTHONBREAKPOINT", "") in _PDB:
            self.refuse("breakpoint()")
        return sys.__breakpointhook__(*args, **kwargs)


class _Bytes(io.RawIOBase):
    """``sys.stdin.buffer``."""

    def __init__(self, stdin: Stdin) -> None:
        super().__init__()
        self._stdin = stdin

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stdin.fileno()

    def readinto(self, _buffer: Any, /) -> int:
        self._stdin.refuse("it read standard input")


def needs_terminal(what: str) -> ExecutionError:
    """Return the error of code that needs somebody at a terminal; it says what to do instead.

    Args:
        what: What happened, as the beginning of a sentence.
    """
    error = ExecutionError(
        f"{what}, and a worker has no terminal. Call it with .local(...) to run it here."
    )
    setattr(error, NEEDS_TERMINAL, True)
    return error


def install(name: Callable[[], str]) -> None:
    """Replace ``sys.stdin`` and `sys.breakpointhook`; ``sys.__stdin__`` stays what it was."""
    sys.stdin = stdin = Stdin(name)
    sys.breakpointhook = stdin.on_breakpoint
