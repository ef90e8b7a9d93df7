"""Stores the output of inputs as log lines, in a separate SQLite database.

It is separate so that nothing waits for it: a thread of its own writes it in batches, without fsync.
When lines arrive too fast, new ones are dropped, and a line reports that; when the logs are too large,
the oldest lines are deleted.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nbfn.hub.scheduler.effects import WriteLog
from nbfn.protocol.messages import GetLogs, LogLine, Logs

_log = logging.getLogger("nbfn.hub")

#: Seconds that lines are collected before they are written.
GATHER = 0.1
#: Seconds after which an incomplete line is written as it is.
UNFINISHED = 0.3
#: Bytes that may wait to be written; more are dropped.
MOST_WAITING = 8 * 1024 * 1024
#: Bytes that are kept per call, and calls whose bytes are counted.
MOST_OF_CALL, CALLS_COUNTED = 4 * 1024 * 1024, 10_000
#: Characters of the longest line; longer ones are split.
LONGEST_LINE = 64 * 1024
#: Lines and characters in one answer.
MAX_LINES, MAX_CHARACTERS = 1000, 2 * 1024 * 1024
#: Seconds that a query may wait for lines, and the largest integer of SQLite.
LONGEST_WAIT, LARGEST = 60.0, 2**63 - 1
#: Seconds that the thread has to write pending lines when the hub ends.
LAST_WRITE = 3.0
#: Seconds between two deletions of expired lines, and the fraction to delete when the logs are too large.
SWEEP_EVERY, SWEPT = 60.0, 0.1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS logs (id INTEGER PRIMARY KEY, at REAL NOT NULL, source TEXT NOT NULL,
    app TEXT NOT NULL, function TEXT NOT NULL, call TEXT NOT NULL, number INTEGER NOT NULL,
    worker TEXT NOT NULL, message TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS logs_app ON logs (app, id);
CREATE INDEX IF NOT EXISTS logs_function ON logs (function, id);
CREATE INDEX IF NOT EXISTS logs_call ON logs (call, id);
"""

_Row = tuple[float, str, str, str, str, int, str, str]


@dataclass(slots=True)
class _Entry:
    at: float
    effect: WriteLog


@dataclass(slots=True)
class _Query:
    client: str
    message: GetLogs
    ended: bool  # whether no more lines can arrive
    until: float


