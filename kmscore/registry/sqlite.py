"""The registry's database on SQLite: one file, shared by threads and processes of one host.

Commits are durable before they are acknowledged (write-ahead log, ``synchronous=FULL``). Rows can
be authenticated (`SqliteStore.protect`): a changed row is then noticed when it is read. What that
cannot notice is a row that was deleted, or put back as it once was: who can write the file can do
both.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from kmscore.errors import AlreadyExists
from kmscore.registry.model import ImportJob, KeyRecord, VersionRecord
from kmscore.registry.rows import (
    JOB_COLUMNS,
    KEY_COLUMNS,
    VERSION_COLUMNS,
    Authenticator,
    Row,
    Rows,
)
from kmscore.registry.sqlite_file import connect, failure, make_private, prepare, roll_back
from kmscore.registry.store import Store, Writer


def _insert(table: str, columns: tuple[str, ...], verb: str = "INSERT") -> str:
    marks = ", ".join("?" * (len(columns) + 1))
    return f"{verb} INTO {table} ({', '.join(columns)}, mac) VALUES ({marks})"


def _select(table: str, columns: tuple[str, ...], rest: str) -> str:
    return f"SELECT {', '.join(columns)}, mac FROM {table} {rest}"  # noqa: S608 - constants


_KEY: Final = _select("keys", KEY_COLUMNS, "WHERE key_id = ?")
_KEY_OF_ALIAS: Final = _select("keys", KEY_COLUMNS, "WHERE alias = ?")
_KEYS: Final = _select(
    "keys",
    KEY_COLUMNS,
    "WHERE place > coalesce((SELECT place FROM keys WHERE key_id = ?), 0) ORDER BY place LIMIT ?",
)
_VERSION: Final = _select("versions", VERSION_COLUMNS, "WHERE key_id = ? AND number = ?")
_VERSIONS: Final = _select("versions", VERSION_COLUMNS, "WHERE key_id = ? ORDER BY number")
_JOB: Final = _select("jobs", JOB_COLUMNS, "WHERE key_id = ?")
_JOBS: Final = _select("jobs", JOB_COLUMNS, "")
_INSERT_KEY: Final = _insert("keys", KEY_COLUMNS)
_UPDATE_KEY: Final = (
    f"UPDATE keys SET {', '.join(f'{name} = ?' for name in KEY_COLUMNS)}, mac = ? "  # noqa: S608
    "WHERE key_id = ?"
)
_INSERT_VERSION: Final = _insert("versions", VERSION_COLUMNS)
_PUT_JOB: Final = _insert("jobs", JOB_COLUMNS, "INSERT OR REPLACE")


class SqliteStore(Store):
    """Keys in one SQLite file of mode 0600.

    Args:
        path: The file; made when it is not there, in a folder that must be.

    Raises:
        ConfigError: The folder does not exist, or others than the owner may use the file.
        IntegrityError: The file is no keystore, or damaged.
        Unsupported: A newer kmscore wrote it.
        Unavailable: Another process holds it for too long, or the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = Rows(path)
        self._lock = threading.RLock()
        make_private(path)
        self._open()
        _STORES.add(self)

    def protect(self, authenticate: Authenticator) -> None:
        """From now on every row is written with its code, and checked when it is read."""
        self._rows.authenticate = authenticate

    # --- Reading -----------------------------------------------------------------------------

    def change_counter(self) -> int:
        """SQLite's own count of commits by others: every writer is another to this connection."""
        # The commonest call of all: no context manager, no lock; SQLite serialises.
        try:
            return int(self._watcher.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise failure(self.path, error) from error

    def key(self, key_id: str) -> KeyRecord | None:
        """A key by its id."""
        row = self._one(_KEY, key_id)
        return self._rows.key(row) if row else None

    def key_id_of_alias(self, alias: str) -> str | None:
        """The id of the key with that alias; its row is checked, so that no alias is moved."""
        row = self._one(_KEY_OF_ALIAS, alias)
        return self._rows.key(row).key_id if row else None

    def keys(self, limit: int, after: str | None) -> list[KeyRecord]:
        """Keys in the order of their creation."""
        return [self._rows.key(row) for row in self._all(_KEYS, after, limit)]

    def version(self, key_id: str, number: int) -> VersionRecord | None:
        """One version of a key."""
        row = self._one(_VERSION, key_id, number)
        return self._rows.version(row) if row else None

    def versions(self, key_id: str) -> list[VersionRecord]:
        """All versions of a key, the oldest first."""
        return [self._rows.version(row) for row in self._all(_VERSIONS, key_id)]

    def jobs(self) -> Iterator[ImportJob]:
        """All import jobs."""
        return iter([self._rows.job(row) for row in self._all(_JOBS)])

    def job(self, key_id: str) -> ImportJob | None:
        """The newest import job of a key."""
        row = self._one(_JOB, key_id)
        return self._rows.job(row) if row else None

    def meta(self, name: str) -> bytes | None:
        """A named value."""
        row = self._one("SELECT value FROM meta WHERE name = ?", name)
        return bytes(row[0]) if row else None

    def due(self, now: int) -> tuple[list[str], list[str]]:
        """Ids of keys with something to destroy, and of keys whose import job is too old."""
        keys = self._all(
            "SELECT key_id FROM keys WHERE deletion_at <= ? "
            "UNION SELECT key_id FROM keys WHERE valid_to <= ?",
            now,
            now,
        )
        jobs = self._all("SELECT key_id FROM jobs WHERE expires_at <= ?", now)
        return [row[0] for row in keys], [row[0] for row in jobs]

    def count(self) -> int:
        """How many keys there are."""
        row = self._one("SELECT count(*) FROM keys")
        return int(row[0]) if row else 0

    # --- Writing -----------------------------------------------------------------------------

    @contextmanager
    def write(self) -> Generator[Writer]:
        """A write transaction, one at a time in this process and among processes."""
        with self._lock:
            writer = self._writer
            try:
                writer.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                raise failure(self.path, error) from error
            try:
                yield _SqliteWriter(self._rows, writer)
                writer.execute("COMMIT")
            except sqlite3.Error as error:
                roll_back(writer)
                raise failure(self.path, error) from error
            except BaseException:
                roll_back(writer)
                raise

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            _STORES.discard(self)
            self._writer.close()
            self._reader.close()
            self._watcher.close()

    # --- Inside ------------------------------------------------------------------------------

    def reopen_after_fork(self) -> None:
        """Use connections of our own in a child: SQLite's may not be carried over a fork.

        The parent's are left as they are; closing them here would drop the parent's locks.
        """
        _ABANDONED.extend((self._writer, self._reader, self._watcher))
        self._lock = threading.RLock()
        self._open()

    def _open(self) -> None:
        try:
            self._writer = connect(self.path)
            prepare(self._writer, self.path)
            self._reader = connect(self.path)
            self._watcher = connect(self.path)
            # A snapshot must exist before changes against it can be counted.
            self._watcher.execute("SELECT count(*) FROM meta").fetchone()
        except sqlite3.Error as error:
            raise failure(self.path, error) from error

    def _one(self, query: str, *values: Any) -> Row | None:
        try:
            row: Row | None = self._reader.execute(query, values).fetchone()
        except sqlite3.Error as error:
            raise failure(self.path, error) from error
        return row

    def _all(self, query: str, *values: Any) -> list[Row]:
        try:
            return self._reader.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise failure(self.path, error) from error


class _SqliteWriter(Writer):
    """A transaction that is open; rows that it reads are checked as any other."""

    def __init__(self, rows: Rows, connection: sqlite3.Connection) -> None:
        self._rows = rows
        self._execute = connection.execute

    def key(self, key_id: str) -> KeyRecord | None:
        row = self._execute(_KEY, (key_id,)).fetchone()
        return self._rows.key(row) if row else None

    def insert_key(self, record: KeyRecord) -> None:
        self._put_key(_INSERT_KEY, self._rows.of_key(record), record)

    def update_key(self, record: KeyRecord) -> None:
        self._put_key(_UPDATE_KEY, (*self._rows.of_key(record), record.key_id), record)

    def _put_key(self, query: str, row: Row, record: KeyRecord) -> None:
        try:
            self._execute(query, row)
        except sqlite3.IntegrityError as error:
            raise AlreadyExists(
                f"the alias {record.alias!r} is taken",
                hint="Choose another, or rename the key that has it",
            ) from error

    def delete_key(self, key_id: str) -> None:
        self._execute("DELETE FROM keys WHERE key_id = ?", (key_id,))

    def insert_version(self, version: VersionRecord) -> None:
        self._execute(_INSERT_VERSION, self._rows.of_version(version))

    def versions(self, key_id: str) -> list[VersionRecord]:
        return [self._rows.version(row) for row in self._execute(_VERSIONS, (key_id,))]

    def delete_versions(self, key_id: str) -> None:
        self._execute("DELETE FROM versions WHERE key_id = ?", (key_id,))

    def job(self, key_id: str) -> ImportJob | None:
        row = self._execute(_JOB, (key_id,)).fetchone()
        return self._rows.job(row) if row else None

    def put_job(self, job: ImportJob) -> None:
        self._execute(_PUT_JOB, self._rows.of_job(job))

    def delete_job(self, key_id: str) -> None:
        self._execute("DELETE FROM jobs WHERE key_id = ?", (key_id,))

    def meta(self, name: str) -> bytes | None:
        row = self._execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return bytes(row[0]) if row else None

    def put_meta(self, name: str, value: bytes) -> None:
        self._execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))


_STORES: weakref.WeakSet[SqliteStore] = weakref.WeakSet()
_ABANDONED: list[sqlite3.Connection] = []


def _reopen_stores() -> None:
    for store in list(_STORES):
        store.reopen_after_fork()


os.register_at_fork(after_in_child=_reopen_stores)
