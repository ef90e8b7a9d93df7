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
    record, method = pool.record, ""
    named, index = call, 0
    if item is not None:
        named, index, method = item.call.id, item.index, item.call.method
    t.emit(WriteLog(record.app_id, record.base or record.id, named, index, worker, source, data))
    name = f"{record.name}.{method}" if method else record.name
    seen_by = None if only_here or source == "system" else item
    for client in _followers(t, record.app_id):
        if client not in already_sent and not (seen_by and reaches(t, seen_by, client)):
            t.send(client, m.AppOutput(record.app_id, name, named, index, source, data))


def _followers(t: HubState, app_id: str) -> list[str]:
    """Return the connected clients that follow the output of an App."""
    app = t.registry.apps.get(app_id)
    names = app.followers if app is not None else ()
    return [name for name in names if name in t.clients and t.clients[name].connected]
