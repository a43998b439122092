"""The registry's database on SQLite: one file, shared by the threads and processes of one host.

Commits are durable before they are acknowledged (write-ahead log, ``synchronous=FULL``). What is
deleted is overwritten, and leaves the log at once; copies that backups, snapshots or the disk's own
management made are out of reach.

Rows can be authenticated (`SqliteStore.protect`): a row that somebody changed, swapped or invented
is noticed when it is read. What that cannot notice is a row that was deleted, or put back as it
once was, or the whole file exchanged for an older one: who can write the file can do these.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from kmscore.errors import InternalError
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
from kmscore.registry.sqlite_connections import Connections
from kmscore.registry.sqlite_file import failure, roll_back
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
        self._file = Connections(path, create=create)
        self.path = self._file.path
        self._rows = Rows(f"keystore {self.path}")

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
        """A count of commits by anybody; 0.5 µs."""
        return self._file.change_counter()

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
        with self._file.writing:
            writer = self._file.writer()
            if writer.in_transaction:
                raise InternalError("a write transaction was begun within another one")
            transaction = _SqliteWriter(self._rows, writer)
            try:
                writer.execute("BEGIN IMMEDIATE")
                self._file.require_in_place()
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
        self._file.close()

    def _one(self, query: str, *values: Any) -> Row | None:
        rows = self._all(query, *values)
        return rows[0] if rows else None

    def _all(self, query: str, *values: Any) -> list[Row]:
        return self._file.fetch(query, values)


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
        # What stood there, such as a master key under a root key that was given up, is destroyed.
        self.has_destroyed = True
