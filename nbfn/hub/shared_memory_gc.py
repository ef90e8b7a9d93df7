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
FORGOTTEN = 120.0
#: Names of a worker's segments after which it is looked which of them still exist.
MOST_KNOWN = 1000


class Leftovers:
    """The account of one hub.

    Args:
        *directories: Where the segments are; their names begin with their maker's id and a dot.
    """

    def __init__(self, *directories: Path) -> None:
        self._directories = directories
        self._handed_over: dict[
            str, set[str]
        ] = {}  # by worker; what is freed is forgotten at times
        self._existed: dict[str, int] = {}  # by worker: how many of them were left the last time

    def met(self, worker: str) -> None:
        """A worker is here; what it made before may have been handed to the hub before this one."""
        if worker not in self._handed_over:
            self._handed_over[worker] = {path.name for path in self._of(worker)}

    def handed_over(self, worker: str, payloads: Iterable[Payload | None]) -> None:
        """A worker told of these."""
        for payload in payloads:
            if payload is not None and payload.segments:
                names = {segment.name for segment in payload.segments}
                known = self._handed_over.setdefault(worker, set())
                known |= names
                if len(known) > MOST_KNOWN + 2 * self._existed.get(worker, 0):
                    known.intersection_update(path.name for path in self._of(worker))
                    self._existed[worker] = len(known)

    def worker_ended(self, worker: str) -> None:
        """Free what a worker never told of."""
        known = self._handed_over.pop(worker, None)
        self._existed.pop(worker, None)
        if known is not None:
            for path in self._of(worker):
                if path.name not in known:
                    path.unlink(missing_ok=True)

    def client_gone(self, client: str) -> None:
        """Free what a client made; nobody else needs it."""
        for path in self._of(client):
            path.unlink(missing_ok=True)

    def nobody_left(self, here: Collection[str]) -> None:
        """Free all that belongs to workers and clients that are not here: nobody can come for it."""
        for path in self._all():
            owner = path.name.partition(".")[0]
            if owner not in here:
                with contextlib.suppress(FileNotFoundError):
                    if owner.startswith("wk-") or time.time() - path.stat().st_mtime > FORGOTTEN:
                        path.unlink()

    def _of(self, owner: str) -> list[Path]:
        return [path for path in self._all() if path.name.startswith(f"{owner}.")]

    def _all(self) -> list[Path]:
        found: list[Path] = []
        for directory in self._directories:
            with contextlib.suppress(FileNotFoundError):  # removed by somebody else
                found.extend(directory.iterdir())
        return found
