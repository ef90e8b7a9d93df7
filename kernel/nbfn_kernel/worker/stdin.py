"""Replaces ``sys.stdin`` and `breakpoint` in a worker, which has no terminal, by versions that raise an error."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from nbfn.exception import NEEDS_TERMINAL, ExecutionError

#: Values of ``PYTHONBREAKPOINT`` that select pdb, which needs a terminal.
_PDB = frozenset({"", "pdb.set_trace"})


class Stdin(io.TextIOBase):
    """Replaces ``sys.stdin``; reading raises an error instead of returning the end of an empty file.

    Args:
        name: Returns the name of the running Function.
    """

    encoding = "utf-8"
    errors = "strict"
    name = "<stdin>"

    def __init__(self, name: Callable[[], str]) -> None:
        super().__init__()
        self._function_name = name
        self.buffer = _Bytes(self)

    def readable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def fileno(self) -> int:
        """Return the descriptor, for subprocesses; it reads as an empty file."""
        return 0

    def read(self, size: int | None = -1, /) -> str:
        """Raise `ExecutionError`."""
        self.refuse("it read standard input")

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        """Raise `ExecutionError`."""
        self.refuse("it read standard input")

    def refuse(self, what: str) -> NoReturn:
        """Raise the error for code that needs a terminal.

        Args:
            what: The operation that was refused.

        Raises:
            ExecutionError: Always.
        """
        raise terminal_error(f"{self._function_name()!r} asked for input ({what})")

    def on_breakpoint(self, *args: Any, **kwargs: Any) -> Any:
        """Act as `sys.breakpointhook`: refuse pdb, and call any other debugger that ``PYTHONBREAKPOINT`` names."""
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


def terminal_error(what: str) -> ExecutionError:
    """Return the error for code that needs a terminal, with a hint to ``.local(...)``.

    Args:
        what: What the code did, as the beginning of the sentence.
    """
    error = ExecutionError(
        f"{what}, and a worker has no terminal. Call it with .local(...) to run it here."
    )
    setattr(error, NEEDS_TERMINAL, True)
    return error


def install(name: Callable[[], str]) -> None:
    """Replace ``sys.stdin`` and `sys.breakpointhook`; ``sys.__stdin__`` is unchanged.

    Args:
        name: Returns the name of the running Function.
    """
    sys.stdin = stdin = Stdin(name)
    sys.breakpointhook = stdin.on_breakpoint
