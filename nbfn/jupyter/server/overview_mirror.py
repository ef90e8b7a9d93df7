"""The server's copy of the hub's overview: answers requests without asking the hub, and finds changed fields."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from nbfn.jupyter.server import schema
from nbfn.protocol.messages import OverviewChanges

Row = TypeVar("Row", schema.FunctionRow, schema.CallRow, schema.WorkerRow)


class _Identified(Protocol):
    """A row of the hub."""

    @property
    def id(self) -> str:
        """Its id."""


class _Table(Generic[Row]):
    """The rows of one kind, by id."""

    def __init__(self, row: type[Row], patch: type[Any]) -> None:
        self._row: type[Row] = row
        self._patch = patch
        self._names = tuple(name for name in row.__struct_fields__ if name != "id")
        self._values = attrgetter(*self._names)
        self.rows: dict[str, Row] = {}

    def update(self, changed: Iterable[object]) -> tuple[Any, ...]:
        """Replace rows; return a patch for each row of which a field has changed."""
        patches = []
        for given in changed:
            row = msgspec.convert(given, self._row, from_attributes=True)
            known = self.rows.get(row.id)
            self.rows[row.id] = row
            if fields := self._changed_fields(known, row):
                patches.append(self._patch(id=row.id, **fields))
        return tuple(patches)

    def _changed_fields(self, known: Row | None, row: Row) -> dict[str, Any]:
        if known is None:
            return dict(zip(self._names, self._values(row), strict=True))
        before, after = self._values(known), self._values(row)
        return {
            name: new
            for name, old, new in zip(self._names, before, after, strict=True)
            if old != new
        }

    def missing_from(self, complete: Iterable[_Identified]) -> list[str]:
        """Return the ids of the rows that a complete list does not contain."""
        there = {row.id for row in complete}
        return [name for name in self.rows if name not in there]


class OverviewMirror:
    """What the server knows of the hub. It keeps the last rows while there is no hub.

    Args:
        emit: Called with each change, on the server's event loop.
    """

    def __init__(self, emit: Callable[[schema.OverviewChange], None]) -> None:
        self._emit = emit
        #: A page that knows another stream fetches the overview.
        self._stream = secrets.token_hex(8)
        self._revision = 0
        self._functions = _Table(schema.FunctionRow, schema.FunctionPatch)
        self._calls = _Table(schema.CallRow, schema.CallPatch)
        self._workers = _Table(schema.WorkerRow, schema.WorkerPatch)
        self._hub: schema.HubRow | None = None
        self._unfinished = 0
        self._now, self._now_at = time.time(), time.monotonic()
        self._connection: schema.Connection = "absent"
        self._message = "nbfn is not running."
        self._emitted_at = 0.0

    @property
    def is_current(self) -> bool:
        """Whether the rows are those of a connected hub."""
        return self._connection == "running"

    def apply(self, changes: OverviewChanges) -> None:
        """Apply changes that the hub sent, and emit them."""
        self._now, self._now_at = changes.now, time.monotonic()
        gone = list(changes.gone)
        if changes.complete:
            gone += self._functions.missing_from(changes.functions)
            gone += self._calls.missing_from(changes.calls)
            gone += self._workers.missing_from(changes.workers)
        for name in gone:
            for table in (self._functions, self._calls, self._workers):
                table.rows.pop(name, None)
        self._hub = msgspec.convert(changes.hub, schema.HubRow, from_attributes=True)
        self._unfinished = changes.unfinished
        self._connection, self._message = "running", ""
        self._send(
            self._functions.update(changes.functions),
            self._calls.update(changes.calls),
            self._workers.update(changes.workers),
            tuple(gone),
        )

    def disconnect(self, connection: schema.Connection, message: str) -> None:
        """Note that there is no hub, or that it does not answer; the rows stay."""
        if (connection, message) != (self._connection, self._message):
            self._connection, self._message = connection, message
            self._send()

    def beat(self, interval: float) -> None:
        """Emit an event without a change if none was emitted for ``interval`` seconds."""
        if time.monotonic() - self._emitted_at >= interval:
            self._send(beat=True)

    def reply(self) -> schema.OverviewReply:
        """Return the answer to ``GET overview``."""
        overview = None
        if self._hub is not None:
            overview = schema.Overview(
                stream=self._stream,
                revision=self._revision,
                now=self._time(),
                hub=self._hub,
                unfinished=self._unfinished,
                functions=tuple(self._functions.rows.values()),
                calls=tuple(self._calls.rows.values()),
                workers=tuple(self._workers.rows.values()),
            )
        return schema.OverviewReply(
            connection=self._connection, message=self._message, overview=overview
        )

    def _send(
        self,
        functions: tuple[Any, ...] = (),
        calls: tuple[Any, ...] = (),
        workers: tuple[Any, ...] = (),
        gone: tuple[str, ...] = (),
        *,
        beat: bool = False,
    ) -> None:
        previous = self._revision
        self._revision += not beat
        self._emitted_at = time.monotonic()
        self._emit(
            schema.OverviewChange(
                stream=self._stream,
                previous=previous,
                revision=self._revision,
                now=self._time(),
                connection=self._connection,
                message=self._message,
                hub=self._hub if self.is_current else None,
                unfinished=self._unfinished,
                functions=functions,
                calls=calls,
                workers=workers,
                gone=gone,
            )
        )

    def _time(self) -> float:
        """Return the time on the hub's clock; that of the last rows, if the hub is gone."""
        elapsed = time.monotonic() - self._now_at if self.is_current else 0.0
        return round(self._now + elapsed, 3)
