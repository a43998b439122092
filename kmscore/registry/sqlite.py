"""The registry's database on SQLite: one file, shared by the threads and processes of one host.

Commits are durable before they are acknowledged (write-ahead log, ``synchronous=FULL``). What is
deleted is overwritten, and leaves the log at once; copies that backups, snapshots or the disk's own
management made are out of reach.

Rows can be authenticated (`SqliteStore.protect`): a row that somebody changed, swapped or invented
is noticed when it is read. What that cannot notice is a row that was deleted, or put back as it
once was, or the whole file exchanged for an older one: who can write the file can do these.

SQLite's locks belong to a process, so no connection may cross a fork (sqlite.org/howtocorrupt,
2.6). Stores close theirs before the process forks, and parent and child open new ones when they
next need them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from kmscore.errors import InternalError
from kmscore.registry import sqlite_file
from kmscore.registry.model import ImportJob, KeyRecord, VersionRecord
from kmscore.registry.rows import (
    JOB_COLUMNS,
    KEY_COLUMNS,
    VERSION_COLUMNS,
    Authenticator,
    Row,
    Rows,
)
from kmscore.registry.rules import alias_taken
from kmscore.registry.sqlite_file import connect, failure, make_private, prepare, roll_back
from kmscore.registry.store import Store, Writer


def _insert(table: str, columns: tuple[str, ...], verb: str = "INSERT") -> str:
    marks = ", ".join("?" * (len(columns) + 1))
    return f"{verb} INTO {table} ({', '.join(columns)}, mac) VALUES ({marks})"


def _select(table: str, columns: tuple[str, ...], rest: str) -> str:
    return f"SELECT {', '.join(columns)}, mac FROM {table} {rest}"  # noqa: S608 - constants


_KEY: Final = _select("keys", KEY_COLUMNS, "WHERE key_id = ?")
_KEY_OF_ALIAS: Final = _select("keys", KEY_COLUMNS, "WHERE alias = ?")
_KEYS: Final = _select("keys", ("place", *KEY_COLUMNS), "WHERE place > ? ORDER BY place LIMIT ?")
_VERSION: Final = _select("versions", VERSION_COLUMNS, "WHERE key_id = ? AND number = ?")
_VERSIONS: Final = _select("versions", VERSION_COLUMNS, "WHERE key_id = ? ORDER BY number")
_JOB: Final = _select("jobs", JOB_COLUMNS, "WHERE key_id = ?")
_JOBS: Final = _select("jobs", JOB_COLUMNS, "")
_META: Final = "SELECT value FROM meta WHERE name = ?"
_INSERT_KEY: Final = _insert("keys", KEY_COLUMNS)
_UPDATE_KEY: Final = (
    f"UPDATE keys SET {', '.join(f'{name} = ?' for name in KEY_COLUMNS)}, mac = ? "  # noqa: S608
    "WHERE key_id = ?"
)
_INSERT_VERSION: Final = _insert("versions", VERSION_COLUMNS)
_PUT_JOB: Final = _insert("jobs", JOB_COLUMNS, "INSERT OR REPLACE")

_EPOCH: Final = 1 << 32
"""More than SQLite's own counter can reach, so that no count of two connections is the same."""


