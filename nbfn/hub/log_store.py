"""The logs: what inputs wrote, line by line, in a database of its own.

Of its own because nothing may wait for it: it is written without waiting for the disk, in batches,
by its own thread; when lines come faster than that, or are too many, the oldest go, or those that
come, and a line says so.
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

#: Seconds that lines gather before they are written.
GATHER = 0.1
#: Seconds after which the beginning of a line is written as it is.
UNFINISHED = 0.3
#: Bytes that may wait to be written; what comes on top is dropped.
MOST_WAITING = 8 * 1024 * 1024
#: Bytes of one call that are kept, and calls whose bytes are counted.
MOST_OF_CALL, CALLS_COUNTED = 4 * 1024 * 1024, 10_000
#: Characters of the longest line; longer ones are cut in pieces.
LONGEST_LINE = 64 * 1024
#: Lines and characters in one answer.
LINES_TOLD, CHARACTERS_TOLD = 1000, 2 * 1024 * 1024
#: Seconds that an answer may take while there is nothing to tell, and the largest number that SQLite knows.
LONGEST_WAIT, LARGEST = 60.0, 2**63 - 1
#: Seconds that the thread has to write what is left when the hub ends.
LAST_WRITE = 3.0
#: Seconds between two looks for lines that are too old, and the part that goes when there are too many.
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
class _Written:
    at: float
    what: WriteLog


@dataclass(slots=True)
class _Asked:
    client: str
    query: GetLogs
    ended: bool  # whether nothing more can come
    until: float


class Logbook:
    """The logs of one hub.

    Args:
        path: The database; one that cannot be read is begun anew.
        most: Bytes of messages that are kept.
        retention: Seconds that they are kept.
    """

    def __init__(self, path: Path, most: int, retention: float) -> None:
        self._path = path
        self._most = most
        self._retention = retention
        self._queue: queue.SimpleQueue[_Written | _Asked | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[str, Logs]] = queue.SimpleQueue()
        self._wake: Callable[[], None] = lambda: None
        self._waiting = 0  # bytes in the queue
        self._dropped = 0
        self._rows: list[_Row] = []
        self._unfinished: dict[tuple[str, int, str], _Written] = {}
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._waiters: list[_Asked] = []
        self._size = 0
        self._swept = 0.0
        self._thread = threading.Thread(target=self._run, name="nbfn-logbook", daemon=True)

    # --- from the broker's thread ---

    def start(self, wake: Callable[[], None]) -> None:
        """Start the writer; ``wake`` is called, from its thread, when `answers` has something."""
        self._wake = wake
        self._thread.start()

    def write(self, effect: WriteLog) -> None:
        """Take something that was written; never waits."""
        size = len(effect.data)
        if self._waiting + size > MOST_WAITING:
            self._dropped += size
            return
        self._waiting += size
        self._queue.put(_Written(time.time(), effect))

    def ask(self, client: str, query: GetLogs, *, ended: bool) -> None:
        """Have a question answered, after all that was written before it."""
        patience = query.wait if 0.0 <= query.wait <= LONGEST_WAIT else 0.0
        self._queue.put(_Asked(client, query, ended, time.monotonic() + patience))

    def answers(self) -> list[tuple[str, Logs]]:
        """Return what is to be said, and to whom."""
        ready = []
        while not self._answers.empty():
            ready.append(self._answers.get_nowait())
        return ready

    def close(self) -> None:
        """Write what was taken and end."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(LAST_WRITE)

    # --- the writer's thread ---

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        going = True
        while going:
            asked, going = self._gather()
            self._finish_lines(force=not going or any(one.ended for one in asked))
            try:
                connection = connection or self._open()
                new = self._save(connection)
                self._sweep(connection)
                self._answer(connection, asked, new=new)
            except (
                sqlite3.Error,
                OSError,
            ) as error:  # a full disk, say: logs are lost, calls are not
                _log.warning("%s cannot be written (%s)", self._path, error)
                if connection is not None and connection.in_transaction:
                    connection.rollback()
                self._rows.clear()
                for one in asked:
                    self._say(one, [], 0)
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
        except sqlite3.OperationalError:  # not its own fault
            raise
        except sqlite3.DatabaseError as error:
            _log.warning("%s cannot be read (%s); logs begin anew", self._path, error)
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

    def _gather(self) -> tuple[list[_Asked], bool]:
        """Wait for something, and a little longer for more of it; a question ends the wait."""
        asked: list[_Asked] = []
        patience = UNFINISHED if self._unfinished else SWEEP_EVERY
        if self._waiters:
            patience = min(
                patience, max(0.0, min(w.until for w in self._waiters) - time.monotonic())
            )
        until = time.monotonic() + patience
        while True:
            try:
                item = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return asked, True
            if item is None:
                return asked, False
            if isinstance(item, _Asked):
                asked.append(item)
                until = 0.0
            else:
                self._take(item)
                until = min(until, item.at - time.time() + time.monotonic() + GATHER)

    def _take(self, item: _Written) -> None:
        """Cut what was written into lines; the beginning of one waits for the rest."""
        what = item.what
        self._waiting -= len(what.data)
        if self._dropped and not self._waiting:
            text = f"[nbfn: {self._dropped} bytes of logs came too fast and are missing here]\n"
            self._dropped = 0
            self._row(item.at, what, "system", text)
        if not self._admitted(item):
            return
        key = (what.call, what.index, what.source)
        begun = self._unfinished.pop(key, None)
        data = what.data if begun is None else begun.what.data + what.data
        at = item.at if begun is None else begun.at
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._text(at, what, line + b"\n")
            at = item.at
        while len(rest) > LONGEST_LINE:
            self._text(at, what, rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        if rest:
            parts = (what.app, what.function, what.call, what.index, what.worker, what.source)
            self._unfinished[key] = _Written(at, WriteLog(*parts, rest))

    def _admitted(self, item: _Written) -> bool:
        what = item.what
        if not what.call or what.source == "system":
            return True
        before = self._sizes.pop(what.call, 0)
        self._sizes[what.call] = before + len(what.data)
        if len(self._sizes) > CALLS_COUNTED:
            self._sizes.popitem(last=False)
        if before <= MOST_OF_CALL < self._sizes[what.call]:
            limit = MOST_OF_CALL // 2**20
            self._row(
                item.at,
                what,
                "system",
                f"[nbfn: of a call {limit} MiB are kept; the rest is not]\n",
            )
        return self._sizes[what.call] <= MOST_OF_CALL

    def _finish_lines(self, *, force: bool) -> None:
        old = time.time() - UNFINISHED
        for key, begun in list(self._unfinished.items()):
            if force or begun.at < old:
                del self._unfinished[key]
                self._text(begun.at, begun.what, begun.what.data)

    def _text(self, at: float, what: WriteLog, data: bytes) -> None:
        self._row(at, what, what.source, data.decode("utf-8", "replace"))

    def _row(self, at: float, what: WriteLog, source: str, text: str) -> None:
        row = (at, source, what.app, what.function, what.call, what.index, what.worker, text)
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
        if now - self._swept > SWEEP_EVERY or not self._swept:
            self._swept = now
            self._delete(connection, "at < ?", time.time() - self._retention)

    def _delete(self, connection: sqlite3.Connection, which: str, value: float) -> None:
        size = f"SELECT IFNULL(SUM(LENGTH(message)), 0) FROM logs WHERE {which}"  # noqa: S608
        self._size -= connection.execute(size, (value,)).fetchone()[0]
        connection.execute(f"DELETE FROM logs WHERE {which}", (value,))  # noqa: S608

    def _answer(self, connection: sqlite3.Connection, asked: list[_Asked], *, new: bool) -> None:
        """Answer what is asked; who would rather wait is answered when there is something, or in time."""
        now = time.monotonic()
        waiting, self._waiters = self._waiters, []
        for one in [*waiting, *asked]:
            if not new and one in waiting and one.until > now:
                self._waiters.append(one)
                continue
            lines, last = self._find(connection, one.query)
            if lines or one.ended or one.until <= now:
                self._say(one, lines, last)
            else:
                self._waiters.append(one)

    def _say(self, asked: _Asked, lines: list[LogLine], last: int) -> None:
        more = len(lines) >= LINES_TOLD or sum(len(x.message) for x in lines) >= CHARACTERS_TOLD
        answer = Logs(asked.query.request, tuple(lines), last, asked.ended and not more, more)
        self._answers.put((asked.client, answer))
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
            (*values, after, LINES_TOLD),
        )
        lines: list[LogLine] = []
        told = 0
        for row in rows:
            lines.append(LogLine(*row))
            told += len(row[-1])
            if told >= CHARACTERS_TOLD:
                break
        cut = told >= CHARACTERS_TOLD or len(lines) >= LINES_TOLD
        return lines, lines[-1].id if cut else newest


def _conditions(query: GetLogs) -> tuple[str, list[object]]:
    """Return the part behind WHERE, and its values."""
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
