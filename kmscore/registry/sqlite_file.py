"""The registry's SQLite file: made private, marked as ours, and opened the same way everywhere."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import Final

from kmscore.errors import ConfigError, IntegrityError, KmsError, Unavailable, Unsupported

APPLICATION_ID: Final = 0x6B6D7363
"""``kmsc`` in ASCII: marks the file as ours."""

SCHEMA_VERSION: Final = 1
BUSY_SECONDS: Final = 15.0
"""How long a writer waits for another one."""

_SCHEMA: Final = """
CREATE TABLE keys (
    place INTEGER PRIMARY KEY,
    key_id TEXT NOT NULL UNIQUE,
    spec TEXT NOT NULL,
    usage TEXT NOT NULL,
    origin TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    alias TEXT UNIQUE,
    description TEXT NOT NULL,
    version INTEGER NOT NULL,
    deletion_at INTEGER,
    valid_to INTEGER,
    rotation_days INTEGER,
    rotated_at INTEGER,
    next_rotation_at INTEGER,
    fingerprint BLOB NOT NULL,
    mac BLOB NOT NULL
) STRICT;
CREATE INDEX keys_due_deletion ON keys (deletion_at) WHERE deletion_at IS NOT NULL;
CREATE INDEX keys_due_expiry ON keys (valid_to) WHERE valid_to IS NOT NULL;
CREATE TABLE versions (
    key_id TEXT NOT NULL REFERENCES keys (key_id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    material BLOB NOT NULL,
    public_key BLOB NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (key_id, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE jobs (
    key_id TEXT PRIMARY KEY REFERENCES keys (key_id) ON DELETE CASCADE,
    wrapping TEXT NOT NULL,
    token_digest BLOB NOT NULL,
    private_key BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_due ON jobs (expires_at);
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
"""


def make_private(path: Path) -> None:
    """Make the file with mode 0600 if it is not there, and refuse one that others may use.

    Raises:
        ConfigError: The folder is not there, or the file is open to others.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"keystore {path} cannot be opened: {error.strerror}",
            hint="The folder must exist, and you must be allowed to write in it",
        ) from error
    try:
        mode = os.fstat(handle).st_mode
    finally:
        os.close(handle)
    if not stat.S_ISREG(mode):
        raise ConfigError(f"keystore {path} is no regular file")
    if mode & 0o077:
        raise ConfigError(
            f"others than its owner may use keystore {path}", hint=f"Run: chmod 600 {path}"
        )


def connect(path: Path) -> sqlite3.Connection:
    """A connection that commits durably, and overwrites what it deletes."""
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables in an empty file, and refuse a file that is not ours.

    Raises:
        IntegrityError: It is another kind of database.
        Unsupported: A newer kmscore wrote it.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application == APPLICATION_ID and version == SCHEMA_VERSION:
        return
    if application == APPLICATION_ID:
        raise Unsupported(
            f"keystore {path} was written by a newer kmscore (schema {version})",
            hint="Upgrade kmscore",
        )
    if application or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        # Two processes may both have found it empty: the other one has just finished.
        if connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID:
            return
        raise IntegrityError(f"{path} is a database, but no keystore", hint="Choose another file")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise


def roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction, if one is open, as if it had never begun."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def failure(path: Path, error: sqlite3.Error) -> KmsError:
    """What a failure of SQLite means for who uses the keystore."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return IntegrityError(
            f"keystore {path} is damaged, or no keystore",
            hint="Restore it from a backup",
            code=name,
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Unavailable(f"keystore {path} is held by another process", code=name)
    if name == "SQLITE_FULL" or name.startswith("SQLITE_IOERR"):
        return Unavailable(
            f"keystore {path} cannot be written: the disk is full or failing",
            hint="Nothing was changed; make room and try again",
            code=name,
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return ConfigError(f"keystore {path} cannot be opened for writing", code=name)
    return Unavailable(f"keystore {path} cannot be used", code=name)