class SqliteStore(Store):
    """Keys in one SQLite file of mode 0600, on a local disk.

    Args:
        path: The file, in a folder that exists.
        create: Make the file when it is not there.

    Raises:
        ConfigError: The file or its folder does not exist, or others than the owner may use it.
        IntegrityError: The file is no keystore, or damaged.
        Unsupported: A newer kmscore wrote it.
        Unavailable: Another process holds it for too long, or the disk is full.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path.absolute()
        self._create = create
        self._rows = Rows(f"keystore {self.path}")
        self._writing = threading.RLock()
        self._reading = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._epoch = 0
        self._closed = False
        self._paused = False
        with _GATE:
            make_private(self.path, create=create)
            _STORES.add(self)
        try:
            self.change_counter()
        except BaseException:
            self.close()
            raise

    def protect(self, authenticator: Authenticator) -> None:
        """From now on every row is written with its code, and checked when it is read.

        Rows of keys, versions and import jobs are covered; the named values of `meta` are the
        provider's own, and sealed by it. What this cannot notice: see the module.

        Args:
            authenticator: Computes the message authentication code of a row's unambiguous
                encoding, such as an HMAC under a key that is not in the file.
        """
        self._rows.authenticate = authenticator

    # --- Reading -----------------------------------------------------------------------------

    def change_counter(self) -> int:
        """SQLite's own count of commits by others: the writer is another to this connection.

        About 1.7 µs.
        """
        with self._reading:
            try:
                reader = self._reader or self._open_reader()
                version: int = reader.execute("PRAGMA data_version").fetchone()[0]
            except sqlite3.Error as error:
                raise failure(self.path, error) from error
            return self._epoch + version

    def key(self, key_id: str) -> KeyRecord | None:
        """A key by its id."""
        row = self._one(_KEY, key_id)
        return self._rows.key(row) if row else None

    def key_id_of_alias(self, alias: str) -> str | None:
        """The id of the key with that alias; its row is checked, so that no alias is moved."""
        row = self._one(_KEY_OF_ALIAS, alias)
        return self._rows.key(row).key_id if row else None

    def keys(self, limit: int, after: int) -> list[tuple[int, KeyRecord]]:
        """Keys in the order of their creation, each with its place."""
        return [(row[0], self._rows.key(row[1:])) for row in self._all(_KEYS, after, limit)]

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
        row = self._one(_META, name)
        return row[0] if row else None

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
        return int(self._all("SELECT count(*) FROM keys")[0][0])

    # --- Writing -----------------------------------------------------------------------------

    @contextmanager
    def write(self) -> Generator[Writer]:
        """A write transaction, one at a time in this process and among processes."""
        with self._writing:
            try:
                writer = self._writer or self._open_writer()
            except sqlite3.Error as error:
                raise failure(self.path, error) from error
            if writer.in_transaction:
                raise InternalError("a write transaction was begun within another one")
            transaction = _SqliteWriter(self._rows, writer)
            try:
                writer.execute("BEGIN IMMEDIATE")
                yield transaction
                writer.execute("COMMIT")
            except sqlite3.Error as error:
                roll_back(writer)
                raise failure(self.path, error) from error
            except BaseException:
                roll_back(writer)
                raise
            if transaction.has_destroyed:
                # Otherwise the log still holds what was deleted, until it is full and begins anew.
                with suppress(sqlite3.Error):
                    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Give the file back; may be called twice."""
        with self._writing, self._reading:
            self._closed = True
            self._disconnect()

    # --- Forks -------------------------------------------------------------------------------

    def pause(self) -> None:
        """Before a fork: let go of the file, so that the child inherits nothing of it.

        Waits for other threads' transactions, but not for ever, and not for one of this thread.
        """
        if not self._writing.acquire(timeout=sqlite_file.BUSY_SECONDS):
            return
        if self._writer is not None and self._writer.in_transaction:
            self._writing.release()
            return
        if not self._reading.acquire(timeout=sqlite_file.BUSY_SECONDS):
            self._writing.release()
            return
        self._disconnect()
        self._paused = True

    def resume(self, *, in_child: bool) -> None:
        """After a fork: go on, with new connections when they are needed."""
        if self._paused:
            self._paused = False
            self._reading.release()
            self._writing.release()
        elif in_child:
            # Half a transaction is the parent's: to use or even close it would harm the file, and
            # SQLite takes the parent's locks for those of any connection to it in this process.
            _abandon(self.path, self._writer, self._reader)
            self._writer = self._reader = None
            self._writing = threading.RLock()
            self._reading = threading.Lock()

    # --- Inside ------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        if self._closed:
            raise InternalError(f"keystore {self.path} was closed", hint="Open the provider again")
        if os.path.realpath(self.path) in _ABANDONED:
            raise InternalError(
                f"keystore {self.path} was being written when this process was forked",
                hint="Fork at another moment, or start a new process instead",
            )
        return connect(self.path)

    def _open_reader(self) -> sqlite3.Connection:
        reader = self._connect()
        try:
            prepare(reader, self.path, create=self._create)
        except BaseException:
            reader.close()
            raise
        self._epoch += _EPOCH
        self._reader = reader
        return reader

    def _open_writer(self) -> sqlite3.Connection:
        self._writer = self._connect()
        return self._writer

    def _disconnect(self) -> None:
        for connection in (self._writer, self._reader):
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()
        self._writer = self._reader = None

    def _one(self, query: str, *values: Any) -> Row | None:
        rows = self._all(query, *values)
        return rows[0] if rows else None

    def _all(self, query: str, *values: Any) -> list[Row]:
        with self._reading:
            try:
                reader = self._reader or self._open_reader()
                return reader.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise failure(self.path, error) from error


