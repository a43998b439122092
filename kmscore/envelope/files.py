"""Files: encrypted and decrypted by two threads side by side, and whole or not there at all.

Regular files are read, enciphered and written in units of 1 MiB at fixed places, so that threads
never wait for one another; other files are streamed. The output appears under its name only when
all of it is written (and, on decryption, authenticated), by an atomic rename.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from kmscore.context import EncryptionContext
from kmscore.envelope.frames import FINAL_OVERHEAD, FRAME_BYTES, Body
from kmscore.envelope.header import Header, read_header
from kmscore.envelope.message import (
    MAX_HEADER_BYTES,
    EnvelopeDecryptor,
    EnvelopeEncryptor,
    begin,
    open_header,
)
from kmscore.envelope.recipients import Opener, Source, source_of
from kmscore.envelope.suites import AES_256_GCM, SM4_GCM, Suite, suite_named
from kmscore.errors import AlreadyExists, IntegrityError, InvalidRequest, Unavailable

if TYPE_CHECKING:
    from kmscore.context import ContextLike
    from kmscore.key import Key

UNIT_FRAMES: Final = 8
"""Frames that are read, enciphered and written at a time: 1 MiB."""

THREADS: Final = 2
"""More gain nothing: the disk and page faults are the limit, not the cipher."""

PIECE: Final = 1 << 20

_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

Progress = Callable[[int], None]
"""Told how many bytes of plaintext were done, again and again, from several threads."""


def encrypt_file(
    source: Path | str,
    target: Path | str,
    *keys: Key,
    context: ContextLike = None,
    suite: str | Suite = AES_256_GCM,
    cache: Source | None = None,
    force: bool = False,
    threads: int = THREADS,
    progress: Progress | None = None,
) -> None:
    """Encrypt a file for one or several keys.

    Args:
        source: The file; a pipe or device is streamed.
        target: The message; it appears when it is complete.
        keys: Any of them opens the message.
        context: Bound to the message; public.
        suite: ``AES_256_GCM`` or ``SM4_GCM``.
        cache: A `DataKeyCache`.
        force: Whether an existing target is replaced.
        threads: How many work side by side.
        progress: Told of bytes done.

    Raises:
        AlreadyExists: The target is there.
        InvalidRequest: A file cannot be read or written, or both are the same.
        Unavailable: The disk is full; nothing is left behind.
    """
    chosen = suite_named(suite)
    checked = EncryptionContext.of(context)
    with _opened(Path(source), Path(target), force=force) as (reader, writer, size):
        if size is None:
            encryptor = EnvelopeEncryptor(*keys, context=checked, suite=chosen, source=cache)
            _stream(reader, writer, encryptor.update, encryptor.finalize, progress)
            return
        materials = source_of(cache).make(keys, checked, chosen, size)
        header, body = begin(materials, checked, chosen)
        _write(writer, memoryview(header), 0)
        _Encryption(reader, writer, body, size, len(header), progress).run(threads)


def decrypt_file(
    source: Path | str,
    target: Path | str,
    *openers: Opener,
    context: ContextLike = None,
    cache: Source | None = None,
    force: bool = False,
    threads: int = THREADS,
    progress: Progress | None = None,
) -> None:
    """Decrypt a file; the output appears only when all of it is authentic.

    Args:
        source: The message; a pipe or device is streamed.
        target: The plaintext; it appears when it is complete.
        openers: Keys, or providers with all their keys.
        context: The context of the encryption.
        cache: A `DataKeyCache`.
        force: Whether an existing target is replaced.
        threads: How many work side by side.
        progress: Told of bytes done.

    Raises:
        IntegrityError: The message was altered, cut or extended.
        CiphertextInvalid: It has another context, or these keys do not open it.
        KeyNotFound: None of its recipients is at hand.
    """
    checked = EncryptionContext.of(context)
    with _opened(Path(source), Path(target), force=force) as (reader, writer, size):
        found = _header(reader) if size is not None else None
        if size is None or found is None or found.header.suite.signed or not found.is_framed:
            decryptor = EnvelopeDecryptor(*openers, context=checked, source=cache)
            _stream(reader, writer, decryptor.update, decryptor.finalize, progress)
            return
        body = open_header(found.header, found.tag, source_of(cache), openers, checked)
        _Decryption(reader, writer, body, size, found.size, progress).run(threads)


def rewrap_file(
    source: Path | str,
    target: Path | str | None,
    openers: Sequence[Opener],
    keys: Sequence[Key],
    *,
    context: ContextLike = None,
    force: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write a message anew for other recipients, in one verified pass.

    Under a fresh data key and message id: see `kmscore.envelope.rewrap`.

    Args:
        source: The message.
        target: The new message; None replaces the old one, at once and as a whole.
        openers: What opens the old message.
        keys: Who opens the new one.
        context: The context of both.
        force: Whether an existing target is replaced.
        progress: Told of bytes done.
    """
    place = Path(source)
    checked = EncryptionContext.of(context)
    goal = place if target is None else Path(target)
    with _opened(place, goal, force=force or target is None, in_place=target is None) as (
        reader,
        writer,
        _,
    ):
        decryptor = EnvelopeDecryptor(*openers, context=checked)
        encryptor: EnvelopeEncryptor | None = None

        def update(piece: memoryview) -> bytes:
            nonlocal encryptor
            plaintext = decryptor.update(piece)
            if encryptor is None and decryptor.header is not None:
                suite = SM4_GCM if decryptor.header.suite is SM4_GCM else AES_256_GCM
                encryptor = EnvelopeEncryptor(*keys, context=checked, suite=suite)
            return encryptor.update(plaintext) if encryptor else b""

        def finalize() -> bytes:
            decryptor.finalize()
            return encryptor.finalize() if encryptor else b""

        _stream(reader, writer, update, finalize, progress)


