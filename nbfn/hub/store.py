"""The durable facts, in SQLite: Functions and versions, overrides, spawned calls with their inputs
and outcomes.

One writer thread owns the connection. The broker hands it what one turn of its loop saved, together
with the words that may only be said once that is on disk; the thread commits all that has gathered
in one transaction (group commit: one fdatasync for many turns) and hands the words back. Source of
the figures behind this: promises.md 1.2.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import queue
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from nbfn.exception import ServiceError
from nbfn.hub.archive import Archive
from nbfn.hub.machine.effects import (
    Effect,
    ForgetApp,
    LoadCall,
    LoadFailures,
    LoadGraph,
    LoadInput,
    LoadInputs,
    SaveApp,
    SaveBegun,
    SaveCall,
    SaveCancelled,
    SaveEnvironments,
    SaveFailures,
    SaveFunction,
    SaveOutcomes,
    SaveRetry,
    SaveSecret,
    SaveSettings,
    SaveVariant,
)
from nbfn.hub.machine.events import CallRestored, FailuresLoaded
from nbfn.hub.machine.records import HISTORY_KEPT, AppRecord, Deployment
from nbfn.hub.machine.registry import FunctionRecord, SecretRecord, variant_of
from nbfn.hub.schema import opened
from nbfn.hub.stored import StoredCall, StoredGraph, StoredInput
from nbfn.wire.messages import Definition, Payload, Variant

_log = logging.getLogger("nbfn.hub")

#: Seconds that the maker of a kept payload part has to tell of it.
BLOB_GRACE = 3600.0
#: Seconds between two looks for what has expired.
EXPIRE_EVERY = 3600.0
#: Most turns in one transaction.
GROUP = 2000

_definition = msgspec.msgpack.Decoder(Definition)
_variant = msgspec.msgpack.Decoder(Variant)
_encode = msgspec.msgpack.Encoder().encode
_LOADS = frozenset({LoadCall, LoadGraph, LoadInput, LoadInputs, LoadFailures})
#: What was read, and what may be said once the rest is on disk.
_Word = Effect | StoredCall | StoredGraph | StoredInput | FailuresLoaded


class Store:
    """The database of one hub.

    Args:
        path: The file.
        blobs: Directory of payload parts kept beside it.
        retention: Seconds that calls and their outcomes are kept.

    Raises:
        VersionError: If a later nbfn wrote the file.
        ServiceError: If it cannot be read.
    """

    def __init__(self, path: Path, blobs: Path, retention: float) -> None:
        self._blobs = blobs
        self._path = path
        try:
            self._connection = opened(path)
        except sqlite3.DatabaseError as error:
            raise ServiceError(
                f"{path} cannot be read ({error}). Move it away, with what is named {path.name}-*, and a new one "
                "is made; what was deployed and spawned is in the old one."
            ) from error
        self._archive = Archive(self._connection, retention)
        self._queue: queue.SimpleQueue[tuple[Sequence[Effect], Sequence[Effect]] | None] = (
            queue.SimpleQueue()
        )
        self._done: queue.SimpleQueue[_Word] = queue.SimpleQueue()
        self._wake: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="nbfn-store", daemon=True)

    # --- before the writer thread starts ---

    def load_functions(self) -> list[FunctionRecord]:
        """Return all Functions with their versions and overrides; variants come after their bases."""
        records: dict[str, FunctionRecord] = {}
        for row in self._connection.execute("SELECT record, latest, removed FROM functions"):
            named = msgspec.msgpack.decode(row[0])
            record = FunctionRecord(**named, latest=row[1], removed=bool(row[2]))
            records[record.id] = record
        for function, version, blob in self._connection.execute(
            "SELECT function, version, definition FROM versions ORDER BY version"
        ):
            records[function].versions[version] = _definition.decode(blob)
        records |= self._load_variants(records)
        for function, blob in self._connection.execute("SELECT function, settings FROM overrides"):
            if function in records:
                records[function].overrides = msgspec.msgpack.decode(blob)
        return [record for record in records.values() if record.versions]

    def load_apps(self) -> list[AppRecord]:
        """Return all Apps with their deployments."""
        apps = {
            row[0]: msgspec.msgpack.decode(row[1], type=AppRecord)
            for row in self._connection.execute("SELECT id, record FROM apps")
        }
        rows = self._connection.execute(
            "SELECT app, version, deployment FROM deployments ORDER BY version"
        )
        for app, version, blob in rows:
            if app in apps:
                apps[app].deployments[version] = msgspec.msgpack.decode(blob, type=Deployment)
        return list(apps.values())

    def load_environments(self) -> dict[str, float]:
        """Return the environments that were made, and when."""
        return dict(self._connection.execute("SELECT name, created FROM environments").fetchall())

    def _load_variants(self, bases: dict[str, FunctionRecord]) -> dict[str, FunctionRecord]:
        rows = self._connection.execute("SELECT id, base, variant, digest, shown FROM variants")
        return {
            made: variant_of(bases[base], made, _variant.decode(blob), digest, shown)
            for made, base, blob, digest, shown in rows
            if base in bases
        }

    def load_secrets(self) -> list[SecretRecord]:
        """Return all stored secrets."""
        rows = self._connection.execute("SELECT environment, name, variables, created FROM secrets")
        return [SecretRecord(n, e, msgspec.msgpack.decode(v), c) for e, n, v, c in rows]

    def load_unfinished(self) -> list[CallRestored]:
        """Return the durable calls that still have inputs to run, or to get."""
        return self._archive.unfinished()

    def load_begun(self) -> set[tuple[str, int]]:
        """Return the inputs that began and may not begin again."""
        return self._archive.begun()

    def load_ended(self, most: int) -> list[str]:
        """Return the latest durable calls that have all their outcomes, the oldest of them first."""
        return self._archive.ended(most)

    def start(self, wake: Callable[[], None]) -> None:
        """Start the writer; ``wake`` is called, from its thread, when `finished` has something."""
        self._wake = wake
        self._thread.start()

    # --- from the broker's thread ---

    def room(self) -> tuple[str, int]:
        """Return where it is, and how many bytes are free there."""
        where = str(self._path.parent)
        try:
            disk = os.statvfs(where)
        except OSError:  # what is wrong with it, writing will tell
            return where, sys.maxsize
        return where, disk.f_bavail * disk.f_frsize

    def submit(self, saves: Sequence[Effect], then: Sequence[Effect]) -> None:
        """Save, and hand back ``then`` by `finished` once it is on disk; all in the order of
        submission.
        """
        self._queue.put((saves, then))

    def finished(self) -> list[_Word]:
        """Return what may be said now."""
        ready = []
        while not self._done.empty():
            ready.append(self._done.get_nowait())
        return ready

    def close(self) -> None:
        """Save what was submitted and end."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._connection.close()

    # --- the writer thread ---

    def _run(self) -> None:
        self._expire()
        while (turn := self._next()) is not None:
            gathered = [turn]
            while len(gathered) < GROUP and not self._queue.empty():
                following = self._queue.get_nowait()
                if following is None:
                    self._commit(gathered)
                    return
                gathered.append(following)
            self._commit(gathered)

    def _next(self) -> tuple[Sequence[Effect], Sequence[Effect]] | None:
        """Return the next turn's work, None for the end; what has expired is dropped in between."""
        while True:
            if time.monotonic() - self._expired_at >= EXPIRE_EVERY:
                self._expire()
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=EXPIRE_EVERY)

    def _commit(self, gathered: list[tuple[Sequence[Effect], Sequence[Effect]]]) -> None:
        saves = [save for turn, _ in gathered for save in turn if type(save) not in _LOADS]
        spent = self._save_all(saves) if saves else []
        for payload in spent:
            self._delete_blobs(payload)
        for turn, then in gathered:
            for save in turn:
                if isinstance(save, LoadCall):
                    self._done.put(self._archive.call(save))
                elif isinstance(save, LoadGraph):
                    self._done.put(self._archive.graph(save))
                elif isinstance(save, LoadInput):
                    self._done.put(self._archive.input(save))
                elif isinstance(save, LoadInputs):
                    self._done.put(self._archive.inputs(save))
                elif isinstance(save, LoadFailures):
                    self._done.put(self._archive.failures(save))
            for effect in then:
                self._done.put(effect)
        self._wake()

    def _save_all(self, saves: Sequence[Effect]) -> list[Payload]:
        """Commit, again and again while the disk refuses: nothing that waits for it is said
        meanwhile, nothing is lost.
        """
        pause = 0.1
        while True:
            spent: list[Payload] = []
            try:
                with self._connection:
                    for save in saves:
                        self._save(save, spent)
                return spent
            except sqlite3.OperationalError as error:
                _log.error("%s cannot be written (%s); trying again", self._path, error)
                time.sleep(pause)
                pause = min(2 * pause, 5.0)

    def _save(self, save: Effect, spent: list[Payload]) -> None:
        execute = self._connection.execute
        match save:
            case SaveFunction():
                self._save_function(save)
            case SaveVariant():
                made: FunctionRecord = save.record
                execute(
                    "INSERT OR REPLACE INTO variants VALUES (?, ?, ?, ?, ?)",
                    (made.id, made.base, _encode(made.variant), made.digest, made.shown),
                )
            case SaveApp():
                self._save_app(save)
            case ForgetApp():
                self._forget_app(save)
            case SaveEnvironments():
                execute("DELETE FROM environments")
                rows = list(save.environments.items())
                self._connection.executemany("INSERT INTO environments VALUES (?, ?)", rows)
            case SaveSettings():
                execute(
                    "INSERT OR REPLACE INTO overrides VALUES (?, ?)",
                    (save.function, _encode(save.settings)),
                )
            case SaveSecret():
                self._save_secret(save)
            case SaveCall():
                self._archive.save_call(save)
            case SaveCancelled():
                self._archive.save_cancelled(save.call)
            case SaveBegun():
                self._archive.save_begun(save)
            case SaveFailures():
                self._archive.save_failures(save)
            case SaveOutcomes():
                spent.extend(self._archive.save_outcomes(save))
            case SaveRetry():
                spent.extend(self._archive.save_retry(save))

    def _save_function(self, save: SaveFunction) -> None:
        record: FunctionRecord = save.record
        names = ("id", "app", "app_id", "environment_name", "deployed", "name", "owner")
        row = _encode({name: getattr(record, name) for name in names})
        execute = self._connection.execute
        latest = save.version if save.latest is None else save.latest
        execute(
            "INSERT OR REPLACE INTO functions VALUES (?, ?, ?, ?)",
            (record.id, row, latest, save.removed),
        )
        execute(
            "INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?)",
            (record.id, save.version, _encode(record.versions[save.version]), time.time()),
        )
        if latest == save.version:
            execute(
                "DELETE FROM overrides WHERE function = ? "
                "OR function IN (SELECT id FROM variants WHERE base = ?)",
                (record.id, record.id),
            )

    def _save_app(self, save: SaveApp) -> None:
        app, execute = save.record, self._connection.execute
        execute("INSERT OR REPLACE INTO apps VALUES (?, ?)", (app.id, _encode(app)))
        if (made := save.deployment) is not None:
            row = (app.id, made.version, _encode(made))
            execute("INSERT OR REPLACE INTO deployments VALUES (?, ?, ?)", row)
            oldest = made.version - HISTORY_KEPT
            execute("DELETE FROM deployments WHERE app = ? AND version <= ?", (app.id, oldest))

    def _forget_app(self, save: ForgetApp) -> None:
        execute = self._connection.execute
        for table, column in (("apps", "id"), ("deployments", "app")):
            execute(f"DELETE FROM {table} WHERE {column} = ?", (save.app_id,))  # noqa: S608
        for function in save.functions:
            execute(
                "DELETE FROM overrides WHERE function IN (SELECT id FROM variants WHERE base = ?)",
                (function,),
            )
            for table, column in (
                ("functions", "id"),
                ("versions", "function"),
                ("overrides", "function"),
                ("variants", "base"),
            ):
                execute(f"DELETE FROM {table} WHERE {column} = ?", (function,))  # noqa: S608

    def _save_secret(self, save: SaveSecret) -> None:
        key = (save.environment_name, save.name)
        self._connection.execute("DELETE FROM secrets WHERE environment = ? AND name = ?", key)
        if save.values is not None:
            row = (*key, _encode(dict(save.values)), save.created)
            self._connection.execute("INSERT INTO secrets VALUES (?, ?, ?, ?)", row)

    def _expire(self) -> None:
        """Drop what was kept for its time, in the database and beside it."""
        self._expired_at = time.monotonic()
        with self._connection:
            count = self._archive.expire(self._delete_blobs)
        self._sweep_blobs()
        if count:
            _log.info("the outcomes of %d calls are over their retention and were dropped", count)

    def _sweep_blobs(self) -> None:
        """Delete kept payload parts that no row names: their maker was killed before it could say so."""
        definitions = self._connection.execute("SELECT definition FROM versions")
        named = {
            segment.name
            for payload in itertools.chain(
                (_definition.decode(row[0]).payload for row in definitions),
                self._archive.payloads(),  # one at a time: not all fit into memory
            )
            if payload is not None
            for segment in payload.segments
        }
        old = time.time() - BLOB_GRACE
        for path in self._blobs.iterdir():
            if path.name not in named and path.stat().st_mtime < old:
                path.unlink(missing_ok=True)

    def _delete_blobs(self, payload: Payload | None) -> None:
        for segment in payload.segments if payload is not None else ():
            if segment.place == "blob":
                (self._blobs / Path(segment.name).name).unlink(missing_ok=True)
