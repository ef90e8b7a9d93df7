"""Tracks ownership of worker-created shared memory and frees orphans.

A segment belongs to its worker until the hub has received the result that references it; then it belongs
to the caller, which frees it. When a worker dies, the hub frees the segments of results that it never
received. When no owner is left, the hub frees all of them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from nbfn.protocol.messages import Payload

#: Seconds after which a segment of a client that this hub does not know counts as abandoned.
ABANDONED_AFTER = 120.0
#: Tracked segments per worker after which the names of freed ones are removed.
MAX_TRACKED = 1000


class SharedMemoryGC:
    """Tracks the segments of one hub.

    Args:
        *directories: Where the segments are; their names begin with their owner's id and a dot.
    """

    def __init__(self, *directories: Path) -> None:
        self._directories = directories
        self._received: dict[
            str, set[str]
        ] = {}  # by worker; names of freed segments are removed from time to time
        self._existing: dict[str, int] = {}  # by worker: how many existed at the last clean-up

    def worker_joined(self, worker: str) -> None:
        """A worker connected; the previous hub may have received its earlier segments."""
        if worker not in self._received:
            self._received[worker] = {path.name for path in self._of(worker)}

    def received(self, worker: str, payloads: Iterable[Payload | None]) -> None:
        """The hub received these payloads from a worker."""
        for payload in payloads:
            if payload is not None and payload.segments:
                names = {segment.name for segment in payload.segments}
                known = self._received.setdefault(worker, set())
                known |= names
                if len(known) > MAX_TRACKED + 2 * self._existing.get(worker, 0):
                    known.intersection_update(path.name for path in self._of(worker))
                    self._existing[worker] = len(known)

    def worker_ended(self, worker: str) -> None:
        """Free the segments of a worker that the hub never received."""
        known = self._received.pop(worker, None)
        self._existing.pop(worker, None)
        if known is not None:
            for path in self._of(worker):
                if path.name not in known:
                    path.unlink(missing_ok=True)

    def client_gone(self, client: str) -> None:
        """Free the segments of a client; no other process uses them."""
        for path in self._of(client):
            path.unlink(missing_ok=True)

    def sweep(self, connected: Collection[str]) -> None:
        """Free all segments of workers and clients that are not connected."""
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
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                found.extend(directory.iterdir())
        return found
