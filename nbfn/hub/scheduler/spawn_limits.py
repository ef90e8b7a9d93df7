"""Room for the inputs of durable calls: how many are kept, and how many bytes the disk has for them."""

from __future__ import annotations

from collections.abc import Sequence

from nbfn.hub.scheduler.events import DiskMeasured
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.payloads import Payload
from nbfn.runtime.byte_size import MIB, format_bytes

#: Bytes of the disk for each byte of an input: once in SQLite's log, once in the database.
COPIES = 2
#: Bytes that an input takes up besides its data.
ROW = 64


def disk_measured(t: HubState, event: DiskMeasured) -> None:
    """Take how much room there is; all inputs that were accepted before are counted in it."""
    t.disk, t.disk_trouble = (event.path, event.free), event.trouble


def size(payloads: Sequence[Payload]) -> int:
    """Return how many bytes inputs have in the database; large parts are in files of their own."""
    return sum(len(getattr(payload, "data", b"")) + ROW for payload in payloads)


def reserve(t: HubState, payloads: Sequence[Payload]) -> None:
    """Count inputs that were accepted until the disk is measured again."""
    path, free = t.disk
    t.disk = path, free - COPIES * size(payloads)


def refusal(t: HubState, payloads: Sequence[Payload]) -> str:
    """Return why these inputs of a durable call cannot be kept, "" where they can."""
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
        f"last {format_bytes(reserve)} are for those that were accepted (setting disk_reserve).{more}{now} "
        "Make room there and spawn again."
    )
