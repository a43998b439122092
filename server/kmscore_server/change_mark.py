"""The mark: which change of a database was begun last, in memory that processes share.

To ask SQLite whether others have committed something takes two system calls for its locks; to look
at the mark takes none. The database numbers its commits, and each is marked with its number before
it is committed, while nobody else can write. So a process that knows a number from the database,
and finds it in the mark, knows that there was no commit since. Where they differ, it must ask the
database: a commit is on its way, or its process died over it, or the machine did, and the mark of
another time is left.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Final

from kmscore.errors import ConfigError
from kmscore.registry.sqlite_file import make_private

if TYPE_CHECKING:
    from pathlib import Path

_SIZE: Final = 8


class ChangeMark:
    """A number that processes share; it is read and written as a whole.

    Args:
        path: Its file, made with mode 0600 when it is not there.

    Raises:
        ConfigError: It cannot be used, or others than the owner may use it.
        OSError: The system refuses.
    """

    __slots__ = ("_value",)

    def __init__(self, path: Path) -> None:
        make_private(path, create=True)
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            if size == 0:
                os.ftruncate(fd, _SIZE)
            elif size != _SIZE:
                raise ConfigError(f"{path} is no mark of a database", hint="Move it away")
            self._value = memoryview(mmap.mmap(fd, _SIZE)).cast("Q")
        finally:
            os.close(fd)

    def get(self) -> int:
        """The number of the change that was begun last."""
        return self._value[0]

    def put(self, number: int) -> None:
        """Mark a change, for who alone may write the database at this moment."""
        self._value[0] = number
