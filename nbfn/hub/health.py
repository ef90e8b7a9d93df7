"""Answers a query about the health of the hub: sizes of its files, lost workers, and warnings."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path

from nbfn.config import Places
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.protocol import messages as m
from nbfn.protocol.messages import WarningRow
from nbfn.runtime.byte_size import format_bytes

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
        tuple(warnings(t)),
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


# --- warnings ------------------------------------------------------------------------------------


def warnings(t: HubState) -> Iterator[WarningRow]:
    """Yield the warnings, those about the hub first."""
    yield from _disk(t)
    yield from _executables(t)
    yield from _workers(t)
    yield from _functions(t)


def _disk(t: HubState) -> Iterator[WarningRow]:
    path, free = t.disk
    if t.disk_trouble:
        message = f"The hub cannot write its database: {t.disk_trouble}."
        yield WarningRow("hub", message, f"Free disk space at {path}; the hub then tries again.")
    elif free <= t.limits.disk_reserve:
        message = f"Only {format_bytes(free)} are free at {path}, so new spawned calls are refused."
        yield WarningRow(
            "hub", message, "Free disk space there, or lower the setting disk_reserve."
        )


def _executables(t: HubState) -> Iterator[WarningRow]:
    for executable, (failures, _) in t.start_backoff.items():
        again = "time" if failures == 1 else "times"
        message = f"Workers under {executable} ended {failures} {again} before they were ready."
        yield WarningRow(
            "hub", message, f"Check that '{executable} -c \"import nbfn_kernel\"' works."
        )


def _functions(t: HubState) -> Iterator[WarningRow]:
    for pool in t.pools.values():
        record = pool.record
        if pool.retired or pool.staged:
            continue
        if pool.start_failures:
            message = (
                f"Workers of {record.name} (app {record.app}) end before they finish an input."
            )
            yield WarningRow(
                record.id, message, "Read its logs; then correct it and deploy it again."
            )
        elif pool in t.lacking and pool.backlog:
            message = f"{record.name} (app {record.app}) {pool.waiting_for}."
            remedy = "End workers of other Functions, or ask for less in its options."
            yield WarningRow(record.id, message, remedy)


def _workers(t: HubState) -> Iterator[WarningRow]:
    limit = t.limits.max_workers
    if len(t.workers) >= limit and any(
        pool.backlog and not pool.workers for pool in t.pools.values()
    ):
        message = f"This machine's limit of {limit} workers is reached, and a Function has none."
        yield WarningRow("hub", message, "Lower warm workers, or raise the setting max_workers.")