class _SqliteWriter(Writer):
    """A transaction that is open; rows that it reads are checked as any other.

    Attributes:
        has_destroyed: Whether it has deleted something that must not linger.
    """

    def __init__(self, rows: Rows, connection: sqlite3.Connection) -> None:
        self._rows = rows
        self._execute = connection.execute
        self.has_destroyed = False

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
            if error.sqlite_errorname != "SQLITE_CONSTRAINT_UNIQUE":
                raise
            raise alias_taken(str(record.alias)) from error

    def delete_key(self, key_id: str) -> None:
        self._execute("DELETE FROM keys WHERE key_id = ?", (key_id,))
        self.has_destroyed = True

    def insert_version(self, version: VersionRecord) -> None:
        self._execute(_INSERT_VERSION, self._rows.of_version(version))

    def versions(self, key_id: str) -> list[VersionRecord]:
        return [self._rows.version(row) for row in self._execute(_VERSIONS, (key_id,))]

    def delete_versions(self, key_id: str) -> None:
        self._execute("DELETE FROM versions WHERE key_id = ?", (key_id,))
        self.has_destroyed = True

    def job(self, key_id: str) -> ImportJob | None:
        row = self._execute(_JOB, (key_id,)).fetchone()
        return self._rows.job(row) if row else None

    def put_job(self, job: ImportJob) -> None:
        self._execute(_PUT_JOB, self._rows.of_job(job))

    def delete_job(self, key_id: str) -> None:
        self._execute("DELETE FROM jobs WHERE key_id = ?", (key_id,))
        self.has_destroyed = True

    def meta(self, name: str) -> bytes | None:
        row = self._execute(_META, (name,)).fetchone()
        return row[0] if row else None

    def put_meta(self, name: str, value: bytes) -> None:
        self._execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))


_GATE: Final = threading.Lock()
"""Held while a store is added, and throughout a fork."""

_STORES: Final[weakref.WeakSet[SqliteStore]] = weakref.WeakSet()
_ABANDONED: Final[set[str]] = set()
"""Files whose connections crossed a fork: of no use in this process."""


def _abandon(path: Path, *connections: sqlite3.Connection | None) -> None:
    import ctypes

    _ABANDONED.add(os.path.realpath(path))
    for connection in connections:
        # One reference too many: nothing closes it, not even the end of the interpreter.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _before_fork() -> None:
    _GATE.acquire()
    for store in _STORES:
        store.pause()


def _after_fork_in_parent() -> None:
    for store in _STORES:
        store.resume(in_child=False)
    _GATE.release()


def _after_fork_in_child() -> None:
    for store in _STORES:
        store.resume(in_child=True)
    # Not held where a C program forked, and said so afterwards only.
    if _GATE.locked():
        _GATE.release()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
