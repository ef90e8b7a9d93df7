"""Whose the shared memory is that workers fill: theirs until the hub has their word of it, the caller's from then on.

What a worker had not told of when it died nobody can ask for, so it is freed then. What was handed over is
freed by whoever takes it; when nobody is left who could, the hub does that as well.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from nbfn.protocol.messages import Payload

#: Seconds from which on a segment of a client that this hub never met is taken for forgotten.
ABANDONED_AFTER = 120.0
#: Names of a worker's segments after which it is looked which of them still exist.
MAX_TRACKED = 1000


class SharedMemoryGC:
    """The account of one hub.

    Args:
        *directories: Where the segments are; their names begin with their maker's id and a dot.
    """

    def __init__(self, *directories: Path) -> None:
        self._directories = directories
        self._received: dict[str, set[str]] = {}  # by worker; what is freed is forgotten at times
        self._existing: dict[str, int] = {}  # by worker: how many of them were left the last time

    def worker_joined(self, worker: str) -> None:
        """A worker is here; what it made before may have been handed to the hub before this one."""
        if worker not in self._received:
            self._received[worker] = {path.name for path in self._of(worker)}

    def received(self, worker: str, payloads: Iterable[Payload | None]) -> None:
        """A worker told of these."""
        for payload in payloads:
            if payload is not None and payload.segments:
                names = {segment.name for segment in payload.segments}
                known = self._received.setdefault(worker, set())
                known |= names
                if len(known) > MAX_TRACKED + 2 * self._existing.get(worker, 0):
                    known.intersection_update(path.name for path in self._of(worker))
                    self._existing[worker] = len(known)

    def worker_ended(self, worker: str) -> None:
        """Free what a worker never told of."""
        known = self._received.pop(worker, None)
        self._existing.pop(worker, None)
        if known is not None:
            for path in self._of(worker):
                if path.name not in known:
                    path.unlink(missing_ok=True)

    def client_gone(self, client: str) -> None:
        """Free what a client made; nobody else needs it."""
        for path in self._of(client):
            path.unlink(missing_ok=True)

    def sweep(self, connected: Collection[str]) -> None:
        """Free all that belongs to workers and clients that are not here: nobody can come for it."""
        for path in self._all():
            owner = path.name.partition(".")[0]
            if owner not in connected:
                with contextlib.suppress(FileNotFoundError):
                    if (
                        owner.startswith("wk-")
                        or time.time() - path.stat().st_mtime > ABANDONED_AFTER
                    ):
                        path.unlink()

    def _of(self, owner: str) -> list[Path]:
        return [path for path in self._all() if path.name.startswith(f"{owner}.")]

    def _all(self) -> list[Path]:
        found: list[Path] = []
        for directory in self._directories:
            with contextlib.suppress(FileNotFoundError):  # removed by somebody else
                found.extend(directory.iterdir())
        return found
