"""What the API knows of keys and no key store does, in a small SQLite database beside it.

Whose a key is, which id it has here, its tags, what is bound to it, and hosted data keys, which are
stored only as ciphertexts under their key. Shared by the threads and processes of one server: each
thread has a connection of its own, and none crosses a fork.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from kmscore.errors import AlreadyExists, ConfigError, IntegrityError, KmsError
from kmscore.registry.sqlite_file import connect, failure, make_private, roll_back
from kmscore_server.change_mark import ChangeMark
from kmscore_server.tables import APPLICATION_ID, SCHEMA, DataKeyRow, KeyRow

_DATA_KEY: Final = ", ".join(DataKeyRow._fields)


class State:
    """The database.

    Args:
        path: The file, in a folder that exists; made with mode 0600 when it is not there.

    Raises:
        ConfigError: The file or its folder cannot be used, or others than the owner may use it.
        IntegrityError: It is another kind of database.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._own = threading.local()
        self._inherited: list[_Connection] = []
        self._known = -1  # the number of a commit, as the database told it
        make_private(self.path, create=True)
        try:
            self._mark = ChangeMark(self.path.with_name(f"{self.path.name}-mark"))
        except OSError as error:
            raise ConfigError(
                f"the mark of {self.path} cannot be made: {error.strerror}"
            ) from error
        with self.writing() as database:
            if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in SCHEMA.split(";"):
                    database.execute(statement)
                database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            if database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise IntegrityError(
                    f"{self.path} is no state of a kmscore server", hint="Choose another file"
                )

    # --- Access ------------------------------------------------------------------------------

    def generation(self) -> int:
        """The number of the last change that can be seen now, by whichever process."""
        known = self._known
        if known != self._mark.get():
            known = self._known = self.rows("SELECT number FROM changes")[0][0]
        return known

    def rows(self, query: str, *values: Any) -> list[Any]:
        """All rows of a query."""
        try:
            return self._connection().database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """A transaction: all of it happens, durably, or nothing."""
        database = self._connection().database
        try:
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("UPDATE changes SET number = number + 1")
            number: int = database.execute("SELECT number FROM changes").fetchone()[0]
            self._mark.put(number)
            database.execute("COMMIT")
        except sqlite3.Error as error:
            roll_back(database)
            raise self._failure(error) from error
        except BaseException:
            roll_back(database)
            raise

    def touch(self) -> None:
        """Tell the other workers that a key is no longer as they remember it."""
        with self.writing():
            pass  # the number of a change is all that it takes

    def close(self) -> None:
        """Close this thread's connection; those of other threads close when they end."""
        own: _Connection | None = getattr(self._own, "connection", None)
        if own is not None and own.process == os.getpid():
            own.close()
            del self._own.connection

    # --- Keys --------------------------------------------------------------------------------

    def key(self, key_id: str) -> KeyRow | None:
        """What is kept of the key with that id in the API."""
        found = self.rows("SELECT * FROM keys WHERE key_id = ?", key_id)
        return KeyRow(*found[0]) if found else None

    def key_of_provider(self, provider_id: str) -> KeyRow | None:
        """What is kept of the key with that id in the key store."""
        found = self.rows("SELECT * FROM keys WHERE provider_id = ?", provider_id)
        return KeyRow(*found[0]) if found else None

    def all_keys(self) -> list[KeyRow]:
        """All keys that something is kept of."""
        return [KeyRow(*row) for row in self.rows("SELECT * FROM keys")]

    def claim(self, alias: str, uin: int, since: int) -> None:
        """Say whose the key with that alias will be, before it is made."""
        with self.writing() as database:
            database.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", (alias, uin, since))

    def claims(self, alias: str) -> list[tuple[int, int]]:
        """Who is making a key with that alias, and since when."""
        return self.rows("SELECT uin, since FROM claims WHERE alias = ?", alias)

    def give_up(self, alias: str, uin: int) -> None:
        """The key that was claimed was not made."""
        with self.writing() as database:
            database.execute("DELETE FROM claims WHERE alias = ? AND uin = ?", (alias, uin))

    def add_key(self, row: KeyRow, alias: str, tags: dict[str, str]) -> None:
        """Keep whose a key is, and its tags; replaces what was kept of that id."""
        with self.writing() as database:
            database.execute(
                "DELETE FROM keys WHERE key_id = ? OR provider_id = ?",
                (row.key_id, row.provider_id),
            )
            database.execute("INSERT INTO keys VALUES (?, ?, ?, ?)", row)
            database.execute("DELETE FROM claims WHERE alias = ? AND uin = ?", (alias, row.uin))
            _put_tags(database, row.key_id, tags)

    def start_rotation(self, row: KeyRow, now: int, interval: int) -> int | None:
        """Note that a key is rotated now, unless it was within ``interval`` seconds.

        Returns:
            When it was rotated before, for `undo_rotation`; None when that is not long enough ago.
        """
        with self.writing() as database:
            database.execute("INSERT OR IGNORE INTO keys VALUES (?, ?, ?, ?)", row)
            query = "SELECT rotated_at FROM keys WHERE key_id = ?"
            before: int = database.execute(query, (row.key_id,)).fetchone()[0]
            if before and before + interval > now:
                return None
            self._set_rotated(database, row.key_id, now)
        return before

    def undo_rotation(self, key_id: str, before: int) -> None:
        """The key was not rotated after all."""
        with self.writing() as database:
            self._set_rotated(database, key_id, before)

    def _set_rotated(self, database: sqlite3.Connection, key_id: str, at: int) -> None:
        database.execute("UPDATE keys SET rotated_at = ? WHERE key_id = ?", (at, key_id))

    # --- Tags and bindings -------------------------------------------------------------------

    def tags(self) -> dict[str, dict[str, str]]:
        """All tags, by the id of the key or data key."""
        found: dict[str, dict[str, str]] = {}
        for resource, tag, value in self.rows("SELECT resource, tag, value FROM tags"):
            found.setdefault(resource, {})[tag] = value
        return found

    def bind(self, key_id: str, product_id: str, resource_id: str) -> None:
        """Note that a resource uses a key."""
        with self.writing() as database:
            values = (key_id, product_id, resource_id)
            database.execute("INSERT OR IGNORE INTO bindings VALUES (?, ?, ?)", values)

    def unbind(self, key_id: str, product_id: str, resource_id: str) -> bool:
        """Forget that a resource uses a key; False when it was not noted."""
        query = "DELETE FROM bindings WHERE key_id = ? AND product_id = ? AND resource_id = ?"
        with self.writing() as database:
            return database.execute(query, (key_id, product_id, resource_id)).rowcount > 0

    def is_bound(self, key_id: str) -> bool:
        """Whether any resource uses a key."""
        return bool(self.rows("SELECT 1 FROM bindings WHERE key_id = ? LIMIT 1", key_id))

    # --- Data keys ---------------------------------------------------------------------------

    def add_data_key(self, row: DataKeyRow, tags: dict[str, str]) -> None:
        """Keep a data key.

        Raises:
            AlreadyExists: The account has one of that name.
        """
        marks = ", ".join("?" * len(row))
        query = f"INSERT INTO data_keys ({_DATA_KEY}) VALUES ({marks})"  # noqa: S608 - constants
        with self.writing() as database:
            database.execute(
                "DELETE FROM data_keys WHERE uin = ? AND name = ? "
                "AND deletion_at > 0 AND deletion_at <= ?",
                (row.uin, row.name, row.created_at),
            )
            try:
                database.execute(query, row)
            except sqlite3.IntegrityError as error:
                raise AlreadyExists(f"there is a data key {row.name!r} already") from error
            _put_tags(database, row.data_key_id, tags)

    def data_keys(self, uin: int, now: int, ids: Iterable[str] | None = None) -> list[DataKeyRow]:
        """Data keys of an account in the order of their creation, all or those with given ids."""
        query = (
            f"SELECT {_DATA_KEY} FROM data_keys "  # noqa: S608 - constants
            "WHERE uin = ? AND (deletion_at = 0 OR deletion_at > ?)"
        )
        values: list[Any] = [uin, now]
        if ids is not None:
            wanted = list(ids)
            query += f" AND data_key_id IN ({', '.join('?' * len(wanted))})"
            values += wanted
        return [DataKeyRow(*row) for row in self.rows(f"{query} ORDER BY place", *values)]

    def update_data_keys(self, changed: Iterable[tuple[DataKeyRow, DataKeyRow]]) -> bool:
        """Replace rows, all or none; False when one is no longer as it was.

        Args:
            changed: What each row was, and what it shall be: name, description, state and time of
                deletion.

        Raises:
            AlreadyExists: The account has another data key of that name.
        """
        try:
            with self.writing() as database:
                for old, new in changed:
                    _update_data_key(database, old, new)
        except _ChangedMeanwhile:
            return False
        return True

    # --- Inside ------------------------------------------------------------------------------

    def _connection(self) -> _Connection:
        own: _Connection | None = getattr(self._own, "connection", None)
        if own is not None and own.process == os.getpid():
            return own
        if own is not None:
            # It came through a fork: to close it would drop the locks of whom it belongs to.
            self._inherited.append(own)
        try:
            database = connect(self.path)
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.Error as error:
            raise self._failure(error) from error
        new = self._own.connection = _Connection(database)
        return new

    def _failure(self, error: sqlite3.Error) -> KmsError:
        failed = failure(self.path, error)
        failed.message = failed.message.replace("keystore", "state", 1)
        return failed


class _Connection:
    """A thread's connection; closed when the thread ends.

    Attributes:
        database: The connection.
        process: The process that opened it.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database
        self.process = os.getpid()

    def close(self) -> None:
        """Close it, in the process that opened it."""
        if self.process == os.getpid():
            self.database.close()

    __del__ = close


def _put_tags(database: sqlite3.Connection, resource: str, tags: dict[str, str]) -> None:
    rows = [(resource, tag, value) for tag, value in tags.items()]
    database.executemany("INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", rows)


class _ChangedMeanwhile(Exception):
    """A row is no longer as it was read."""


def _update_data_key(database: sqlite3.Connection, old: DataKeyRow, new: DataKeyRow) -> None:
    query = (
        "UPDATE data_keys SET name = ?, description = ?, state = ?, deletion_at = ? "
        "WHERE data_key_id = ? AND state = ? AND deletion_at = ?"
    )
    values = (new.name, new.description, new.state, new.deletion_at)
    try:
        done = database.execute(query, (*values, old.data_key_id, old.state, old.deletion_at))
    except sqlite3.IntegrityError as error:
        raise AlreadyExists(f"there is a data key {new.name!r} already") from error
    if not done.rowcount:
        raise _ChangedMeanwhile
