"""Files: encrypted, decrypted and rewrapped, and whole or not there at all.

The output appears under its name only when all of it is written and, on decryption, authenticated.
Regular files are done by several threads; pipes and devices are streamed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from io import FileIO
from typing import TYPE_CHECKING, NamedTuple

from kmscore.context import EncryptionContext
from kmscore.envelope.header import (
    Header,
    Incomplete,
    cut_off,
    read_header,
)
from kmscore.envelope.message import begin, open_header
from kmscore.envelope.output import Batch, Draft, drafted, path_of, shown
from kmscore.envelope.recipients import Opener, Source, listed
from kmscore.envelope.streams import Opening, decrypt_stream, encrypt_stream, rewrap_stream
from kmscore.envelope.suites import AES_256_GCM, Suite, suite_named
from kmscore.envelope.units import THREADS, Progress, open_file, seal_file, unreadable
from kmscore.errors import InvalidRequest

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from kmscore.context import ContextLike
    from kmscore.key import Key

Name = str | os.PathLike[str]
"""A path."""

HEAD_BYTES = 4096
"""What is read of a message at first; most headers fit."""


def encrypt_file(
    source: Name,
    target: Name,
    *keys: Key,
    context: ContextLike = None,
    suite: str | Suite = AES_256_GCM,
    cache: Source | None = None,
    force: bool = False,
    threads: int = THREADS,
    progress: Progress | None = None,
    batch: Batch | None = None,
) -> None:
    """Encrypt a file for one or several keys.

    Args:
        source: The file; a pipe or device is streamed.
        target: The message; it appears when it is complete, with the permissions of the file.
        keys: Any of them opens the message.
        context: Bound to the message; public.
        suite: ``AES_256_GCM`` or ``SM4_GCM``.
        cache: A `DataKeyCache`.
        force: Whether an existing target is replaced.
        threads: How many work side by side.
        progress: Told of bytes done.
        batch: Publishes the target together with others.

    Raises:
        AlreadyExists: The target is there.
        InvalidRequest: A file cannot be read or written, both are the same, or the file changed
            meanwhile.
        Unavailable: The disk is full; nothing is left behind.
    """
    chosen = suite_named(suite)
    checked = EncryptionContext.of(context)
    with _opened(source, target, force=force, batch=batch) as (given, draft):
        if given.size is None:
            with _reader(given.handle) as reader, _writer(draft.handle) as writer:
                encrypt_stream(
                    reader, writer, *keys, context=checked, suite=chosen, progress=progress
                )
            return
        header, body = begin(keys, checked, chosen, given.size, cache)
        seal_file(
            given.handle,
            draft.handle,
            header,
            body,
            given.size,
            threads=threads,
            progress=progress,
        )
        if os.fstat(given.handle).st_mtime_ns != given.modified:
            raise InvalidRequest("the file changed while it was being encrypted")


def decrypt_file(
    source: Name,
    target: Name,
    *openers: Opener,
    context: ContextLike = None,
    cache: Source | None = None,
    force: bool = False,
    threads: int = THREADS,
    progress: Progress | None = None,
    batch: Batch | None = None,
) -> None:
    """Decrypt a file; the output appears only when all of it is authentic.

    Args:
        source: The message; a pipe or device is streamed.
        target: The plaintext; it appears when it is complete, with the permissions of the message.
        openers: Keys, or providers with all their keys.
        context: The context of the encryption.
        cache: A `DataKeyCache`.
        force: Whether an existing target is replaced.
        threads: How many work side by side.
        progress: Told of bytes done.
        batch: Publishes the target together with others.

    Raises:
        IntegrityError: The message was altered, cut or extended.
        CiphertextInvalid: It has another context, or these keys do not open it.
        KeyNotFound: None of its recipients is at hand.
    """
    checked = EncryptionContext.of(context)
    with _opened(source, target, force=force, batch=batch) as (given, draft):
        header = None if given.size is None else _read_header(given.handle)
        if given.size is None or header is None or header.suite.signed or not header.frame_bytes:
            with _reader(given.handle) as reader, _writer(draft.handle) as writer:
                decrypt_stream(
                    reader, writer, *openers, context=checked, cache=cache, progress=progress
                )
            return
        body = open_header(header, openers, checked, cache)
        open_file(
            given.handle,
            draft.handle,
            header.size,
            body,
            given.size,
            threads=threads,
            progress=progress,
        )


def rewrap_file(
    source: Name,
    target: Name | None,
    openers: Sequence[Opener],
    keys: Sequence[Key],
    *,
    context: ContextLike = None,
    cache: Source | None = None,
    force: bool = False,
    progress: Progress | None = None,
    batch: Batch | None = None,
) -> None:
    """Write a message anew for other recipients, in one verified pass.

    Under a fresh data key and message id: see `kmscore.envelope.rewrap`.

    Args:
        source: The message.
        target: The new message; None replaces the old one, at once and as a whole, and keeps its
            permissions and, where that is allowed, its owner. A symbolic link stays one. An old
            one that was changed meanwhile is left as it is then, with an error.
        openers: What opens the old message.
        keys: Who opens the new one.
        context: The context of both.
        cache: A `DataKeyCache` that opens old messages; the data key of each new one is fresh.
        force: Whether an existing target is replaced.
        progress: Told of bytes done.
        batch: Publishes the target together with others.
    """
    checked = EncryptionContext.of(context)
    old, new = listed(openers, "openers"), listed(keys, "keys")
    in_place = target is None
    goal = os.path.realpath(path_of(source)) if target is None else target
    with _opened(source, goal, force=force or in_place, in_place=in_place, batch=batch) as (
        given,
        draft,
    ):
        with _reader(given.handle) as reader, _writer(draft.handle) as writer:
            rewrap_stream(reader, writer, old, new, context=checked, cache=cache, progress=progress)
        if in_place and draft.old is not None:
            _inherit(draft.handle, draft.old)


def inspect_file(source: Name) -> Header:
    """The header of a message in a file; nothing of it is authenticated."""
    name = path_of(source)
    with _reading(name) as handle:
        status = os.fstat(handle)
        _refuse_folder(name, status)
        if status.st_size:
            return _read_header(handle)
        with _reader(handle) as reader:  # a pipe gives as much as it has
            return Opening(reader).read_header()


class _Given(NamedTuple):
    """The input: its descriptor, and its size if it is a regular file."""

    handle: int
    size: int | None
    modified: int


def _read_header(handle: int) -> Header:
    size = HEAD_BYTES
    while True:
        try:
            head = os.pread(handle, size, 0)
        except OSError as error:
            raise unreadable(error) from error
        try:
            return read_header(head)
        except Incomplete as missing:
            if len(head) < size:
                raise cut_off() from None
            size = max(2 * size, missing.needed)


@contextmanager
def _reading(source: str) -> Generator[int]:
    try:
        handle = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidRequest(
            f"cannot read {shown(source)}: {error.strerror}", hint="Check the path and its mode"
        ) from error
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _opened(
    source: Name, target: Name, *, force: bool, in_place: bool = False, batch: Batch | None
) -> Generator[tuple[_Given, Draft]]:
    """The input, and a draft of the output that gets its name if all goes well."""
    name, goal = path_of(source), path_of(target)
    with _reading(name) as handle:
        status = os.fstat(handle)
        _refuse_folder(name, status)
        regular = stat.S_ISREG(status.st_mode)
        given = _Given(handle, status.st_size if regular else None, status.st_mtime_ns)
        with drafted(goal, force=force, source=status, in_place=in_place, batch=batch) as draft:
            yield given, draft


def _refuse_folder(name: str, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise InvalidRequest(f"{shown(name)} is a folder", hint="Name a file")


def _inherit(handle: int, old: os.stat_result) -> None:
    """Give a file the permissions and the owner of the one that it replaces."""
    try:
        os.fchown(handle, old.st_uid, old.st_gid)
    except PermissionError:
        # Somebody else's file, in a folder of ours: the new one is ours.
        mode = old.st_mode & 0o777
    else:
        mode = stat.S_IMODE(old.st_mode)
    os.fchmod(handle, mode)


class _Input(FileIO):
    """A file whose trouble is not taken for that of the output."""

    def readinto(self, buffer: Buffer, /) -> int | None:
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise unreadable(error) from error


def _reader(handle: int) -> FileIO:
    return _Input(handle, "rb", closefd=False)


def _writer(handle: int) -> FileIO:
    return FileIO(handle, "wb", closefd=False)
