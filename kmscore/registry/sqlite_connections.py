"""The connections to the registry's SQLite file, as threads share them and forks do not.

SQLite's locks belong to a process, so no connection may cross a fork (sqlite.org/howtocorrupt,
2.6). All are closed before the process forks; parent and child open new ones when they next need
them.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final

from kmscore.errors import ConfigError, InternalError
from kmscore.registry import sqlite_file
from kmscore.registry.rows import Row
from kmscore.registry.sqlite_file import connect, failure, make_private, prepare
from kmscore.registry.sqlite_wal_index import WalIndex, close_index, open_index

LOOK_SECONDS: Final = 1.0
"""How long keys that are in memory may be used until it is looked whether the file has its name."""


class Connections:
    """One connection that writes and one that reads, shared by all threads.

    Args:
        path: The file, in a folder that exists.
        create: Make the file when it is not there.

    Attributes:
        path: The same, absolute.
        writing: Held during a write transaction.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        self.path = path.absolute()
        self.writing = threading.RLock()
        self._create = create
        self._reading = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._index: WalIndex | None = None
        self._numbers = itertools.count(1)
        self._seen: tuple[bytes | int | None, int] = _NOTHING
        self._closed = False
        self._paused = False
        self._identity: tuple[int, int] | None = None  # device and inode
        self._next_look = 0.0
        with _GATE:
            make_private(self.path, create=create)
            _OPEN.add(self)
        try:
            self.fetch("SELECT 1", ())
        except BaseException:
            self.close()
            raise

    def change_counter(self) -> int:
        """A number that nobody was given before the last commit that can be seen now.

        About 0.5 µs, in any number of threads, where the WAL index can be read; elsewhere SQLite is
        asked by a query, which takes some µs, by one thread at a time: statements that overlap on
        one connection share a snapshot, and a busy process would never see anything new.
        """
        if monotonic() >= self._next_look:
            self.require_in_place()
        try:
            state: bytes | int = self._index.head()  # type: ignore[union-attr]
        except (AttributeError, OSError):
            state = self._ask()
        seen = self._seen
        if seen[0] != state:
            # Each number is given to one state only, and before anything is read of that state. So
            # a thread that was held up may give one too many, but none that covers a later state.
            seen = self._seen = (state, next(self._numbers))
        return seen[1]

    def fetch(self, query: str, values: tuple[Any, ...]) -> list[Row]:
        """All rows of a query, in a snapshot of its own."""
        with self._reading:
            try:
                reader = self._reader or self._open_reader()
                self.require_in_place()
                return reader.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise failure(self.path, error) from error

    def writer(self) -> sqlite3.Connection:
        """The connection that writes, for who holds `writing`."""
        if self._writer is None:
            try:
                self._writer = self._connect()
            except sqlite3.Error as error:
                raise failure(self.path, error) from error
        return self._writer

    def require_in_place(self) -> None:
        """Refuse to go on with a file that has lost its name, to another one or to none.

        What is written to it would be gone at the end of the process, and what others change in
        the one that has its name would not be seen.

        Raises:
            ConfigError: It has.
        """
        self._next_look = monotonic() + LOOK_SECONDS
        try:
            found = _identity(self.path)
        except PermissionError:
            # Who may no longer look, as after giving up privileges, knows of no change.
            return
        if self._identity not in (None, found):
            raise ConfigError(
                f"keystore {self.path} was removed or replaced while it was open",
                hint="Open the provider again, and replace a keystore only while nobody uses it",
            )

    def close(self) -> None:
        """Give the file back; may be called twice."""
        with self.writing, self._reading:
            self._closed = True
            self._disconnect()

    # --- Forks -------------------------------------------------------------------------------

    def pause(self) -> None:
        """Before a fork: let go of the file, so that the child inherits nothing of it.

        Waits for other threads' transactions, but not for ever, and not for one of this thread.
        """
        if not self.writing.acquire(timeout=sqlite_file.BUSY_SECONDS):
            return
        if self._writer is not None and self._writer.in_transaction:
            self.writing.release()
            return
        if not self._reading.acquire(timeout=sqlite_file.BUSY_SECONDS):
            self.writing.release()
            return
        self._disconnect()
        self._paused = True

    def resume(self, *, in_child: bool) -> None:
        """After a fork: go on, with new connections when they are needed."""
        if self._paused:
            self._paused = False
            self._reading.release()
            self.writing.release()
        elif in_child:
            # Half a transaction is the parent's: to use or even close it would harm the file, and
            # SQLite takes the parent's locks for those of any connection to it in this process.
            _abandon(self.path, self._writer, self._reader)
            self._writer = self._reader = None
            self._index = None
            self.writing = threading.RLock()
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
        self.require_in_place()
        return connect(self.path)

    def _open_reader(self) -> sqlite3.Connection:
        reader = self._connect()
        try:
            prepare(reader, self.path, create=self._create)
        except BaseException:
            reader.close()
            raise
        self._reader = reader
        if self._identity is None:
            self._identity = _identity(self.path)
        self._index = open_index(reader.execute("PRAGMA database_list").fetchone()[2])
        return reader

    def _ask(self) -> bytes | int:
        """The state as SQLite tells it, or the WAL index, once it is open."""
        with self._reading:
            try:
                reader = self._reader or self._open_reader()
                if self._index is not None:
                    return self._index.head()
                version: int = reader.execute("PRAGMA data_version").fetchone()[0]
            except sqlite3.Error as error:
                raise failure(self.path, error) from error
            return version

    def _disconnect(self) -> None:
        """Close all, for who holds both locks."""
        index, self._index = self._index, None
        # What SQLite tells begins anew with every connection, and may be told a second time.
        self._seen = _NOTHING
        self._identity = None
        for connection in (self._writer, self._reader):
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()
        self._writer = self._reader = None
        if index is not None:
            close_index(index)


_NOTHING: Final = (None, 0)
"""What is seen when nothing is open."""

_GATE: Final = threading.Lock()
"""Held while a file is opened first, and throughout a fork."""

_OPEN: Final[weakref.WeakSet[Connections]] = weakref.WeakSet()
_ABANDONED: Final[set[str]] = set()
"""Files whose connections crossed a fork: of no use in this process."""


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode; None where there is no such file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - half the time of Path.stat
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _abandon(path: Path, *connections: sqlite3.Connection | None) -> None:
    import ctypes

    _ABANDONED.add(os.path.realpath(path))
    for connection in connections:
        # One reference too many: nothing closes it, not even the end of the interpreter.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _before_fork() -> None:
    _GATE.acquire()
    for connections in _OPEN:
        connections.pause()


def _after_fork_in_parent() -> None:
    for connections in _OPEN:
        connections.resume(in_child=False)
    _GATE.release()


def _after_fork_in_child() -> None:
    for connections in _OPEN:
        connections.resume(in_child=True)
    # Not held where a C program forked, and said so afterwards only.
    if _GATE.locked():
        _GATE.release()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
