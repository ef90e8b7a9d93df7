"""What the user's files say, read again only when they were written; and whether that changed since."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

#: When it was written, how large it is, and which file it is: an editor may put another in its place.
Stamp = tuple[int, int, int]

#: So many files are looked at before each call, about a microsecond each; more of them once in so many seconds.
FEW, PAUSE = 32, 0.01

#: Path -> the stamp at the last look, and a hash of the content.
_known: dict[str, tuple[Stamp, bytes]] = {}


def digest(path: str) -> bytes:
    """Return a hash of a file's content; the last known where it is gone, as while it is being saved."""
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
    """Tells when a file has other content than at the last `settle`.

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
        """Watch this file too, from now on."""
        stamp = _stamp(path)  # before it is read: what is written meanwhile will be seen
        self._seen.setdefault(path, (stamp, digest(path)))

    def changed(self) -> bool:
        """Return whether a file was found changed."""
        if len(self._seen) > FEW:
            if (now := time.monotonic()) < self._next:
                return False
            self._next = now + PAUSE
        for path, (stamp, content) in list(self._seen.items()):  # others may add to it
            found = _stamp(path)
            if found == stamp or found is None:
                continue
            if digest(path) != content:
                self._next = 0.0
                return True
            self._seen[path] = found, content  # it was only touched
        return False

    def settle(self) -> None:
        """Take what the files say now for granted."""
        paths = list(self._seen)
        self._seen.clear()
        for path in paths:
            self.add(path)


def _stamp(path: str) -> Stamp | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - before each call, for each file
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
