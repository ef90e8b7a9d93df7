"""Writes logs: output of inputs and workers, and system lines about a Function."""

from __future__ import annotations

from collections.abc import Collection

from nbfn.hub.scheduler.effects import WriteLog
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Input, Pool
from nbfn.hub.scheduler.output_audience import reaches
from nbfn.protocol import messages as m

#: Output channels that contain text.
_TEXT = frozenset({"stdout", "stderr"})


def wrote(t: HubState, item: Input, worker: str, channel: str, data: bytes) -> None:
    """Log output of an input; displays are not logged."""
    if channel in _TEXT:
        _write(t, item.call.pool, channel, data, worker, item)
    elif channel == "log":  # a log record, which starts with its text
        _write(t, item.call.pool, "stderr", data.partition(b"\0")[0], worker, item)


def failed(t: HubState, item: Input, worker: str, data: bytes) -> None:
    """Log the traceback of an unattended input."""
    _write(t, item.call.pool, "stderr", data, worker, item, only_here=True)


def worker_wrote(t: HubState, pool: Pool, worker: str, channel: str, data: bytes) -> None:
    """Log output of a worker outside of inputs."""
    if channel in _TEXT:
        _write(t, pool, channel, data, worker, None)


def system(
    t: HubState,
    pool: Pool,
    text: str,
    *,
    worker: str = "",
    item: Input | None = None,
    call: str = "",
    already_sent: Collection[str] = (),
) -> None:
    """Log a line about a Function's workers, inputs or schedule, except for clients in ``already_sent``."""
    _write(t, pool, "system", f"{text}\n".encode(), worker, item, call, already_sent=already_sent)


def _write(
    t: HubState,
    pool: Pool,
    source: str,
    data: bytes,
    worker: str,
    item: Input | None,
    call: str = "",
    *,
    only_here: bool = False,
    already_sent: Collection[str] = (),
) -> None:
    record = pool.record
    named = item.call.id if item is not None else call
    index = item.index if item is not None else 0
    where = (record.app_id, record.base or record.id, named, index, worker)
    t.emit(WriteLog(*where, source, data))
    app = t.registry.apps.get(record.app_id)
    for client in app.followers if app is not None else ():
        if client in already_sent or client not in t.clients or not t.clients[client].connected:
            continue
        if only_here or item is None or source == "system" or not reaches(t, item, client):
            method = f".{item.call.method}" if item is not None and item.call.method else ""
            written = (f"{record.name}{method}", named, index, source, data)
            t.send(client, m.AppOutput(record.app_id, *written))
