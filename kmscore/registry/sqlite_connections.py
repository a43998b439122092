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
from typing import Any, Final

from kmscore.errors import InternalError
from kmscore.registry import sqlite_file
from kmscore.registry.rows import Row
from kmscore.registry.sqlite_file import connect, failure, make_private, prepare


class Connections:
    """One connection that writes, one that reads, and one per thread that watches for changes.

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
        self._own = _Own()
        self._watchers: weakref.WeakSet[_Watcher] = weakref.WeakSet()
        self._numbers = itertools.count()
        self._changes = 0
        self._closed = False
        self._paused = False
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

        About 1.5 µs, in any number of threads: each has a connection of its own to ask SQLite
        whether others have committed. One for all would not do: with a lock, threads would wait
        for each other longer than everything else takes; without, statements that overlap share a
        snapshot, and a busy process would never see anything new.
        """
        watcher = self._own.watcher
        while True:
            with watcher.lock:
                if watcher.connection is not None:
                    try:
                        query = watcher.connection.execute("PRAGMA data_version")
                        version: int = query.fetchone()[0]
                    except sqlite3.Error as error:
                        raise failure(self.path, error) from error
                    if version != watcher.seen:
                        # Each number is set once only, so none ever comes back. This comes first:
                        # an interruption in between makes one number too many, not too few.
                        self._changes = next(self._numbers)
                        watcher.seen = version
                    return self._changes
            self._open_watcher(watcher)

    def fetch(self, query: str, values: tuple[Any, ...]) -> list[Row]:
        """All rows of a query, in a snapshot of its own."""
        with self._reading:
            try:
                reader = self._reader or self._open_reader()
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
        self._paused = self._disconnect()
        if not self._paused:
            self._reading.release()
            self.writing.release()

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
            for watcher in self._watchers:
                _abandon(self.path, watcher.connection)
                watcher.connection = None
                watcher.lock = threading.Lock()
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
        return connect(self.path)

    def _open_reader(self) -> sqlite3.Connection:
        reader = self._connect()
        try:
            prepare(reader, self.path, create=self._create)
        except BaseException:
            reader.close()
            raise
        self._reader = reader
        return reader

    def _open_watcher(self, watcher: _Watcher) -> None:
        with self._reading:
            try:
                connection = self._connect()
            except sqlite3.Error as error:
                raise failure(self.path, error) from error
            watcher.connection = connection
            watcher.seen = None
            self._watchers.add(watcher)

    def _disconnect(self) -> bool:
        """Close all, for who holds both locks; False when a thread does not let go of its own."""
        for watcher in self._watchers:
            if not watcher.lock.acquire(timeout=sqlite_file.BUSY_SECONDS):
                return False
            watcher.close()
            watcher.lock.release()
        for connection in (self._writer, self._reader):
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()
        self._writer = self._reader = None
        return True


class _Watcher:
    """A thread's own connection, and the count of commits that it last saw.

    Attributes:
        lock: Held by the thread while it asks, and by who closes the connection meanwhile.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.connection: sqlite3.Connection | None = None
        self.seen: int | None = None

    def close(self) -> None:
        """Close the connection; the thread opens another one when it next asks."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    __del__ = close  # when the thread ends


class _Own(threading.local):
    def __init__(self) -> None:
        self.watcher = _Watcher()


_GATE: Final = threading.Lock()
"""Held while a file is opened first, and throughout a fork."""

_OPEN: Final[weakref.WeakSet[Connections]] = weakref.WeakSet()
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
