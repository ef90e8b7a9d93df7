"""Limits the size of the log file of a long-running process.

The log file is the standard error of the process and of its child processes. The parent opened it, so they cannot
switch to another file. When it is too large, its content is copied to a second file and the log is truncated; all
processes write in append mode.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path

#: The size in bytes at which a log is copied to a second file and truncated.
LARGEST = 8 * 2**20


class LogFile(logging.StreamHandler):  # type: ignore[type-arg]
    """A logging handler that writes to standard error and truncates the log file when it is too large.

    Args:
        path: The log file. If standard error is another file or a terminal, nothing is truncated.
        largest: The maximum size in bytes.
    """

    def __init__(self, path: Path, largest: int = LARGEST) -> None:
        super().__init__()
        self._path = path
        self._largest = largest

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        super().emit(record)
        with contextlib.suppress(
            OSError, ValueError
        ):  # the file was deleted, or stderr is not a file
            found = os.fstat(self.stream.fileno())
            if found.st_size > self._largest and os.path.samestat(found, self._path.stat()):
                self._begin_anew()

    def _begin_anew(self) -> None:
        aside = self._path.with_name(f"{self._path.name}.1")
        try:
            shutil.copyfile(self._path, aside)
        except OSError:  # for example a full disk: deleting both copies frees space
            aside.unlink(missing_ok=True)
        os.truncate(self._path, 0)
