"""`LogFile`: limits the size of the log of a long-running process.

The file is the standard error of the process and of its child processes, and was opened by its parent, so none of them
can open another file. Therefore the content is copied to a second file and the log is truncated; all of them append.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path

#: The size of a log in bytes at which it is copied aside and truncated.
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
