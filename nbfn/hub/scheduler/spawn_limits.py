"""Limits of durable calls: the number of unfinished inputs, and the free disk space."""

from __future__ import annotations

from collections.abc import Sequence

from nbfn.hub.scheduler.events import DiskMeasured
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.payloads import Payload
from nbfn.runtime.byte_size import MIB, format_bytes

#: Bytes on disk per byte of an input: one in SQLite's write-ahead log, one in the database.
COPIES = 2
#: Overhead of an input in bytes.
ROW = 64


def disk_measured(t: HubState, event: DiskMeasured) -> None:
    """Record the free disk space; it includes the space of all accepted inputs."""
    t.disk, t.disk_trouble = (event.path, event.free), event.trouble


def size(payloads: Sequence[Payload]) -> int:
    """Return the bytes of inputs in the database; large parts are separate files."""
    return sum(len(getattr(payload, "data", b"")) + ROW for payload in payloads)


def reserve(t: HubState, payloads: Sequence[Payload]) -> None:
    """Reserve space for accepted inputs until the disk is measured again."""
    path, free = t.disk
    t.disk = path, free - COPIES * size(payloads)


def refusal(t: HubState, payloads: Sequence[Payload]) -> str:
    """Return why these inputs of a durable call cannot be accepted, or ""."""
    if problem := _disk_full(t, payloads):
        return problem
    if t.durable_inputs + len(payloads) <= t.limits.max_spawned:
        return ""
    return (
        f"{t.durable_inputs:,} inputs of spawned calls wait or run already, and no more than {t.limits.max_spawned:,} "
        "are kept (setting max_spawned). Spawn again when some of them have ended."
    )


def _disk_full(t: HubState, payloads: Sequence[Payload]) -> str:
    path, free = t.disk
    needed, reserve = COPIES * size(payloads), t.limits.disk_reserve
    if not t.disk_trouble and free - needed >= reserve:
        return ""
    now = f" It cannot be written now ({t.disk_trouble})." if t.disk_trouble else ""
    more = f" {format_bytes(needed)} are needed." if needed >= MIB / 10 else ""
    return (
        f"{format_bytes(max(free, 0))} are free on the disk of {path}, where spawned calls are kept, and the "
        f"last {format_bytes(reserve)} are reserved for accepted calls (setting disk_reserve).{more}{now} "
        "Free disk space there and spawn again."
    )
