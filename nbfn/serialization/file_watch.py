"""Hashes the user's files and detects changes of their content; a file is read again only after it was modified."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

#: Modification time in nanoseconds, size in bytes, and inode: an editor may replace the file.
Stamp = tuple[int, int, int]

#: Up to `FEW` files are checked before each call, in about a microsecond each; more files only every `PAUSE` seconds.
FEW, PAUSE = 32, 0.01

#: Path -> the stamp at the last check, and a hash of the content.
_known: dict[str, tuple[Stamp, bytes]] = {}


def digest(path: str) -> bytes:
    """Return a hash of the content of a file.

    Args:
        path: The file.

    Returns:
        The hash. If the file is missing, for example while it is being saved, the last known hash or b"".
    """
    stamp, known = _stamp(path), _known.get(path)
    if stamp is None or (known is not None and known[0] == stamp):
        return known[1] if known is not None else b""
    try:
        found = hashlib.sha256(Path(path).read_bytes()).digest()
    except OSError:
        return known[1] if known is not None else b""
    _known[path] = stamp, found
    return found


class FileWatch:
    """Detects whether the content of files has changed since they were added, or since the last `settle`.

    Args:
        paths: The files.
    """

    __slots__ = ("_next", "_seen")

    def __init__(self, paths: Iterable[str]) -> None:
        self._seen: dict[str, tuple[Stamp | None, bytes]] = {}
        self._next = 0.0
        for path in paths:
            self.add(path)

    def add(self, path: str) -> None:
        """Watch another file."""
        stamp = _stamp(path)  # before the file is read, so that a later modification is detected
        self._seen.setdefault(path, (stamp, digest(path)))

    def changed(self) -> bool:
        """Return whether the content of a watched file has changed."""
        if len(self._seen) > FEW:
            if (now := time.monotonic()) < self._next:
                return False
            self._next = now + PAUSE
        for path, (stamp, content) in list(self._seen.items()):  # other threads may add files
            found = _stamp(path)
            if found == stamp or found is None:
                continue
            if digest(path) != content:
                self._next = 0.0
                return True
            self._seen[path] = found, content  # only the modification time changed
        return False

    def settle(self) -> None:
        """Take the current content of all files as unchanged."""
        paths = list(self._seen)
        self._seen.clear()
        for path in paths:
            self.add(path)


def _stamp(path: str) -> Stamp | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - faster than Path.stat; runs for each file before each call
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
