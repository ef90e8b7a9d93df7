"""Durable state in SQLite: Apps, Functions and their versions, settings, secrets, and spawned calls with
their inputs and outcomes.

First, the state of the previous hub is loaded; a row that cannot be read is logged and skipped.
Then a `Writer` owns the connection. The broker submits the saves of each event, together with the
effects to carry out after their commit.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from nbfn.exception import ServiceError, VersionError
from nbfn.hub.call_history import CallHistory
from nbfn.hub.call_store import CallStore
from nbfn.hub.disk_space import Disk
from nbfn.hub.rows import UNREADABLE, decode_row, encode_row, readable
from nbfn.hub.scheduler.app_records import HISTORY_KEPT, AppRecord, Deployment
from nbfn.hub.scheduler.effects import (
    Effect,
    ForgetApp,
    LoadCall,
    LoadFailures,
    LoadGraph,
    LoadHistory,
    LoadInput,
    LoadInputRows,
    LoadInputs,
    SaveApp,
    SaveCall,
    SaveCancelled,
    SaveEnvironments,
    SaveFailures,
    SaveFunction,
    SaveOutcomes,
    SaveRetry,
    SaveSecret,
    SaveSettings,
    SaveStarted,
    SaveVariant,
)
from nbfn.hub.scheduler.events import CallRestored, DiskMeasured
from nbfn.hub.scheduler.registry import FunctionRecord, SecretRecord, variant_of
from nbfn.hub.writer import StoreResult, Writer
from nbfn.protocol.blob_checksum import is_intact
from nbfn.protocol.messages import Definition, Payload, Variant

_log = logging.getLogger("nbfn.hub")

#: Seconds after which a payload file that no row references is deleted.
BLOB_GRACE = 3600.0

_definition = msgspec.msgpack.Decoder(Definition)
_variant = msgspec.msgpack.Decoder(Variant)
_app = msgspec.msgpack.Decoder(AppRecord)
_deployment = msgspec.msgpack.Decoder(Deployment)
_settings = msgspec.msgpack.Decoder(dict[str, int | float])
_variables = msgspec.msgpack.Decoder(dict[str, str])


class _Names(msgspec.Struct):
    """The fields of a `FunctionRecord` that its row stores."""

    id: str
    app: str
    app_id: str
    environment_name: str
    deployed: bool
    name: str
    owner: str = ""


_names = msgspec.msgpack.Decoder(_Names)


class Store:
    """The database of one hub.

    Args:
        path: The file.
        blobs: Directory of large payload parts, which are files.
        retention: Seconds that calls and their outcomes are kept.
        disk: The file system of the database; without it, no space is reserved.

    Raises:
        VersionError: If a later nbfn wrote the file.
        ServiceError: If the file cannot be read.
    """

    def __init__(self, path: Path, blobs: Path, retention: float, disk: Disk | None = None) -> None:
        self._blobs = blobs
        try:
            self._connection = open_database(path)
        except sqlite3.OperationalError as error:
            raise ServiceError(
                f"{path} cannot be opened ({error}). Free disk space for it, or set NBFN_HOME to a "
                "writable directory."
            ) from error
        except sqlite3.DatabaseError as error:
            raise ServiceError(
                f"{path} cannot be read ({error}). Move {path.name} and {path.name}-* aside to start "
                "with an empty database; deployments and spawned calls stay in the old file."
            ) from error
        self._disk = disk or Disk(path.parent, 0)
        self._call_store = CallStore(self._connection, retention)
        self._history = CallHistory(self._connection, self._call_store, retention)
        self._writer = Writer(
            self._connection,
            self._disk,
            save=lambda save, spent: self._save(save, spent),
            load=self._load,
            delete=self._delete_blobs,
            expire=self._expire,
        )

    # --- before the writer thread starts ---

    def load_functions(self) -> list[FunctionRecord]:
        """Return all Functions with their versions and overrides; variants come after their bases."""
        records: dict[str, FunctionRecord] = {}
        for name, row, latest, removed in self._rows(
            "SELECT id, record, latest, removed FROM functions"
        ):
            if (named := readable(_names, row, f"function {name}")) is not None:
                own = msgspec.structs.asdict(named)
                records[named.id] = FunctionRecord(
                    **own, latest=latest if isinstance(latest, int) else 0, removed=bool(removed)
                )
        for function, version, blob in self._rows(
            "SELECT function, version, definition FROM versions ORDER BY version"
        ):
            found = readable(_definition, blob, f"version {version} of function {function}")
            if (record := records.get(function)) is None:
                continue
            if found is None or not self._is_intact(found, read=version == record.latest):
                record.unreadable.add(version)
            else:
                record.versions[version] = found
        records |= self._load_variants(records)
        for function, blob in self._rows("SELECT function, settings FROM overrides"):
            settings = readable(_settings, blob, f"the settings of function {function}")
            if settings is not None and function in records:
                records[function].overrides = settings
        return [record for record in records.values() if record.versions or record.unreadable]

    def load_apps(self) -> list[AppRecord]:
        """Return all Apps with their deployments."""
        apps = {}
        for app, blob in self._rows("SELECT id, record FROM apps"):
            if (record := readable(_app, blob, f"app {app}")) is not None:
                apps[app] = record
        for app, version, blob in self._rows(
            "SELECT app, version, deployment FROM deployments ORDER BY version"
        ):
            made = readable(_deployment, blob, f"deployment {version} of app {app}")
            if made is not None and app in apps:
                apps[app].deployments[version] = made
        return list(apps.values())

    def _rows(self, query: str) -> list[Any]:
        return self._connection.execute(query).fetchall()

    def load_environments(self) -> dict[str, float]:
        """Return the environments and when each was created."""
        return dict(self._connection.execute("SELECT name, created FROM environments").fetchall())

    def _load_variants(self, bases: dict[str, FunctionRecord]) -> dict[str, FunctionRecord]:
        found = {}
        for made, base, blob, digest, shown in self._rows(
            "SELECT id, base, variant, digest, shown FROM variants"
        ):
            variant = readable(_variant, blob, f"variant {made} of function {base}")
            if variant is not None and base in bases:
                found[made] = variant_of(bases[base], made, variant, digest, shown)
        return found

    def load_secrets(self) -> list[SecretRecord]:
        """Return all stored secrets."""
        found = []
        for environment, name, blob, created in self._rows(
            "SELECT environment, name, variables, created FROM secrets"
        ):
            if (values := readable(_variables, blob, f"secret {name!r}")) is not None:
                found.append(SecretRecord(name, environment, values, created))
        return found

    def load_unfinished(self) -> list[CallRestored]:
        """Return the durable calls that have unfinished inputs, or still receive inputs."""
        return self._call_store.unfinished()

    def load_started(self) -> set[tuple[str, int]]:
        """Return the started inputs of Functions with `at_most_once`; they must not run again."""
        return self._call_store.started_inputs()

    def load_ended(self, most: int) -> list[str]:
        """Return the latest durable calls that have ended, oldest first."""
        return self._call_store.ended(most)

    def start(self, wake: Callable[[], None]) -> None:
        """Start the writer; its thread calls ``wake`` when `finished` has results."""
        self._writer.start(wake)

    # --- from the broker's thread ---

    def room(self) -> DiskMeasured:
        """Return the free space for more calls; submitted data counts as written."""
        free = self._disk.free() + self._writer.free_bytes - self._writer.waiting
        return DiskMeasured(str(self._disk.home), free, self._writer.trouble)

    def submit(self, saves: Sequence[Effect], on_commit: Sequence[Effect]) -> None:
        """See `Writer.submit`."""
        self._writer.submit(saves, on_commit)

    def finished(self) -> list[StoreResult]:
        """See `Writer.finished`."""
        return self._writer.finished()

    def close(self) -> None:
        """Save all submitted transactions and stop the thread."""
        if self._writer.close():
            self._connection.close()

    # --- the writer thread ---

    def _load(self, wanted: Effect) -> StoreResult:
        if isinstance(wanted, LoadCall):
            return self._call_store.call(wanted)
        if isinstance(wanted, LoadGraph):
            return self._call_store.graph(wanted)
        if isinstance(wanted, LoadInput):
            return self._call_store.input(wanted)
        if isinstance(wanted, LoadInputs):
            return self._call_store.inputs(wanted)
        if isinstance(wanted, LoadHistory):
            return self._history.page(wanted)
        if isinstance(wanted, LoadInputRows):
            return self._history.inputs(wanted)
        assert isinstance(wanted, LoadFailures)
        return self._call_store.failures(wanted)

    def _save(self, save: Effect, spent: list[Payload]) -> None:
        execute = self._connection.execute
        match save:
            case SaveFunction():
                self._save_function(save)
            case SaveVariant():
                made: FunctionRecord = save.record
                execute(
                    "INSERT OR REPLACE INTO variants VALUES (?, ?, ?, ?, ?)",
                    (made.id, made.base, encode_row(made.variant), made.digest, made.shown),
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
                    (save.function, encode_row(save.settings)),
                )
            case SaveSecret():
                self._save_secret(save)
            case SaveCall():
                self._call_store.save_call(save)
            case SaveCancelled():
                self._call_store.save_cancelled(save.call)
            case SaveStarted():
                self._call_store.save_started(save)
            case SaveFailures():
                self._call_store.save_failures(save)
            case SaveOutcomes():
                spent.extend(self._call_store.save_outcomes(save))
            case SaveRetry():
                spent.extend(self._call_store.save_retry(save))

    def _save_function(self, save: SaveFunction) -> None:
        record: FunctionRecord = save.record
        names = ("id", "app", "app_id", "environment_name", "deployed", "name", "owner")
        row = encode_row({name: getattr(record, name) for name in names})
        execute = self._connection.execute
        latest = save.version if save.latest is None else save.latest
        execute(
            "INSERT OR REPLACE INTO functions VALUES (?, ?, ?, ?)",
            (record.id, row, latest, save.removed),
        )
        execute(
            "INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?)",
            (record.id, save.version, encode_row(record.versions[save.version]), time.time()),
        )
        if latest == save.version:
            execute(
                "DELETE FROM overrides WHERE function = ? "
                "OR function IN (SELECT id FROM variants WHERE base = ?)",
                (record.id, record.id),
            )

    def _save_app(self, save: SaveApp) -> None:
        app, execute = save.record, self._connection.execute
        execute("INSERT OR REPLACE INTO apps VALUES (?, ?)", (app.id, encode_row(app)))
        if (made := save.deployment) is not None:
            row = (app.id, made.version, encode_row(made))
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
            row = (*key, encode_row(dict(save.values)), save.created)
            self._connection.execute("INSERT INTO secrets VALUES (?, ?, ?, ?)", row)

    def _expire(self) -> None:
        """Delete outcomes that are older than the retention, and files without a row."""
        with self._connection:
            count = self._call_store.expire(self._delete_blobs)
        self._sweep_blobs()
        if count:
            _log.info("deleted the outcomes of %d calls that are older than the retention", count)

    def _is_intact(self, definition: Definition, *, read: bool) -> bool:
        """Return whether the files with the code of a Function are as they were written; log those that are not.

        Reading them delays the start of the hub, so those of older versions are not read. Workers do that.
        """
        damaged = False
        for segment in definition.payload.segments:
            path = self._blobs / Path(segment.name).name
            if not is_intact(path, segment.size, read=read):
                damaged = True
                _log.error(
                    "%s, part of the code of %s, is missing or damaged", path, definition.name
                )
        return not damaged

    def _sweep_blobs(self) -> None:
        """Delete payload files that no row references: the process that wrote them was killed before it sent them."""
        definitions = self._connection.execute("SELECT definition FROM versions")
        try:
            named = {
                segment.name
                for payload in itertools.chain(
                    (decode_row(_definition, row[0]).payload for row in definitions),
                    self._call_store.payloads(),  # one at a time: all together may not fit into memory
                )
                if payload is not None
                for segment in payload.segments
            }
        except UNREADABLE as error:  # such a row may reference any of them
            _log.warning("files in %s are kept: a row cannot be read (%s)", self._blobs, error)
            return
        old = time.time() - BLOB_GRACE
        for path in self._blobs.iterdir():
            if path.name not in named and path.stat().st_mtime < old:
                path.unlink(missing_ok=True)

    def _delete_blobs(self, payload: Payload | None) -> None:
        for segment in payload.segments if payload is not None else ():
            if segment.place == "blob":
                with contextlib.suppress(OSError):  # the next sweep deletes it
                    (self._blobs / Path(segment.name).name).unlink(missing_ok=True)


#: The version of the schema; `_MIGRATIONS[n]` migrates from n to n + 1.
SCHEMA = 5
#: Bytes to which SQLite's write-ahead log is truncated after a checkpoint.
LARGEST_LOG = 4 * 2**20
_MIGRATIONS = (
    """
    CREATE TABLE functions (id TEXT PRIMARY KEY, record BLOB NOT NULL, latest INTEGER NOT NULL);
    CREATE TABLE versions (function TEXT NOT NULL, version INTEGER NOT NULL, definition BLOB NOT
    NULL,
        created REAL NOT NULL, PRIMARY KEY (function, version)) WITHOUT ROWID;
    CREATE TABLE overrides (function TEXT PRIMARY KEY, settings BLOB NOT NULL);
    CREATE TABLE calls (id TEXT PRIMARY KEY, function TEXT NOT NULL, version INTEGER NOT NULL, kind
    TEXT NOT NULL,
        created REAL NOT NULL, total INTEGER NOT NULL);
    CREATE TABLE inputs (call TEXT NOT NULL, number INTEGER NOT NULL, payload BLOB NOT NULL,
        PRIMARY KEY (call, number)) WITHOUT ROWID;
    CREATE TABLE outcomes (call TEXT NOT NULL, number INTEGER NOT NULL, outcome BLOB NOT NULL,
        PRIMARY KEY (call, number)) WITHOUT ROWID;
    CREATE INDEX calls_created ON calls (created);
    """,
    """
    ALTER TABLE calls ADD COLUMN parent TEXT NOT NULL DEFAULT '';
    ALTER TABLE calls ADD COLUMN method TEXT NOT NULL DEFAULT '';
    ALTER TABLE calls ADD COLUMN origin TEXT NOT NULL DEFAULT '';
    CREATE TABLE secrets (environment TEXT NOT NULL, name TEXT NOT NULL, variables BLOB NOT NULL,
        created REAL NOT NULL, PRIMARY KEY (environment, name)) WITHOUT ROWID;
    CREATE TABLE variants (id TEXT PRIMARY KEY, base TEXT NOT NULL, variant BLOB NOT NULL,
        digest TEXT NOT NULL, shown TEXT NOT NULL);
    ALTER TABLE functions ADD COLUMN removed INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE apps (id TEXT PRIMARY KEY, record BLOB NOT NULL);
    CREATE TABLE deployments (app TEXT NOT NULL, version INTEGER NOT NULL, deployment BLOB NOT NULL,
        PRIMARY KEY (app, version)) WITHOUT ROWID;
    CREATE TABLE environments (name TEXT PRIMARY KEY, created REAL NOT NULL);
    ALTER TABLE calls ADD COLUMN closed INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE calls ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE calls ADD COLUMN expired INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX calls_parent ON calls (parent);
    ALTER TABLE inputs ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE failed_inputs (call TEXT NOT NULL, number INTEGER NOT NULL, payload BLOB NOT NULL,
        PRIMARY KEY (call, number)) WITHOUT ROWID;
    CREATE TABLE begun (call TEXT NOT NULL, number INTEGER NOT NULL, created REAL NOT NULL,
        PRIMARY KEY (call, number)) WITHOUT ROWID;
    """,
    """
    ALTER TABLE calls ADD COLUMN retry TEXT NOT NULL DEFAULT '';
    ALTER TABLE calls ADD COLUMN retried INTEGER NOT NULL DEFAULT 0;
    """,
    "-- From now on rows begin with a checksum, see `nbfn.hub.rows`.\n",
    "ALTER TABLE calls ADD COLUMN ended REAL;",
)


def open_database(path: Path) -> sqlite3.Connection:
    """Open the database; create it, or migrate it to this schema.

    Raises:
        VersionError: If a later nbfn wrote it.
        sqlite3.DatabaseError: If the file is damaged, or is not a database.
    """
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, check_same_thread=False)
    # EXCLUSIVE: a second hub on the same file is refused even where flock does not work, and
    # no -shm file is needed.
    # secure_delete: a secret that was deleted is not left lying in a free page.
    for pragma in (
        "locking_mode=EXCLUSIVE",
        "journal_mode=WAL",
        "synchronous=FULL",
        f"journal_size_limit={LARGEST_LOG}",
        "secure_delete=FAST",
    ):
        connection.execute(f"PRAGMA {pragma}")
    if (health := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        connection.close()
        raise sqlite3.DatabaseError(" ".join(health.split()))
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > SCHEMA:
        connection.close()
        raise VersionError(
            f"{path} was written by a later nbfn (schema {found}, this one knows {SCHEMA}). Upgrade nbfn here."
        )
    for version in range(found, SCHEMA):
        connection.executescript(
            f"BEGIN; {_MIGRATIONS[version]} PRAGMA user_version = {version + 1}; COMMIT;"
        )
    return connection