def inspect_file(source: Path | str) -> Header:
    """The header of a message in a file; nothing of it is authenticated."""
    with _reading(Path(source)) as reader:
        return _header(reader).header


# --- Working side by side --------------------------------------------------------------------


class _Work:
    """A file in units; each worker takes every n-th."""

    def __init__(
        self, reader: int, writer: int, body: Body, offset: int, progress: Progress | None
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._body = body
        self._offset = offset
        self._progress = progress
        self._failure: BaseException | None = None
        self.units = 0

    def run(self, threads: int) -> None:
        """Do all units, then what follows the last."""
        workers = max(1, min(threads, self.units))
        others = [
            threading.Thread(target=self._worker, args=(number, workers), daemon=True)
            for number in range(1, workers)
        ]
        for other in others:
            other.start()
        self._worker(0, workers)
        for other in others:
            other.join()
        if self._failure is not None:
            raise self._failure
        self.finish()

    def _worker(self, first: int, step: int) -> None:
        try:
            plain = bytearray(UNIT_FRAMES * self._body.frame_bytes)
            sealed = bytearray(UNIT_FRAMES * self._body.sealed_bytes)
            with memoryview(plain) as plain_view, memoryview(sealed) as sealed_view:
                for number in range(first, self.units, step):
                    if self._failure is not None:
                        return
                    done = self.unit(number, plain_view, sealed_view)
                    if self._progress is not None:
                        self._progress(done)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self._failure = error

    def unit(self, number: int, plain: memoryview, sealed: memoryview) -> int:
        """Do one unit of whole frames; returns its plaintext bytes."""
        raise NotImplementedError

    def finish(self) -> None:
        """Do the final frame."""
        raise NotImplementedError


class _Encryption(_Work):
    def __init__(
        self,
        reader: int,
        writer: int,
        body: Body,
        size: int,
        offset: int,
        progress: Progress | None,
    ) -> None:
        super().__init__(reader, writer, body, offset, progress)
        self._size = size
        self._regular = max(0, size - 1) // FRAME_BYTES
        self.units = -(-self._regular // UNIT_FRAMES)

    def unit(self, number: int, plain: memoryview, sealed: memoryview) -> int:
        first = number * UNIT_FRAMES
        size = min(UNIT_FRAMES, self._regular - first) * FRAME_BYTES
        _read(self._reader, plain[:size], first * FRAME_BYTES)
        written = self._body.seal(first + 1, plain[:size], sealed)
        _write(self._writer, sealed[:written], self._offset + first * self._body.sealed_bytes)
        return size

    def finish(self) -> None:
        place = self._regular * FRAME_BYTES
        rest = bytearray(self._size - place)
        _read(self._reader, memoryview(rest), place)
        if os.fstat(self._reader).st_size != self._size:
            raise InvalidRequest("the file changed while it was being encrypted")
        out = bytearray(FINAL_OVERHEAD + len(rest))
        self._body.seal_final(self._regular + 1, bytes(rest), memoryview(out))
        place = self._offset + self._regular * self._body.sealed_bytes
        _write(self._writer, memoryview(out), place)
        if self._progress is not None:
            self._progress(len(rest))


class _Decryption(_Work):
    def __init__(
        self,
        reader: int,
        writer: int,
        body: Body,
        size: int,
        offset: int,
        progress: Progress | None,
    ) -> None:
        super().__init__(reader, writer, body, offset, progress)
        rest = size - offset - FINAL_OVERHEAD
        if rest < 0:
            raise IntegrityError("the message is cut off")
        self._regular, self._final = divmod(rest, body.sealed_bytes)
        if self._final > body.frame_bytes:
            # No final frame is that long: take it for a cut one, and let the frames decide.
            raise IntegrityError("the message is cut off, or goes on after its final frame")
        self.units = -(-self._regular // UNIT_FRAMES)

    def unit(self, number: int, plain: memoryview, sealed: memoryview) -> int:
        first = number * UNIT_FRAMES
        size = min(UNIT_FRAMES, self._regular - first) * self._body.sealed_bytes
        place = self._offset + first * self._body.sealed_bytes
        _read(self._reader, sealed[:size], place)
        written = self._body.open(first + 1, sealed[:size], plain)
        _write(self._writer, plain[:written], first * self._body.frame_bytes)
        return written

    def finish(self) -> None:
        sealed = bytearray(FINAL_OVERHEAD + self._final)
        place = self._offset + self._regular * self._body.sealed_bytes
        _read(self._reader, memoryview(sealed), place)
        out = bytearray(self._final)
        written = self._body.open_final(self._regular + 1, bytes(sealed), memoryview(out))
        _write(self._writer, memoryview(out)[:written], self._regular * self._body.frame_bytes)
        if self._progress is not None:
            self._progress(written)


# --- Reading and writing ---------------------------------------------------------------------


class _Found(NamedTuple):
    header: Header
    tag: bytes
    size: int

    @property
    def is_framed(self) -> bool:
        return self.header.frame_bytes > 0


def _header(reader: int) -> _Found:
    place = 0

    def take(size: int) -> bytes:
        nonlocal place
        if place + size > MAX_HEADER_BYTES:
            raise IntegrityError("the header of the message is too long")
        piece = os.pread(reader, size, place)
        if len(piece) < size:
            raise IntegrityError("the message is cut off")
        place += size
        return piece

    header, tag = read_header(take)
    return _Found(header, tag, place)


def _read(reader: int, into: memoryview, place: int) -> None:
    done = 0
    while done < len(into):
        count = os.preadv(reader, [into[done:]], place + done)
        if count == 0:
            raise InvalidRequest("the file became shorter while it was being read")
        done += count


def _write(writer: int, data: memoryview, place: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(writer, data[done:], place + done)


def _stream(
    reader: int,
    writer: int,
    update: Callable[[memoryview], bytes],
    finalize: Callable[[], bytes],
    progress: Progress | None,
) -> None:
    buffer = bytearray(PIECE)
    place = 0
    with memoryview(buffer) as view:
        while count := os.readv(reader, [view]):
            out = update(view[:count])
            _write(writer, memoryview(out), place)
            place += len(out)
            if progress is not None:
                progress(count)
    _write(writer, memoryview(finalize()), place)


@contextmanager
def _reading(source: Path) -> Generator[int]:
    try:
        reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidRequest(
            f"cannot read {source}: {error.strerror}", hint="Check the path and its mode"
        ) from error
    try:
        yield reader
    finally:
        os.close(reader)


@contextmanager
def _opened(
    source: Path, target: Path, *, force: bool, in_place: bool = False
) -> Generator[tuple[int, int, int | None]]:
    """Source and a draft of the target; the draft takes the target's name if all goes well."""
    with _reading(source) as reader:
        status = os.fstat(reader)
        if stat.S_ISDIR(status.st_mode):
            raise InvalidRequest(f"{source} is a folder")
        if not in_place:
            with contextlib.suppress(OSError):
                if target.samefile(source):
                    raise InvalidRequest(f"input and output are the same file: {source}")
        if target.exists() and not force:
            raise AlreadyExists(f"{target} exists", hint="Choose another name, or use --force")
        with _draft(target, status.st_mode & 0o777) as writer:
            size = status.st_size if stat.S_ISREG(status.st_mode) else None
            yield reader, writer, size


@contextmanager
def drafted(target: Path, *, force: bool) -> Generator[int]:
    """A draft of a file, as a descriptor; it takes the file's name if all goes well."""
    if target.exists() and not force:
        raise AlreadyExists(f"{target} exists", hint="Choose another name, or use --force")
    with _draft(target, 0o666) as writer:
        yield writer


@contextmanager
def _draft(target: Path, mode: int) -> Generator[int]:
    draft = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
    try:
        writer = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        yield writer
        os.fsync(writer)
        draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise _unwritable(target, error) from error
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(writer)


def _unwritable(target: Path, error: OSError) -> Unavailable | InvalidRequest:
    if error.errno in _DISK_FULL:
        return Unavailable(
            f"cannot write {target}: {error.strerror}", hint="Make room; nothing was left behind"
        )
    return InvalidRequest(
        f"cannot write {target}: {error.strerror}", hint="Check the folder and its mode"
    )
