"""Stores durable calls: their inputs, outcomes and parents. Part of the store; uses its connection."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from nbfn.hub.query_results import StoredCall, StoredGraph, StoredInput, StoredRelative
from nbfn.hub.rows import UNREADABLE, decode_row, encode_row, readable
from nbfn.hub.scheduler.effects import (
    LoadCall,
    LoadFailures,
    LoadGraph,
    LoadInput,
    LoadInputs,
    SaveCall,
    SaveFailures,
    SaveOutcomes,
    SaveRetry,
    SaveStarted,
)
from nbfn.hub.scheduler.events import CallRestored, FailuresLoaded
from nbfn.hub.scheduler.payloads import Stored
from nbfn.protocol.call_states import InputCounts
from nbfn.protocol.messages import Fault, Output, Payload, count_outputs
from nbfn.protocol.messages.fields import Count, Ended
from nbfn.types import InputStatus

if TYPE_CHECKING:
    import sqlite3

_log = logging.getLogger("nbfn.hub")

#: Seconds that the row of a call is kept after its outcomes expired, so that "expired" differs from "unknown".
HISTORY = 30 * 86400.0
#: Most inputs in one call graph.
MOST_RELATIVES = 5000

_payload = msgspec.msgpack.Decoder(Payload)

#: Statuses of inputs without a result, whose arguments are kept for a retry or a replay.
TO_REPLAY = frozenset({
    InputStatus.FAILURE, InputStatus.TIMEOUT, InputStatus.INTERNAL_FAILURE, InputStatus.INIT_FAILURE,
    InputStatus.TERMINATED,
})  # fmt: skip

#: The size of a payload, and the payload if it is small: all waiting ones may not fit into memory.
_SMALL = "length(payload), CASE WHEN length(payload) <= 1024 THEN payload END"
#: Calls that have ended.
_ENDED = "closed AND id NOT IN (SELECT call FROM inputs)"


class _Outcome(msgspec.Struct, array_like=True):
    """An `Output` in a row; its fields are validated, since a row may be damaged."""

    index: Count
    status: Ended
    payload: Payload | None
    fault: Fault | None
    duration: float
    worker: str
    attempt: int
    attempts: int = 0


def _loaded(size: int, blob: bytes | None, which: str) -> Payload | Stored | None:
    """Return the payload in a row, or `Stored` if it was not loaded; None if it cannot be read."""
    return Stored(size) if blob is None else readable(_payload, blob, f"input {which}")


_outcome = msgspec.msgpack.Decoder(_Outcome)
#: The columns of a call that `CallStore._restored` reads.
_RestoredRow = tuple[str, int, str, float, int, str, str, str, int, int, str, int]


#: The columns of a call that `CallStore.call` reads.
_CallRow = tuple[str, str, int, int, int, int, int, str, float, int]


def outcome_of(call: str, number: int, blob: bytes) -> Output:
    """Return the outcome in a row; if the row is damaged, a failure with that reason."""
    row = readable(_outcome, blob, f"outcome {number} of call {call}")
    if row is None or row.index != number:
        text = (
            f"The outcome of input {number} of call {call} cannot be read from the hub's database."
        )
        return Output(number, int(InputStatus.INTERNAL_FAILURE), None, Fault("data_loss", text))
    return Output(*(getattr(row, name) for name in _Outcome.__struct_fields__))


def _payloads(blob: bytes) -> list[Payload]:
    """Return the payload in a row as a list; an empty list if it cannot be read."""
    payload = readable(_payload, blob, "an input")
    return [] if payload is None else [payload]


class CallStore:
    """The tables of durable calls.

    Args:
        connection: The connection to the database.
        retention: Seconds that outcomes are kept.
    """

    def __init__(self, connection: sqlite3.Connection, retention: float) -> None:
        self._connection = connection
        self._retention = retention

    # --- saving ---

    def save_call(self, save: SaveCall) -> None:
        """Save a call, or more inputs of it."""
        self._connection.execute(
            "INSERT INTO calls (id, function, version, kind, created, total, parent, method, origin, closed) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET total = total + excluded.total, "
            "closed = max(closed, excluded.closed)",
            (
                *(save.call, save.function, save.version, save.kind, time.time()),
                *(len(save.inputs), save.parent, save.method, save.origin, save.closed),
            ),
        )
        rows = [(save.call, entry.index, encode_row(entry.payload)) for entry in save.inputs]
        self._connection.executemany(
            "INSERT OR IGNORE INTO inputs (call, number, payload) VALUES (?, ?, ?)", rows
        )

    def save_cancelled(self, call: str) -> None:
        """Save that a call was cancelled, before its inputs have ended."""
        self._connection.execute("UPDATE calls SET cancelled = 1 WHERE id = ?", (call,))

    def save_outcomes(self, save: SaveOutcomes) -> list[Payload]:
        """Replace inputs by their outcomes; return payloads that are no longer needed."""
        spent = []
        execute = self._connection.execute
        for outcome in save.outcomes:
            key = (save.call, outcome.index)
            row = execute(
                "SELECT payload FROM inputs WHERE call = ? AND number = ?", key
            ).fetchone()
            if row is not None and outcome.status in TO_REPLAY:
                execute("INSERT OR IGNORE INTO failed_inputs VALUES (?, ?, ?)", (*key, row[0]))
            elif row is not None:
                spent.extend(_payloads(row[0]))
            execute("DELETE FROM inputs WHERE call = ? AND number = ?", key)
            # Not for a call that was refused after it had already run.
            execute(
                "INSERT OR IGNORE INTO outcomes SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM calls WHERE id = ?)",
                (*key, encode_row(outcome), save.call),
            )
        execute(
            "UPDATE calls SET ended = ? WHERE id = ? AND closed "
            "AND NOT EXISTS (SELECT 1 FROM inputs WHERE call = id)",
            (time.time(), save.call),
        )
        return spent

    def save_failures(self, save: SaveFailures) -> None:
        """Save how often an input has failed."""
        self._connection.execute(
            "UPDATE inputs SET failures = ? WHERE call = ? AND number = ?",
            (save.failures, save.call, save.index),
        )

    def save_started(self, save: SaveStarted) -> None:
        """Save that inputs of a Function with `at_most_once` start."""
        rows = [(save.call, index, time.time()) for index in save.indices]
        self._connection.executemany("INSERT OR IGNORE INTO begun VALUES (?, ?, ?)", rows)

    def save_retry(self, save: SaveRetry) -> list[Payload]:
        """Move failed inputs back to the waiting ones; return payloads that are no longer needed."""
        spent = []
        execute = self._connection.execute
        for index in save.indices:
            key = (save.call, index)
            row = execute(
                "SELECT outcome FROM outcomes WHERE call = ? AND number = ?", key
            ).fetchone()
            outcome = (
                readable(_outcome, row[0], f"outcome {index} of call {save.call}") if row else None
            )
            if outcome is not None and outcome.payload is not None:
                spent.append(outcome.payload)
            execute(
                "INSERT OR IGNORE INTO inputs (call, number, payload) "
                "SELECT call, number, payload FROM failed_inputs WHERE call = ? AND number = ?",
                key,
            )
            for table in ("failed_inputs", "outcomes", "begun"):
                execute(f"DELETE FROM {table} WHERE call = ? AND number = ?", key)  # noqa: S608
        # The retention of its results starts again.
        execute(
            "UPDATE calls SET version = ?, created = ?, ended = NULL, cancelled = 0, retry = ?, retried = ? "
            "WHERE id = ?",
            (save.version, time.time(), save.token, len(save.indices), save.call),
        )
        return spent

    # --- loading ---

    def started_inputs(self) -> set[tuple[str, int]]:
        """Return the started inputs of Functions with `at_most_once`."""
        return set(self._connection.execute("SELECT call, number FROM begun"))

    def unfinished(self) -> list[CallRestored]:
        """Return the calls that have unfinished inputs, or still receive inputs."""
        inputs: dict[str, list[tuple[int, Payload | Stored | None]]] = {
            row[0]: [] for row in self._connection.execute("SELECT id FROM calls WHERE NOT closed")
        }
        for call, number, size, blob in self._connection.execute(
            f"SELECT call, number, {_SMALL} FROM inputs ORDER BY call, number"  # noqa: S608 - a constant
        ):
            inputs.setdefault(call, []).append((number, _loaded(size, blob, f"{number} of {call}")))
        restored = (self._restored(call, waiting) for call, waiting in inputs.items())
        return [call for call in restored if call is not None]

    def _restored(
        self, call: str, waiting: Sequence[tuple[int, Payload | Stored | None]]
    ) -> CallRestored | None:
        columns = (
            "function, version, kind, created, total, parent, method, origin, closed, cancelled, "
            "retry, retried"
        )
        row = self._connection.execute(
            f"SELECT {columns} FROM calls WHERE id = ?",  # noqa: S608 - a constant
            (call,),
        ).fetchone()
        try:
            function, version, kind, created, total, *source, closed, cancelled, token, retried = (
                msgspec.convert(row, _RestoredRow)
            )
            parent, method, origin = source
        except UNREADABLE as error:
            _log.error("call %s cannot be read from the store and is skipped (%s)", call, error)
            return None
        runs_again = {index for index, _ in waiting}
        outcomes = self._outcomes(call)
        return CallRestored(
            call=call,
            function=function,
            version=version,
            kind=kind,
            inputs=waiting,
            total=total,
            settled=count_outputs(
                outcome for outcome in outcomes if outcome.index not in runs_again
            ),
            age=max(0.0, time.time() - created),
            parent=parent,
            method=method,
            origin=origin,
            closed=bool(closed),
            cancelled=bool(cancelled),
            failures=dict(
                self._connection.execute(
                    "SELECT number, failures FROM inputs WHERE call = ? AND failures", (call,)
                )
            ),
            retried=(token, retried),
        )

    def failures(self, wanted: LoadFailures) -> FailuresLoaded:
        """Return a call with its failed inputs that can be retried."""
        names = (wanted.client, wanted.request, wanted.call, wanted.token)
        row = self._connection.execute(
            "SELECT expired FROM calls WHERE id = ?", (wanted.call,)
        ).fetchone()
        if row is None:
            return FailuresLoaded(*names, None)
        failed = self._connection.execute(
            f"SELECT number, {_SMALL} FROM failed_inputs WHERE call = ? ORDER BY number",  # noqa: S608
            (wanted.call,),
        )
        read = [(n, _loaded(size, blob, f"{n} of {wanted.call}")) for n, size, blob in failed]
        inputs = [(number, payload) for number, payload in read if payload is not None]
        return FailuresLoaded(*names, self._restored(wanted.call, inputs), bool(row[0]))

    def ended(self, most: int) -> list[str]:
        """Return the latest calls that have ended, oldest first."""
        rows = self._connection.execute(
            f"SELECT id FROM calls WHERE {_ENDED} ORDER BY created DESC LIMIT ?",  # noqa: S608 - a constant
            (most,),
        )
        return [row[0] for row in rows][::-1]

    def call(self, watch: LoadCall) -> StoredCall:
        """Return a call with the requested outcomes."""
        row = self._connection.execute(
            "SELECT function, kind, total, closed, expired, cancelled, version, method, created, "
            "EXISTS (SELECT 1 FROM inputs WHERE call = id) FROM calls WHERE id = ?",
            (watch.call,),
        ).fetchone()
        if row is None:
            return StoredCall(watch)
        function, kind, total, closed, expired, cancelled, version, method, created, waiting = (
            msgspec.convert(row, _CallRow)
        )
        ended = bool(closed) and not waiting
        return StoredCall(
            watch,
            function,
            kind,
            total,
            self.outcomes(watch.call, watch.start, watch.end),
            closed=bool(closed),
            ended=ended,
            expired=bool(expired),
            counts=self.counts(watch.call, total, cancelled=bool(cancelled)) if ended else None,
            version=version,
            method=method,
            created=created,
            kept_until=created + self._retention,
        )

    def counts(self, call: str, total: int, *, cancelled: bool) -> InputCounts:
        """Return how many inputs of an ended call are in each state."""
        if cancelled:  # an older nbfn kept no arguments of cancelled inputs
            found = count_outputs(self._outcomes(call))
        else:
            rows = self._connection.execute(
                "SELECT number, outcome FROM failed_inputs JOIN outcomes USING (call, number) WHERE call = ?",
                (call,),
            )
            found = count_outputs(outcome_of(call, number, blob) for number, blob in rows)
            kept = self._connection.execute("SELECT count(*) FROM outcomes WHERE call = ?", (call,))
            found = msgspec.structs.replace(
                found, succeeded=int(kept.fetchone()[0]) - found.unsuccessful
            )
        return msgspec.structs.replace(found, total=total)

    def outcomes(self, call: str, start: int = 0, end: int | None = None) -> list[Output]:
        """Return outcomes of a call, by index."""
        return list(self._outcomes(call, start, end))

    def _outcomes(self, call: str, start: int = 0, end: int | None = None) -> Iterator[Output]:
        rows = self._connection.execute(
            "SELECT number, outcome FROM outcomes WHERE call = ? AND number >= ? AND (? IS NULL OR number < ?) "
            "ORDER BY number",
            (call, start, end, end),
        )
        for number, blob in rows:
            yield outcome_of(call, number, blob)

    def input(self, wanted: LoadInput) -> StoredInput:
        """Return the arguments of an input that has no outcome or has failed."""
        row = self._connection.execute(
            "SELECT function, version, method FROM calls WHERE id = ?", (wanted.call,)
        ).fetchone()
        if row is None:
            return StoredInput(wanted)
        function, version, method = row
        payload = None
        for table in ("inputs", "failed_inputs"):
            found = self._connection.execute(
                f"SELECT payload FROM {table} WHERE call = ? AND number = ?",  # noqa: S608 - a constant
                (wanted.call, wanted.index),
            ).fetchone()
            if found is not None:
                payload = readable(
                    _payload, found[0], f"input {wanted.index} of call {wanted.call}"
                )
        return StoredInput(wanted, function, version, method, payload)

    def inputs(self, wanted: LoadInputs) -> LoadInputs:
        """Load the payloads of leased inputs; the result names the leases whose payload is missing."""
        found, missing = [], []
        for leased in wanted.run.inputs:
            if not isinstance(leased.payload, Stored):
                found.append(leased)
                continue
            row = self._connection.execute(
                "SELECT payload FROM inputs WHERE call = ? AND number = ?",
                (leased.call, leased.index),
            ).fetchone()
            which = f"input {leased.index} of call {leased.call}"
            payload = readable(_payload, row[0], which) if row is not None else None
            if payload is None:
                missing.append(leased.lease)
            else:
                found.append(msgspec.structs.replace(leased, payload=payload))
        run = msgspec.structs.replace(wanted.run, inputs=tuple(found))
        return dataclasses.replace(wanted, run=run, missing=missing)

    # --- call graphs ---

    def graph(self, wanted: LoadGraph) -> StoredGraph:
        """Return the stored part of the call graph of some calls: up to the roots, and down from there."""
        found: dict[str, None] = dict.fromkeys(wanted.calls)
        for call in wanted.calls:
            while (call := self._parent(call)) and call not in found:
                found[call] = None
        relatives: list[StoredRelative] = []
        below = list(found)
        while below and len(relatives) < MOST_RELATIVES:
            call = below.pop()
            relatives.extend(self._inputs_of(call, MOST_RELATIVES - len(relatives)))
            for row in self._connection.execute(
                "SELECT id FROM calls WHERE parent > ? AND parent < ?", (f"{call}:", f"{call};")
            ):
                if row[0] not in found:
                    found[row[0]] = None
                    below.append(row[0])
        return StoredGraph(wanted, relatives)

    def _parent(self, call: str) -> str:
        row = self._connection.execute("SELECT parent FROM calls WHERE id = ?", (call,)).fetchone()
        return str(row[0]).partition(":")[0] if row is not None else ""

    def _inputs_of(self, call: str, most: int) -> Iterable[StoredRelative]:
        row = self._connection.execute(
            "SELECT parent, function, version, method FROM calls WHERE id = ?", (call,)
        ).fetchone()
        if row is None:
            return
        parent, function, version, method = row
        pending = int(InputStatus.PENDING)
        for (index,) in self._connection.execute(
            "SELECT number FROM inputs WHERE call = ? ORDER BY number LIMIT ?", (call, most)
        ):
            yield StoredRelative(call, index, parent, pending, "", function, version, method)
        for number, blob in self._connection.execute(
            "SELECT number, outcome FROM outcomes WHERE call = ? ORDER BY number LIMIT ?",
            (call, most),
        ):
            o = outcome_of(call, number, blob)
            yield StoredRelative(
                call, o.index, parent, o.status, o.worker, function, version, method
            )

    # --- expiry ---

    def expire(self, drop: Callable[[Payload | None], None]) -> int:
        """Delete expired outcomes and the rows of old calls; return the number of calls that expired.

        Args:
            drop: Deletes the files of a payload.
        """
        now = time.time()
        execute = self._connection.execute
        calls = [
            row[0]
            for row in execute(
                f"SELECT id FROM calls WHERE created < ? AND NOT expired AND {_ENDED}",  # noqa: S608 - a constant
                (now - self._retention,),
            )
        ]
        for call in calls:
            for outcome in self._outcomes(call):
                drop(outcome.payload)
            for (blob,) in execute("SELECT payload FROM failed_inputs WHERE call = ?", (call,)):
                for payload in _payloads(blob):
                    drop(payload)
            execute("DELETE FROM outcomes WHERE call = ?", (call,))
            execute("DELETE FROM failed_inputs WHERE call = ?", (call,))
            execute("UPDATE calls SET expired = 1 WHERE id = ?", (call,))
        execute(
            "DELETE FROM calls WHERE expired AND created < ?", (now - self._retention - HISTORY,)
        )
        execute("DELETE FROM begun WHERE created < ?", (now - self._retention,))
        return len(calls)

    def payloads(self) -> Iterable[Payload | None]:
        """Yield every payload that a row references."""
        for table in ("inputs", "failed_inputs"):
            for row in self._connection.execute(f"SELECT payload FROM {table}"):  # noqa: S608
                yield decode_row(_payload, row[0])
        for row in self._connection.execute("SELECT outcome FROM outcomes"):
            yield decode_row(_outcome, row[0]).payload
