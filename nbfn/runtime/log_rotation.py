"""`LogFile`: the log of a process that lives long, kept from growing without end.

Such a process has the file as its standard error, opened by who started it, and so have processes
that it starts. None of them can be told to open another. So what is there is copied aside and the
file itself emptied: all of them append, and go on at its new end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path

#: Bytes of a log from which on it begins anew; as many of what was before are kept beside it.
LARGEST = 8 * 2**20


class LogFile(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to standard error, as logging does by itself.

    Args:
        path: The file that standard error may be; when it is another, or a terminal, that is left alone.
        largest: Bytes it may have.
    """

    def __init__(self, path: Path, largest: int = LARGEST) -> None:
        super().__init__()
        self._path = path
        self._largest = largest

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        super().emit(record)
        with contextlib.suppress(OSError, ValueError):  # it was deleted, or is no file
            found = os.fstat(self.stream.fileno())
            if found.st_size > self._largest and os.path.samestat(found, self._path.stat()):
                self._begin_anew()

    def _begin_anew(self) -> None:
        aside = self._path.with_name(f"{self._path.name}.1")
        try:
            shutil.copyfile(self._path, aside)
        except OSError:  # a full disk, say: then it helps to let go of both
            aside.unlink(missing_ok=True)
        os.truncate(self._path, 0)
