"""Answers a query about the health of the hub: sizes of its files, lost workers, and warnings."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterable
from pathlib import Path

from nbfn.config import Places
from nbfn.hub.scheduler import health_warnings
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.protocol import messages as m

#: The most lost workers in an answer.
MOST_LOST = 20


def health(request: int, t: HubState, about: m.HubRow, free: int) -> m.Health:
    """Return the answer to a `GetHealth`.

    Args:
        request: The number of the request.
        t: The state of the state machine.
        about: The hub's row in the overview.
        free: Bytes that are free on the disk.
    """
    places = Places.of(Path(about.home))
    database = places.database
    return m.Health(
        *(request, about.version, about.pid, platform.python_version(), about.host, about.home),
        *(t.wall_of(t.now), about.started),
        _size([database, Path(f"{database}-wal"), *places.blobs.iterdir()]),
        _size([*places.home.glob("logs.db*"), *places.logs.iterdir()]),
        max(free, 0),
        tuple(_lost(t)),
        tuple(health_warnings.warnings(t)),
    )


def _size(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        with contextlib.suppress(OSError):  # it was deleted just now
            total += path.stat().st_size
    return total


def _lost(t: HubState) -> list[m.LostWorkerRow]:
    """Return the workers that were lost, the last one first."""
    lanes = [lane for lane in t.timeline.lanes.values() if lane.lost]
    lanes.sort(key=lambda lane: -lane.ended)
    return [
        m.LostWorkerRow(lane.worker, lane.name, lane.app, lane.ended, lane.how)
        for lane in lanes[:MOST_LOST]
    ]
