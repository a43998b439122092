"""The head of SQLite's WAL index, which tells of every commit without a query.

The file ``-shm`` is memory that SQLite shares with all processes that use a database. Its first 96
bytes are two copies of one header, and every commit, by whomever, writes a new one: it holds a
counter and a checksum of the log (sqlite.org/walformat, 2.1). By this header, and nothing else,
SQLite itself decides whether pages that it holds in memory are still true. So who finds the header
as it was knows that nobody has committed anything. To ask by a query takes ten times as long, for
its statement and two locks.

Only while a connection of this process is open does the file stay what it is: the first one to
open a database, among all processes, makes it anew.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

HEAD_BYTES: Final = 96
_SYSTEMS: Final = ("linux", "darwin", "freebsd")
"""Where to read a file is to see what others have written through mapped memory, at once."""

_VERSION: Final = 3007000
_START: Final = struct.Struct("=I8xB")
"""Version of the format, the counter, and whether the index is in use."""


class WalIndex:
    """The WAL index of one database.

    Attributes:
        fd: The file, open for reading.
        head: Reads what differs after anybody has committed anything; 0.4 µs. Raises OSError once
            it was closed.
        users: How many are to close it.
    """

    __slots__ = ("fd", "head", "users")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.head = partial(os.pread, fd, HEAD_BYTES, 0)
        self.users = 0


_LOCK: Final = threading.Lock()
_KEPT: Final[dict[tuple[int, int], WalIndex]] = {}
"""What is open, by device and inode.

To close a file drops all locks that this process has on it, those of SQLite's connections too
(POSIX advisory locks; sqlite.org/howtocorrupt, 2.2). So it stays open until it has no name any
more: SQLite removes the file with the last connection of all processes.
"""


def open_index(database: str) -> WalIndex | None:
    """The WAL index of a database that this process has read, and has still open.

    Args:
        database: The file's name, as SQLite has resolved it.

    Returns:
        None where SQLite has to be asked: it keeps no such index, or one that we do not know.
    """
    if not sys.platform.startswith(_SYSTEMS):
        return None
    path = Path(f"{database}-shm")
    with _LOCK:
        _sweep()
        try:
            found = path.stat()
            index = _KEPT.get((found.st_dev, found.st_ino))
            if index is None:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                found = os.fstat(fd)
                index = _KEPT.setdefault((found.st_dev, found.st_ino), WalIndex(fd))
            head = index.head()
        except OSError:
            return None
        if len(head) < HEAD_BYTES or _START.unpack_from(head) != (_VERSION, 1):
            return None
        index.users += 1
        return index


def close_index(index: WalIndex) -> None:
    """Give it back, after the last connection was closed."""
    with _LOCK:
        index.users -= 1
        _sweep()


def _sweep() -> None:
    for place, index in list(_KEPT.items()):
        if not index.users and not os.fstat(index.fd).st_nlink:
            del _KEPT[place]
            os.close(index.fd)


def _after_fork_in_child() -> None:
    # Locks stay with the parent, so that nothing is lost here.
    for index in _KEPT.values():
        with suppress(OSError):
            os.close(index.fd)
    _KEPT.clear()
    # Not held where a C program forked, and said so afterwards only.
    if _LOCK.locked():
        _LOCK.release()


os.register_at_fork(
    before=_LOCK.acquire,
    after_in_parent=_LOCK.release,
    after_in_child=_after_fork_in_child,
)
