"""The thread that writes the database of the store.

It commits the saves of many events in one SQLite transaction (one fdatasync). A save that fails by itself
is skipped, and the others are committed. While the disk cannot be written, it retries: after `REFUSE_AFTER`
seconds it refuses new calls, and after `PATIENCE` seconds it answers all pending requests.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from nbfn.hub.disk_space import Disk
from nbfn.hub.query_results import QueryResult, StoredCall
from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler.effects import Effect
from nbfn.hub.scheduler.events import FailuresLoaded, SaveFailed
from nbfn.hub.scheduler.spawn_limits import COPIES
from nbfn.protocol import messages as m
from nbfn.protocol.messages import Payload
from nbfn.runtime.byte_size import MIB, format_bytes
from nbfn.types import InputStatus

_log = logging.getLogger("nbfn.hub")

#: Most events, and most bytes of new inputs, in one transaction.
GROUP, GROUP_BYTES = 2000, 8 * 2**20
#: Seconds between two deletions of expired calls.
EXPIRE_EVERY = 3600.0
#: Seconds of disk errors until new calls are refused, and until all pending requests are answered.
REFUSE_AFTER, PATIENCE = 0.5, 5.0
#: Seconds between two attempts to write: the first delay, and the longest.
RETRY_DELAY, MAX_RETRY_DELAY = 0.1, 1.0
#: Seconds, and attempts, to write the pending transactions when the hub ends.
LAST_WRITE, LAST_ATTEMPTS = 3.0, 3

#: SQLite errors that do not depend on the data that is written.
_TROUBLE = frozenset({
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL,
})  # fmt: skip

#: A result of the store's thread: data that was read, or an effect to carry out after its commit.
StoreResult = Effect | QueryResult | FailuresLoaded | SaveFailed


class Writer:
    """Owns a database connection once it has started.

    Args:
        connection: To the database; used only by this thread from `start` to the end of `close`.
        disk: The file system of the database.
        save: Writes one save, and appends payloads that are no longer needed to a list.
        load: Reads the data of a load effect.
        delete: Deletes the files of a payload.
        expire: Deletes expired data.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        disk: Disk,
        *,
        save: Callable[[Effect, list[Payload]], None],
        load: Callable[[Effect], StoreResult],
        delete: Callable[[Payload], None],
        expire: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._disk = disk
        self._save, self._load, self._delete, self._expire = save, load, delete, expire
        self._queue: queue.SimpleQueue[Transaction | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[StoreResult] = queue.SimpleQueue()
        self._wake: Callable[[], None] = lambda: None
        self._pending: deque[Transaction] = deque()
        self._submitted = self._written = 0  # bytes of new inputs
        self._pause = RETRY_DELAY
        self._failing_since: float | None = None
        self._expired_at = 0.0
        self._closing = threading.Event()
        #: Why the disk cannot be written; empty while it can.
        self.trouble = ""
        #: Free bytes within the database file.
        self.free_bytes = 0
        self._thread = threading.Thread(target=self._run, name="nbfn-store", daemon=True)

    # --- from the hub's thread ---

    def start(self, wake: Callable[[], None]) -> None:
        """Start the thread; it calls ``wake`` when `finished` has results."""
        self._wake = wake
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Bytes of disk space that the pending saves will use."""
        return COPIES * (self._submitted - self._written)

    def submit(self, saves: Sequence[Effect], on_commit: Sequence[Effect]) -> None:
        """Save; after the commit `finished` returns ``on_commit``. All in the order of submission."""
        size = sum(save.size for save in saves if type(save) is fx.SaveCall)
        self._submitted += size
        self._queue.put(Transaction(list(saves), list(on_commit), size))

    def finished(self) -> list[StoreResult]:
        """Return the results that are ready."""
        ready = []
        while not self._done.empty():
            ready.append(self._done.get_nowait())
        return ready

    def close(self) -> bool:
        """Write all submitted transactions and stop; return whether the thread has ended."""
        if self._thread.is_alive():
            self._closing.set()
            self._queue.put(None)
            self._thread.join(LAST_WRITE)
        return not self._thread.is_alive()

    # --- the thread ---

    def _run(self) -> None:
        self._disk.keep_ballast()
        self._drop_expired()
        going = True
        while going:
            going = self._gather()
            while self._pending and self._commit():
                self._wake()
        for _ in range(LAST_ATTEMPTS):
            while self._pending and self._commit():
                pass
            if not self._pending:
                return
            time.sleep(RETRY_DELAY)
        if self._pending:
            _log.error("the hub ended before %d changes could be written", len(self._pending))

    def _gather(self) -> bool:
        """Collect submitted transactions, and wait if there are none; return False when the hub ends."""
        if not self._pending and time.monotonic() - self._expired_at >= EXPIRE_EVERY:
            self._drop_expired()
        timeout = self._pause if self._pending else EXPIRE_EVERY
        until = time.monotonic() + timeout
        try:
            transaction = self._queue.get(timeout=timeout)
            while True:
                if transaction is None:
                    return False
                self._pending.append(transaction)
                if self._failing_since is None:
                    transaction = self._queue.get_nowait()
                else:  # collect more until the next attempt
                    transaction = self._queue.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return not self._closing.is_set()

    def _drop_expired(self) -> None:
        self._expired_at = time.monotonic()
        try:
            self._expire()
        except Exception:  # noqa: BLE001 - logged; it is tried again later
            _log.exception("expired data cannot be deleted")

    def _next_group(self) -> list[Transaction]:
        size, group = 0, list[Transaction]()
        for transaction in self._pending:
            if group and (len(group) >= GROUP or size + transaction.size > GROUP_BYTES):
                break
            size += transaction.size
            group.append(transaction)
        return group

    def _commit(self) -> bool:
        """Write a group of pending transactions; return False if the disk cannot be written."""
        group = self._next_group()
        spent: list[Payload] = []
        try:
            if any(type(save) not in LOADS for transaction in group for save in transaction.saves):
                self._write(group, spent)
        except sqlite3.Error as error:
            self._cannot_write(error)
            return False
        for _ in group:
            self._pending.popleft()
        self._can_write()
        for payload in spent:
            self._delete(payload)
        for transaction in group:
            self._written += transaction.size
            self._report(transaction)
        return True

    def _write(self, group: Sequence[Transaction], spent: list[Payload]) -> None:
        """Commit a group.

        Raises:
            sqlite3.Error: If the disk cannot be written.
        """
        saves = [
            save for transaction in group for save in transaction.saves if type(save) not in LOADS
        ]
        try:
            with self._connection:
                for save in saves:
                    self._save(save, spent)
        except Exception as error:
            if _is_trouble(error):
                raise
            _log.exception("a change cannot be written; the others are written one by one")
            spent.clear()
            self._write_one_by_one(group, spent)

    def _write_one_by_one(self, group: Sequence[Transaction], spent: list[Payload]) -> None:
        with self._connection:
            self._connection.execute("BEGIN")
            for transaction in group:
                transaction.failed.clear()
                for save in [save for save in transaction.saves if type(save) not in LOADS]:
                    for part in split(save):
                        if (why := self._try(part, spent)) is not None:
                            failed = SaveFailed(part, "internal", not_stored(why))
                            transaction.failed.append(failed)
                            if isinstance(part, fx.SaveOutcomes):
                                lost = fx.SaveOutcomes(part.call, [lost_outcome(part, failed)])
                                self._try(lost, spent)

    def _try(self, save: Effect, spent: list[Payload]) -> Exception | None:
        """Write one save in a savepoint; return its error, if any.

        Raises:
            sqlite3.Error: If the disk cannot be written.
        """
        execute = self._connection.execute
        execute("SAVEPOINT one")
        try:
            found: list[Payload] = []
            self._save(save, found)
        except Exception as error:
            if _is_trouble(error):
                raise
            execute("ROLLBACK TO one")
            execute("RELEASE one")
            _log.error("%s cannot be written: %s: %s", save, type(error).__name__, error)
            return error
        execute("RELEASE one")
        spent.extend(found)
        return None

    def _report(self, transaction: Transaction) -> None:
        for save in transaction.saves:
            if type(save) in LOADS:
                self._done.put(self._read(save))
        for failed in transaction.failed:
            self._done.put(failed)
        for effect in transaction.on_commit:
            self._done.put(
                with_failures(effect, transaction.failed) if transaction.failed else effect
            )

    def _read(self, wanted: Effect) -> StoreResult:
        try:
            return self._load(wanted)
        except Exception:  # noqa: BLE001 - logged, and sent to the client
            _log.exception("%s cannot be read", wanted)
            if isinstance(wanted, fx.LoadInputs):
                lost = [leased.lease for leased in wanted.run.inputs]
                run = msgspec.structs.replace(wanted.run, inputs=())
                return dataclasses.replace(wanted, run=run, missing=lost)
            text = "What is stored of this call cannot be read (see logs/hub.log in NBFN_HOME)."
            return refusal(wanted, "data_loss", text)

    # --- disk errors ---

    def _can_write(self) -> None:
        if self._failing_since is not None:
            _log.warning("%s can be written again", self._disk.home)
        self._failing_since, self.trouble, self._pause = None, "", RETRY_DELAY
        with contextlib.suppress(sqlite3.Error):
            pages = self._connection.execute("PRAGMA freelist_count").fetchone()[0]
            self.free_bytes = pages * PAGE
        self._disk.keep_ballast()

    def _cannot_write(self, error: sqlite3.Error) -> None:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            _log.error("%s cannot be written (%s); trying again", self._disk.home, error)
        else:
            self._pause = min(max(2 * self._pause, RETRY_DELAY), MAX_RETRY_DELAY)
        self.trouble = str(error)
        failing = now - self._failing_since
        if failing >= REFUSE_AFTER or self._closing.is_set():
            self._refuse_new()
            if self._disk.drop_ballast():
                self._pause = 0.0
        written_calls = set().union(
            *(
                transaction.calls - {""}
                for transaction in self._pending
                if not only_reads(transaction)
            )
        )
        for transaction in self._pending:
            self._read_or_refuse(transaction, written_calls, over=failing >= PATIENCE)
        if not self._done.empty():
            self._wake()

    def _refuse_new(self) -> None:
        """Refuse calls that are not on disk yet; outcomes of accepted calls need the space."""
        for transaction in self._pending:
            new = [save for save in transaction.saves if is_new(save)]
            if not new:
                continue
            text = self._no_room(transaction.size)
            failed = [SaveFailed(save, "resource_exhausted", text) for save in new]
            transaction.saves = [save for save in transaction.saves if not is_new(save)]
            self._written += transaction.size
            transaction.size = 0
            effects = [(effect, with_failures(effect, failed)) for effect in transaction.on_commit]
            transaction.on_commit = [effect for effect, other in effects if other is effect]
            for fail in failed:
                self._done.put(fail)
            for effect, other in effects:
                if other is not effect:
                    self._done.put(other)

    def _read_or_refuse(
        self, transaction: Transaction, written_calls: set[str], *, over: bool
    ) -> None:
        """Answer reads that do not depend on pending saves; if ``over``, also answer or refuse all other requests."""
        for save in [save for save in transaction.saves if type(save) in LOADS]:
            if not calls_read(save) & written_calls:
                self._done.put(self._read(save))
            elif over and isinstance(save, fx.LoadCall):
                self._done.put(self._with_pending(self._read(save), save))
            elif over and not isinstance(save, fx.LoadInputs):  # a worker waits for the disk
                self._done.put(refusal(save, "resource_exhausted", self._no_room(0)))
            else:
                continue
            transaction.saves.remove(save)
        if not over:
            return
        kept = []
        for effect in transaction.on_commit:
            if is_answer(effect):
                text = (
                    "This is in effect but not on disk yet. It is lost if the hub ends before there is disk space. "
                    f"{self._no_room(0)}"
                )
                self._done.put(refusal(effect, "resource_exhausted", text))
            elif isinstance(effect, fx.Send) and isinstance(effect.message, m.Outputs | m.Progress):
                self._done.put(effect)
            else:  # a worker must not receive it before it is on disk
                kept.append(effect)
        transaction.on_commit = kept

    def _with_pending(self, found: StoreResult, wanted: fx.LoadCall) -> StoreResult:
        """Return a call, including its outcomes that are not written yet."""
        if not isinstance(found, StoredCall):
            return found
        end = math.inf if wanted.end is None else wanted.end
        waiting = [
            outcome
            for transaction in self._pending
            for save in transaction.saves
            if isinstance(save, fx.SaveOutcomes) and save.call == wanted.call
            for outcome in save.outcomes
            if wanted.start <= outcome.index < end
        ]
        return dataclasses.replace(found, outcomes=[*found.outcomes, *waiting])

    def _no_room(self, size: int) -> str:
        free, reserve = format_bytes(self._disk.free()), format_bytes(self._disk.reserve)
        needed = COPIES * size
        want = f"{format_bytes(needed)} are needed, " if needed >= MIB / 10 else ""
        return (
            f"The hub cannot write to {self._disk.home} ({self.trouble}): {want}{free} are free, and "
            f"{reserve} should be (setting disk_reserve). Free disk space there and try again."
        )


#: Bytes per page of the database.
PAGE = 4096


def _is_trouble(error: Exception) -> bool:
    """Whether an error is caused by the disk, not by the data."""
    if not isinstance(error, sqlite3.OperationalError):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in _TROUBLE


#: Effects that read from the store.
LOADS = frozenset({
    *(fx.LoadCall, fx.LoadGraph, fx.LoadHistory, fx.LoadInput, fx.LoadInputRows, fx.LoadInputs),
    fx.LoadFailures,
})  # fmt: skip


@dataclass(slots=True)
class Transaction:
    """The saves of one event, and the effects to carry out after the commit."""

    saves: list[Effect]
    on_commit: list[Effect]
    size: int = 0  # bytes of new inputs
    failed: list[SaveFailed] = field(default_factory=list)

    @property
    def calls(self) -> set[str]:
        """The calls that the saves belong to."""
        return {call for save in self.saves if (call := getattr(save, "call", ""))}


def is_new(save: Effect) -> bool:
    """Whether a save adds new work that was not accepted yet."""
    return isinstance(save, fx.SaveRetry) or (isinstance(save, fx.SaveCall) and bool(save.inputs))


def calls_read(load: Effect) -> set[str]:
    """Return the calls that a load reads."""
    if isinstance(load, fx.LoadInputs):
        return {leased.call for leased in load.run.inputs}
    return {getattr(load, "call", "")}


def only_reads(unit: Transaction) -> bool:
    """Whether a transaction only reads."""
    return all(type(save) in LOADS for save in unit.saves)


def split(save: Effect) -> Sequence[Effect]:
    """Split a save into parts that can fail independently."""
    if isinstance(save, fx.SaveOutcomes):
        return [fx.SaveOutcomes(save.call, [outcome]) for outcome in save.outcomes]
    return [save]


def not_stored(error: Exception) -> str:
    """Return the error text for a change that cannot be stored."""
    return (
        f"This cannot be stored ({type(error).__name__}: {error}). See logs/hub.log in NBFN_HOME."
    )


def with_failures(effect: Effect, failed: Sequence[SaveFailed]) -> Effect:
    """Return the effect to carry out when some saves of its event failed."""
    if not isinstance(effect, fx.Send):
        return effect
    message = effect.message
    calls = {fail.save.call: fail for fail in failed if isinstance(fail.save, fx.SaveCall)}
    if isinstance(message, m.Accepted) and (fail := calls.get(message.call)) is not None:
        return fx.Send(effect.to, m.CallRefused(message.call, fail.code, fail.reason))
    lost = {
        (fail.save.call, fail.save.outcomes[0].index): fail
        for fail in failed
        if isinstance(fail.save, fx.SaveOutcomes)
    }
    if isinstance(message, m.Outputs) and lost:
        outputs = [
            lost_outcome(fail.save, fail) if (fail := lost.get((message.call, o.index))) else o
            for o in message.outputs
        ]
        return fx.Send(effect.to, m.Outputs(message.call, tuple(outputs)), effect.after_commit)
    others = [fail for fail in failed if not isinstance(fail.save, fx.SaveOutcomes | fx.SaveCall)]
    if others and is_answer(effect):
        return refusal(effect, others[0].code, others[0].reason)
    return effect


def lost_outcome(save: fx.SaveOutcomes, failed: SaveFailed) -> m.Output:
    """Return the failure to store in place of an outcome that cannot be stored."""
    fault = m.Fault("data_loss", failed.reason)
    return m.Output(save.outcomes[0].index, int(InputStatus.INTERNAL_FAILURE), None, fault)


def is_answer(effect: Effect) -> bool:
    """Whether an effect answers a request."""
    return isinstance(effect, fx.Send) and hasattr(effect.message, "request")


def refusal(asked: Effect, code: str, text: str) -> fx.Send:
    """Return the message that fails the request which an effect answers."""
    if isinstance(asked, fx.Send):
        client, request = asked.to, getattr(asked.message, "request", 0)
    else:
        client, request = getattr(asked, "client", ""), getattr(asked, "request", 0)
    return fx.Send(client, m.Failed(request, code, text))
