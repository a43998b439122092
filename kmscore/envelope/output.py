"""Output files that are whole or not there: drafts without a name, named when they are complete.

A draft has no name in the file system (O_TMPFILE of Linux), so that nothing of it is left when the
process is killed. Where a file system cannot do that, it has a hidden name beside its target.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from kmscore.errors import AlreadyExists, InvalidRequest, KmsError, Unavailable

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

BATCH: Final = 128
"""Files that are brought to the disk together, where the process may have so many open."""

SYNC_THREADS: Final = 8
"""How many of them at a time: a disk takes many requests at once about as quickly as one."""

_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
# A nameless file is named through /proc, which not every chroot has.
_NAMELESS: Final = getattr(os, "O_TMPFILE", 0) if os.path.exists("/proc/self/fd") else 0


class Draft:
    """A file that is being written.

    Attributes:
        handle: Its descriptor, open for writing.
        target: The name that it will have.
    """

    def __init__(
        self,
        target: str,
        *,
        force: bool,
        source: os.stat_result | None = None,
        in_place: bool = False,
    ) -> None:
        """Check the target, and make an empty draft beside it.

        Args:
            target: The name of the file to be.
            force: Whether a file of that name is replaced.
            source: The file that it is made from, if there is one; gives its permissions.
            in_place: Whether that is what it replaces; one that is newer by then is left alone.

        Raises:
            AlreadyExists: There is a file of that name, and no force.
            InvalidRequest: There is something else of that name, or the source, or the folder
                cannot be written.
        """
        self.target = target
        self._force = force
        self._made_from = source if in_place else None
        self._old = _existing(target, force=force, source=None if in_place else source)
        self._folder = os.path.dirname(target) or os.curdir
        self._name: str | None = None
        mode = 0o666 if source is None else source.st_mode & 0o777
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            try:
                self.handle = os.open(self._folder, flags | _NAMELESS, mode)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                    raise
                self._name = self._hidden()
                self.handle = os.open(self._name, flags | os.O_CREAT | os.O_EXCL, mode)
        except OSError as error:
            raise unwritable(target, error) from error

    @property
    def old(self) -> os.stat_result | None:
        """What the file to be replaced is, if there is one."""
        return self._old

    def sync(self) -> None:
        """Bring the file to the disk.

        Raises:
            Unavailable: The disk is full.
        """
        try:
            os.fsync(self.handle)
        except OSError as error:
            raise unwritable(self.target, error) from error

    def publish(self) -> None:
        """Give the file its name, and close it.

        Raises:
            AlreadyExists: A file of that name appeared meanwhile, and no force.
        InvalidRequest: The file that it was made from was changed or replaced meanwhile.
        """
        try:
            self._appear()
        except OSError as error:
            raise unwritable(self.target, error) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Close the file; without a name, it is gone."""
        if self._name is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._name)
            self._name = None
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def _appear(self) -> None:
        if self._old is None:
            try:
                self._link(self.target)
            except FileExistsError as error:
                if not self._force:
                    raise _exists(self.target) from error
            else:
                return
        if self._name is None:
            hidden = self._hidden()
            self._link(hidden)
            self._name = hidden
        if self._made_from is not None and _version(self._made_from) != _version(
            os.stat(self.target)
        ):
            raise InvalidRequest(f"{shown(self.target)} changed while it was being rewritten")
        os.replace(self._name, self.target)
        self._name = None

    def _link(self, name: str) -> None:
        """Give the file a name that is not taken."""
        if self._name is not None:
            try:
                os.link(self._name, name, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                # FAT and exFAT have no links. Between these two, a file can appear and be lost.
                if os.path.lexists(name):
                    raise FileExistsError from error
                os.rename(self._name, name)
                self._name = None
            return
        # A descriptor for the folder makes Python call linkat, which can follow /proc's link.
        os.link(f"/proc/self/fd/{self.handle}", name, src_dir_fd=self.handle, follow_symlinks=True)

    def _hidden(self) -> str:
        return os.path.join(self._folder, f".kmscore.{os.urandom(8).hex()}")


class Batch:
    """Publishes drafts, many at a time; a context manager that publishes the rest at its end.

    While some are brought to the disk, the next are written. What is complete is published also
    when another file fails. Errors of publishing are those of the file that they name; the first
    of them is raised at the end. Several threads may write files for one batch.

    Attributes:
        failures: The targets that could not be published, and why; complete at the end.
    """

    def __init__(self, size: int | None = None) -> None:
        """Publish that many at a time; by default as many as can well be open."""
        self._size = _batch_size() if size is None else size
        self._lock = threading.RLock()
        self._drafts: list[Draft] = []
        self._publisher: threading.Thread | None = None
        self._defects: list[BaseException] = []
        self.failures: list[tuple[str, KmsError]] = []

    def add(self, draft: Draft) -> None:
        """Publish a complete draft, now or with others."""
        with contextlib.suppress(OSError):
            # Starts to write: what is on its way when the first is waited for costs no more.
            os.posix_fadvise(draft.handle, 0, 0, os.POSIX_FADV_DONTNEED)
        with self._lock:
            self._drafts.append(draft)
            if len(self._drafts) >= self._size:
                self._start()

    def flush(self) -> None:
        """Publish all drafts that were added, and wait for it."""
        with self._lock:
            self._start()
            self._wait()

    def _start(self) -> None:
        """Publish the drafts so far while others are written; of such threads there is one."""
        self._wait()
        drafts, self._drafts = self._drafts, []
        self._publisher = threading.Thread(target=self._publish, args=(drafts,))
        self._publisher.start()

    def _wait(self) -> None:
        if self._publisher is not None:
            self._publisher.join()
            self._publisher = None
        if self._defects:
            raise self._defects.pop()

    def _publish(self, drafts: list[Draft]) -> None:
        try:
            failed = _sync_all(drafts)
            folders: set[str] = set()
            for draft in drafts:
                try:
                    if draft in failed:
                        draft.discard()
                        raise failed[draft]
                    draft.publish()
                except KmsError as error:
                    self.failures.append((draft.target, error))
                folders.add(os.path.dirname(draft.target) or os.curdir)
            for folder in folders:
                sync_folder(folder)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self._defects.append(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.flush()
        if error is None and self.failures:
            raise self.failures[0][1]


def _batch_size() -> int:
    """As many as fit twice, while some are published, into half of the descriptors left."""
    from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit

    limit, _ = getrlimit(RLIMIT_NOFILE)
    if limit == RLIM_INFINITY:
        return BATCH
    taken = 0
    with contextlib.suppress(OSError):  # not every chroot has /proc
        taken = len(os.listdir("/proc/self/fd"))
    return max(1, min(BATCH, (limit - taken) // 4))


@contextmanager
def drafted(
    target: str,
    *,
    force: bool,
    source: os.stat_result | None = None,
    in_place: bool = False,
    batch: Batch | None = None,
) -> Generator[Draft]:
    """A draft, which is published when the block ends well, and gone otherwise."""
    draft = Draft(target, force=force, source=source, in_place=in_place)
    try:
        yield draft
    except OSError as error:
        draft.discard()
        raise unwritable(target, error) from error
    except BaseException:
        draft.discard()
        raise
    if batch is not None:
        batch.add(draft)
        return
    try:
        draft.sync()
        draft.publish()
    finally:
        draft.discard()
    sync_folder(os.path.dirname(target) or os.curdir)


def _sync_all(drafts: list[Draft]) -> dict[Draft, KmsError]:
    """Bring all of them to the disk; returns the errors of those that failed."""
    failed: dict[Draft, KmsError] = {}

    def sync(first: int) -> None:
        for draft in drafts[first::SYNC_THREADS]:
            try:
                draft.sync()
            except KmsError as error:
                failed[draft] = error

    threads = [
        threading.Thread(target=sync, args=(n,), daemon=True)
        for n in range(1, min(SYNC_THREADS, len(drafts)))
    ]
    for thread in threads:
        thread.start()
    sync(0)
    for thread in threads:
        thread.join()
    return failed


def sync_folder(folder: str) -> None:
    """Bring the names in a folder to the disk."""
    with contextlib.suppress(OSError):  # not every file system can
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _existing(target: str, *, force: bool, source: os.stat_result | None) -> os.stat_result | None:
    """What is to be replaced, and may be; None when there is nothing of that name."""
    try:
        status = os.lstat(target)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unwritable(target, error) from error
    if source is not None and is_same(source, target):
        raise InvalidRequest(f"input and output are the same file: {shown(target)}")
    if not stat.S_ISREG(status.st_mode):
        raise InvalidRequest(
            f"{shown(target)} is no regular file",
            hint="Name a file, or send the output through a pipe",
        )
    if not force:
        raise _exists(target)
    return status


def is_same(status: os.stat_result, path: str) -> bool:
    """Whether a path leads to that very file."""
    try:
        return os.path.samestat(status, os.stat(path))
    except OSError:
        return False


def _version(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _exists(target: str) -> AlreadyExists:
    return AlreadyExists(
        f"{shown(target)} exists",
        hint="Choose another name, or replace it: --force, or force=True in Python",
    )


def unwritable(target: str, error: OSError) -> Unavailable | InvalidRequest:
    """The error for a file that cannot be written."""
    if error.errno in _DISK_FULL:
        return Unavailable(
            f"cannot write {shown(target)}: {error.strerror}",
            hint="Make room; nothing was left behind",
        )
    return InvalidRequest(
        f"cannot write {shown(target)}: {error.strerror}", hint="Check the folder and its mode"
    )


def path_of(name: str | os.PathLike[str]) -> str:
    """A path that a file can have.

    Raises:
        InvalidRequest: It is none.
    """
    with contextlib.suppress(TypeError, UnicodeEncodeError):
        path = os.fsdecode(name)
        if path and b"\0" not in os.fsencode(path):
            return path
    raise InvalidRequest(f"{name!r} is no path", hint="Give a str or a pathlib.Path")


def shown(path: str) -> str:
    """A path as errors show it: on one line, whatever its name."""
    return path if path.isprintable() else repr(path)
