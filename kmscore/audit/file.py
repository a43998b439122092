"""The file of an audit log: opened strictly, locked against other processes, only ever appended to.

It knows bytes and lines; what a record is, it does not know.
"""

from __future__ import annotations

import errno
import os
import stat
from fcntl import LOCK_EX, LOCK_UN, flock
from typing import TYPE_CHECKING, Final

from kmscore.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK: Final = 4096


class LogFile:
    """A file that several processes append to.

    Args:
        path: Its name. The file is opened when it is first locked.
        max_line: Bytes of a line, at most.
    """

    __slots__ = ("_fd", "_identity", "_max_line", "_name", "path")

    def __init__(self, path: Path, max_line: int) -> None:
        self.path = path
        self._name = os.fspath(path)
        self._max_line = max_line
        self._fd = -1
        self._identity = (0, 0)  # device and inode

    def lock(self) -> int | None:
        """Lock the file, waiting for others.

        Returns:
            Its size; None when it no longer has its name: somebody moved it away. Whoever appends
            looks first, under the lock, so it has then got its last record.

        Raises:
            ConfigError: It cannot be opened, is no regular file, or others may read it.
            OSError: The system refuses.
        """
        if self._fd < 0:
            self._open()
        flock(self._fd, LOCK_EX)
        try:
            found = os.stat(self._name)  # noqa: PTH116 - half the time of Path.stat
        except FileNotFoundError:
            return None
        if (found.st_dev, found.st_ino) != self._identity:
            return None
        return found.st_size

    def unlock(self) -> None:
        """Let others append."""
        if self._fd >= 0:
            flock(self._fd, LOCK_UN)

    def size(self) -> int:
        """Bytes of the open file, whatever its name is now."""
        return os.fstat(self._fd).st_size

    def append(self, data: bytes, size: int) -> None:
        """Write all of it in one call, or nothing.

        Args:
            data: Whole lines.
            size: Bytes of the file now.

        Raises:
            OSError: The system refuses, or the disk is full: what was half-written is cut off.
        """
        written = os.write(self._fd, data)
        if written != len(data):
            os.ftruncate(self._fd, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read(self, length: int, offset: int) -> bytes:
        """Some bytes of it; fewer at its end."""
        return os.pread(self._fd, length, offset)

    def tail(self, size: int) -> tuple[bytes, bytes]:
        """The last whole line, and the bytes after it.

        Args:
            size: Bytes of the file.

        Returns:
            The line with its line feed, or nothing where there is none within twice the longest
            line; and what follows it without a line feed.
        """
        length = _BLOCK
        while True:
            start = max(0, size - length)
            *lines, rest = self.read(size - start, start).split(b"\n")
            # The first line of the window is whole only at the start of the file.
            if len(lines) > (start > 0):
                return lines[-1] + b"\n", rest
            if start == 0 or length > 2 * self._max_line:
                return b"", rest
            length *= 2

    def sync(self) -> None:
        """Bring its content to the disk."""
        os.fdatasync(self._fd)

    def sync_folder(self) -> None:
        """Bring its name to the disk: a new file could otherwise be lost as a whole."""
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def duplicate(self) -> int:
        """Another descriptor of the open file, for who must close it itself."""
        return os.dup(self._fd)

    @property
    def is_open(self) -> bool:
        """Whether there is a descriptor to work with."""
        return self._fd >= 0

    def drop(self) -> None:
        """Close it, where it is open; that ends the lock, too."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _open(self) -> None:
        try:
            fd = os.open(
                self.path,
                os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC,
                0o600,
            )
        except OSError as error:
            hint = "Make its folder first" if isinstance(error, FileNotFoundError) else ""
            raise ConfigError(
                f"the audit log {self.path} cannot be opened: {error.strerror}", hint=hint
            ) from error
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise ConfigError(f"the audit log {self.path} is no regular file")
        if found.st_mode & 0o077:
            os.close(fd)
            raise ConfigError(
                f"others may read or write the audit log {self.path}",
                hint=f"Run: chmod 600 {self.path}",
            )
        self._fd = fd
        self._identity = (found.st_dev, found.st_ino)

    def __del__(self) -> None:
        self.drop()
