"""The schema of the hub's database, and the migrations from older ones."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from nbfn.exception import VersionError

#: The version of the schema; `_MIGRATIONS[n]` migrates from n to n + 1.
SCHEMA = 3
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
