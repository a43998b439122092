"""The registry's SQLite file: made private, marked as ours, and opened the same way everywhere."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from kmscore.errors import (
    ConfigError,
    IntegrityError,
    InternalError,
    KmsError,
    Unavailable,
    Unsupported,
)

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
_OLDEST_SQLITE: Final = (3, 37, 0)
"""The first SQLite that has STRICT tables."""

_SERIALIZED: Final = 3
"""`sqlite3.threadsafety` of a library whose connections threads may share."""


def make_private(path: Path, *, create: bool) -> None:
    """Make the file with mode 0600 if it is not there, and refuse one that others may use.

    A file that is there is not opened: closing it again would drop the locks of every SQLite
    connection that this process has to it (POSIX advisory locks; sqlite.org/howtocorrupt, 2.2).

    Raises:
        ConfigError: The folder or the file is not there, or the file is open to others.
        Unavailable: The disk is full.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        if create:
            with suppress(FileExistsError):
                os.close(os.open(path, flags, 0o600))
        mode = _private_mode(path)
        for companion in (Path(f"{path}-wal"), Path(f"{path}-shm")):
            with suppress(FileNotFoundError):
                # SQLite makes them as the keystore is: they stay read-only when it is so no more.
                if mode & stat.S_IWUSR > _private_mode(companion) & stat.S_IWUSR:
                    companion.chmod(mode)
    except FileNotFoundError as error:
        wanted = "Make the folder first" if create else "Check the path"
        raise ConfigError(f"there is no keystore {path}", hint=wanted) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Unavailable(f"keystore {path} cannot be made: the disk is full") from error
        raise ConfigError(
            f"keystore {path} cannot be opened: {error.strerror}",
            hint="You must be allowed to read and write it, and its folder",
        ) from error
    except ValueError as error:
        raise ConfigError(f"{str(path)!r} cannot be the path of a keystore") from error


def _private_mode(path: Path) -> int:
    """The permissions of a file that is its owner's alone."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise ConfigError(f"keystore {path} is no regular file", hint="Choose another path")
    if mode & 0o077:
        raise ConfigError(
            f"others than its owner may use keystore {path}", hint=f"Run: chmod 600 {path}"
        )
    return stat.S_IMODE(mode)


def connect(path: Path) -> sqlite3.Connection:
    """A connection that commits durably, overwrites what it deletes, and never makes a file."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    return connection


def prepare(connection: sqlite3.Connection, path: Path, *, create: bool) -> None:
    """Make the tables in an empty file, and refuse a file that is not ours.

    Raises:
        ConfigError: The file system cannot do what a write-ahead log needs.
        IntegrityError: It is another kind of database.
        Unsupported: A newer kmscore wrote it, or this Python's SQLite is too old.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE or sqlite3.threadsafety != _SERIALIZED:
        raise Unsupported(
            f"SQLite {sqlite3.sqlite_version} is too old for a keystore, or not safe with threads",
            hint="Use a Python with SQLite 3.37 or newer, built as usual",
        )
    # Another process may be making the tables right now; it marks the file in that transaction.
    is_empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if create and is_empty and not _mark(connection):
        _make_tables(connection, path)
    if _mark(connection) != APPLICATION_ID:
        raise IntegrityError(
            f"{path} is no keystore",
            hint="Choose another file, or restore the keystore from a backup",
        )
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise Unsupported(
            f"keystore {path} was written by a newer kmscore (schema {version})",
            hint="Upgrade kmscore",
        )
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        # A copy that VACUUM INTO made has lost this. Who has it open already goes on without.
        with suppress(sqlite3.Error):
            connection.execute("PRAGMA journal_mode = WAL")


def _mark(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA application_id").fetchone()[0])


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise ConfigError(
            f"keystore {path} is on a file system without shared memory",
            hint="Put it on a local disk",
        )
    try:
        connection.execute("BEGIN IMMEDIATE")
        if not _mark(connection):
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
        # SQLite has rolled back by itself where the statement fails.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def failure(path: Path, error: sqlite3.Error) -> KmsError:
    """What a failure of SQLite means for who uses the keystore."""
    # The low byte is the primary code (sqlite.org/rescode). Errors of Python's own have none; one
    # of them comes from the file: text that is no UTF-8.
    own = isinstance(error, sqlite3.OperationalError)
    default = sqlite3.SQLITE_CORRUPT if own else sqlite3.SQLITE_MISUSE
    primary = getattr(error, "sqlite_errorcode", default) & 0xFF
    name: str = getattr(error, "sqlite_errorname", "").replace("unknown", "")
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return Unavailable(
            f"keystore {path} is held by another process",
            hint="Try again, and see which process holds it",
            code=name,
        )
    if primary in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return Unavailable(
            f"keystore {path} cannot be written or read: the disk is full or failing",
            hint="Nothing was changed; make room and try again",
            code=name,
        )
    # Our statements are right: one that SQLite does not understand lacks its table or column.
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
        return IntegrityError(
            f"keystore {path} is damaged, or no keystore",
            hint="Restore it from a backup",
            code=name,
        )
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return ConfigError(
            f"keystore {path} cannot be opened for reading and writing",
            hint="Check that the file is where it was, and who owns it and its folder",
            code=name,
        )
    return InternalError(f"SQLite refused a statement for keystore {path}: {error}", code=name)
