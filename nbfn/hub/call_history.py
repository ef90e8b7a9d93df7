"""Reads the history of durable calls, and their inputs, for displays. Part of the store; uses its connection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nbfn.hub.call_store import CallStore, outcome_of
from nbfn.hub.query_results import StoredCallRow, StoredHistory, StoredInputRows
from nbfn.hub.scheduler.effects import LoadHistory, LoadInputRows
from nbfn.protocol.call_states import end_state
from nbfn.protocol.messages import Output

if TYPE_CHECKING:
    import sqlite3

#: The most calls, and the most outcomes, that one query reads to find those that match.
MOST_READ = 5000

_COLUMNS = (
    "id, function, version, kind, method, origin, created, ended, total, cancelled, expired, "
    "closed AND NOT EXISTS (SELECT 1 FROM inputs WHERE call = id)"
)


class CallHistory:
    """Answers queries about durable calls.

    Args:
        connection: The connection to the database.
        calls: The tables of calls.
        retention: Seconds that outcomes are kept.
    """

    def __init__(self, connection: sqlite3.Connection, calls: CallStore, retention: float) -> None:
        self._connection = connection
        self._calls = calls
        self._retention = retention

    def page(self, wanted: LoadHistory) -> StoredHistory:
        """Return calls that have ended, newest first, from the place where the previous page ended."""
        found: list[StoredCallRow] = []
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM calls WHERE (created, id) < (?, ?) AND created >= ? "  # noqa: S608
            "AND (? = '' OR function IN (SELECT value FROM json_each(?)) "
            "OR instr(lower(origin), ?) OR instr(lower(id), ?)) ORDER BY created DESC, id DESC",
            (
                *(*wanted.before, wanted.since, wanted.search),
                *(json.dumps(wanted.functions), wanted.search, wanted.search),
            ),
        )
        for count, row in enumerate(rows, 1):
            call = self._row(row)
            if call is not None and (not wanted.states or call.state in wanted.states):
                found.append(call)
            if len(found) > wanted.limit:
                kept = found[: wanted.limit]
                return StoredHistory(
                    wanted, kept, (kept[-1].created, kept[-1].id) if kept else wanted.before
                )
            if count == MOST_READ:
                return StoredHistory(wanted, found, (row[6], row[0]))
        return StoredHistory(wanted, found)

    def inputs(self, wanted: LoadInputRows) -> StoredInputRows:
        """Return the outcomes of a call from some index on, in the states that are wanted."""
        query = f"SELECT {_COLUMNS} FROM calls WHERE id = ?"  # noqa: S608 - a constant
        row = self._connection.execute(query, (wanted.call,)).fetchone()
        if row is None:
            return StoredInputRows(wanted)
        kept_until, expired = row[6] + self._retention, bool(row[10])
        found: list[Output] = []
        following: int | None = None
        outcomes = self._connection.execute(
            "SELECT number, outcome FROM outcomes WHERE call = ? AND number >= ? ORDER BY number LIMIT ?",
            (wanted.call, wanted.first, MOST_READ + 1),
        )
        for place, (number, blob) in enumerate(outcomes):
            if len(found) == wanted.limit or place == MOST_READ:
                following = number
                break
            outcome = outcome_of(wanted.call, number, blob)
            if not wanted.states or outcome.state in wanted.states:
                found.append(outcome)
        return StoredInputRows(wanted, self._row(row), found, following, kept_until, expired)

    def _row(self, row: tuple[Any, ...]) -> StoredCallRow | None:
        """Return a call that has ended; None for another one."""
        call, function, version, kind, method, origin, created, ended, total, cancelled, _, over = (
            row
        )
        if not over:
            return None
        counts = self._calls.counts(call, total, cancelled=bool(cancelled))
        state = end_state(counts)
        names = (call, function, version, kind, method, origin)
        return StoredCallRow(*names, created, ended, counts, str(state))