class LogStore:
    """The logs of one hub.

    Args:
        path: The database; one that cannot be read is replaced.
        most: Bytes of lines that are kept.
        retention: Seconds that lines are kept.
    """

    def __init__(self, path: Path, most: int, retention: float) -> None:
        self._path = path
        self._most = most
        self._retention = retention
        self._queue: queue.SimpleQueue[_Entry | _Query | None] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[tuple[str, Logs]] = queue.SimpleQueue()
        self._wake: Callable[[], None] = lambda: None
        self._queued_bytes = 0  # bytes in the queue
        self._dropped = 0
        self._rows: list[_Row] = []
        self._unfinished: dict[tuple[str, int, str], _Entry] = {}
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._waiting_queries: list[_Query] = []
        self._size = 0
        self._swept_at = 0.0
        self._thread = threading.Thread(target=self._run, name="nbfn-log-store", daemon=True)

    # --- from the broker's thread ---

    def start(self, wake: Callable[[], None]) -> None:
        """Start the thread; it calls ``wake`` when `finished` has answers."""
        self._wake = wake
        self._thread.start()

    def write(self, effect: WriteLog) -> None:
        """Queue output to be stored; never blocks."""
        size = len(effect.data)
        if self._queued_bytes + size > MOST_WAITING:
            self._dropped += size
            return
        self._queued_bytes += size
        self._queue.put(_Entry(time.time(), effect))

    def ask(self, client: str, query: GetLogs, *, ended: bool) -> None:
        """Queue a query; its answer includes all output that was queued before it."""
        timeout = query.wait if 0.0 <= query.wait <= LONGEST_WAIT else 0.0
        self._queue.put(_Query(client, query, ended, time.monotonic() + timeout))

    def finished(self) -> list[tuple[str, Logs]]:
        """Return (client, answer) for each query that is finished."""
        ready = []
        while not self._finished.empty():
            ready.append(self._finished.get_nowait())
        return ready

    def close(self) -> None:
        """Write all queued output and stop the thread."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(LAST_WRITE)

    # --- the writer's thread ---

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        going = True
        while going:
            queries, going = self._collect()
            self._finish_lines(force=not going or any(query.ended for query in queries))
            try:
                connection = connection or self._open()
                new = self._save(connection)
                self._sweep(connection)
                self._answer_queries(connection, queries, new=new)
            except (sqlite3.Error, OSError) as error:
                # A full disk, for example: logs are lost, calls are not.
                _log.warning("%s cannot be written (%s)", self._path, error)
                if connection is not None and connection.in_transaction:
                    connection.rollback()
                self._rows.clear()
                for query in queries:
                    self._answer(query, [], 0)
        if connection is not None:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        connection = self._repaired()
        (self._size,) = connection.execute(
            "SELECT IFNULL(SUM(LENGTH(message)), 0) FROM logs"
        ).fetchone()
        return connection

    def _repaired(self) -> sqlite3.Connection:
        try:
            return self._opened()
        except sqlite3.OperationalError:  # not caused by the file's content
            raise
        except sqlite3.DatabaseError as error:
            _log.warning(
                "%s cannot be read (%s) and is replaced by an empty one", self._path, error
            )
            for suffix in ("", "-wal", "-shm", "-journal"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
            return self._opened()

    def _opened(self) -> sqlite3.Connection:
        self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, isolation_level=None)
        for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=OFF"):
            connection.execute(f"PRAGMA {pragma}")
        connection.executescript(_SCHEMA)
        return connection

    def _collect(self) -> tuple[list[_Query], bool]:
        """Collect output until a batch is due or a query arrives; return the queries, and False at the end."""
        queries: list[_Query] = []
        timeout = UNFINISHED if self._unfinished else SWEEP_EVERY
        if self._waiting_queries:
            timeout = min(
                timeout, max(0.0, min(w.until for w in self._waiting_queries) - time.monotonic())
            )
        until = time.monotonic() + timeout
        while True:
            try:
                item = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return queries, True
            if item is None:
                return queries, False
            if isinstance(item, _Query):
                queries.append(item)
                until = 0.0
            else:
                self._split_lines(item)
                until = min(until, item.at - time.time() + time.monotonic() + GATHER)

    def _split_lines(self, item: _Entry) -> None:
        """Split output into lines; an incomplete last line waits for its rest."""
        effect = item.effect
        self._queued_bytes -= len(effect.data)
        if self._dropped and not self._queued_bytes:
            text = f"[nbfn: {self._dropped} bytes of logs arrived too fast and were dropped here]\n"
            self._dropped = 0
            self._row(item.at, effect, "system", text)
        if not self._admitted(item):
            return
        key = (effect.call, effect.index, effect.source)
        partial = self._unfinished.pop(key, None)
        data = effect.data if partial is None else partial.effect.data + effect.data
        at = item.at if partial is None else partial.at
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._text(at, effect, line + b"\n")
            at = item.at
        while len(rest) > LONGEST_LINE:
            self._text(at, effect, rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        if rest:
            parts = (
                effect.app,
                effect.function,
                effect.call,
                effect.index,
                effect.worker,
                effect.source,
            )
            self._unfinished[key] = _Entry(at, WriteLog(*parts, rest))

    def _admitted(self, item: _Entry) -> bool:
        effect = item.effect
        if not effect.call or effect.source == "system":
            return True
        before = self._sizes.pop(effect.call, 0)
        self._sizes[effect.call] = before + len(effect.data)
        if len(self._sizes) > CALLS_COUNTED:
            self._sizes.popitem(last=False)
        if before <= MOST_OF_CALL < self._sizes[effect.call]:
            limit = MOST_OF_CALL // 2**20
            self._row(
                item.at,
                effect,
                "system",
                f"[nbfn: only {limit} MiB of logs are kept for each call; the rest is dropped]\n",
            )
        return self._sizes[effect.call] <= MOST_OF_CALL

    def _finish_lines(self, *, force: bool) -> None:
        old = time.time() - UNFINISHED
        for key, partial in list(self._unfinished.items()):
            if force or partial.at < old:
                del self._unfinished[key]
                self._text(partial.at, partial.effect, partial.effect.data)

    def _text(self, at: float, effect: WriteLog, data: bytes) -> None:
        self._row(at, effect, effect.source, data.decode("utf-8", "replace"))

    def _row(self, at: float, effect: WriteLog, source: str, text: str) -> None:
        row = (
            at,
            source,
            effect.app,
            effect.function,
            effect.call,
            effect.index,
            effect.worker,
            text,
        )
        self._rows.append(row)

    def _save(self, connection: sqlite3.Connection) -> bool:
        rows, self._rows = self._rows, []
        if not rows:
            return False
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO logs VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
        self._size += sum(len(row[-1]) for row in rows)
        return True

    def _sweep(self, connection: sqlite3.Connection) -> None:
        now = time.monotonic()
        if self._size > self._most:
            first, last = connection.execute("SELECT MIN(id), MAX(id) FROM logs").fetchone()
            upto = first + max(1, int((last - first) * SWEPT))
            self._delete(connection, "id <= ?", upto)
        if now - self._swept_at > SWEEP_EVERY or not self._swept_at:
            self._swept_at = now
            self._delete(connection, "at < ?", time.time() - self._retention)

    def _delete(self, connection: sqlite3.Connection, which: str, value: float) -> None:
        size = f"SELECT IFNULL(SUM(LENGTH(message)), 0) FROM logs WHERE {which}"  # noqa: S608
        self._size -= connection.execute(size, (value,)).fetchone()[0]
        connection.execute(f"DELETE FROM logs WHERE {which}", (value,))  # noqa: S608

    def _answer_queries(
        self, connection: sqlite3.Connection, queries: list[_Query], *, new: bool
    ) -> None:
        """Answer queries; one that may wait is answered when there are lines, or when its time is over."""
        now = time.monotonic()
        waiting, self._waiting_queries = self._waiting_queries, []
        for query in [*waiting, *queries]:
            if not new and query in waiting and query.until > now:
                self._waiting_queries.append(query)
                continue
            lines, last = self._find(connection, query.message)
            if lines or query.ended or query.until <= now:
                self._answer(query, lines, last)
            else:
                self._waiting_queries.append(query)

    def _answer(self, query: _Query, lines: list[LogLine], last: int) -> None:
        more = len(lines) >= MAX_LINES or sum(len(x.message) for x in lines) >= MAX_CHARACTERS
        answer = Logs(query.message.request, tuple(lines), last, query.ended and not more, more)
        self._finished.put((query.client, answer))
        self._wake()

    def _find(self, connection: sqlite3.Connection, query: GetLogs) -> tuple[list[LogLine], int]:
        where, values = _conditions(query)
        (newest,) = connection.execute("SELECT IFNULL(MAX(id), 0) FROM logs").fetchone()
        after, tail = (min(max(number, 0), LARGEST) for number in (query.after, query.tail))
        if tail:
            first = (
                f"SELECT MIN(id) FROM (SELECT id FROM logs WHERE {where} ORDER BY id DESC LIMIT ?)"  # noqa: S608
            )
            (found,) = connection.execute(first, (*values, tail)).fetchone()
            after = newest if found is None else found - 1
        rows = connection.execute(
            "SELECT id, at, source, app, function, call, number, worker, message FROM logs "  # noqa: S608
            f"WHERE {where} AND id > ? ORDER BY id LIMIT ?",
            (*values, after, MAX_LINES),
        )
        lines: list[LogLine] = []
        size = 0
        for row in rows:
            lines.append(LogLine(*row))
            size += len(row[-1])
            if size >= MAX_CHARACTERS:
                break
        cut = size >= MAX_CHARACTERS or len(lines) >= MAX_LINES
        return lines, lines[-1].id if cut else newest


def _conditions(query: GetLogs) -> tuple[str, list[object]]:
    """Return the WHERE clause of a query, and its values."""
    parts, values = ["1"], list[object]()
    for column in ("app", "function", "call", "worker"):
        if wanted := getattr(query, column):
            parts.append(f"{column} = ?")
            values.append(wanted)
    for comparison, bound in (("at >= ?", query.since), ("at <= ?", query.until)):
        if bound:
            parts.append(comparison)
            values.append(bound)
    if query.sources:
        parts.append(f"source IN ({', '.join('?' * len(query.sources))})")
        values.extend(query.sources)
    if query.search:
        parts.append("INSTR(message, ?)")
        values.append(query.search)
    return " AND ".join(parts), values
