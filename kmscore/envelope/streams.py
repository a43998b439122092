"""Streams: messages from one open file to another, as they come, in buffers that are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Final, Protocol

from kmscore.checks import require_binary
from kmscore.context import EncryptionContext
from kmscore.envelope.frames import (
    END,
    FINAL_OVERHEAD,
    FINAL_PREFIX_BYTES,
    FRAME_OVERHEAD,
    Body,
    final_size,
)
from kmscore.envelope.header import Header, Incomplete, cut_off, read_header
from kmscore.envelope.message import EnvelopeDecryptor, begin, open_header
from kmscore.envelope.recipients import Opener, Source, listed
from kmscore.envelope.suites import AES_256_GCM, Suite, suite_named
from kmscore.envelope.units import Progress
from kmscore.errors import IntegrityError, InvalidRequest

if TYPE_CHECKING:
    from kmscore.context import ContextLike
    from kmscore.key import Key

UNIT_BYTES: Final = 1 << 17
"""Taken at a time: so much stays in the processor's cache from the read to the write, and pipes
are not held up for long."""


class Reader(Protocol):
    """An open binary file, buffered or not, such as ``sys.stdin.buffer``."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Read some bytes into the buffer; 0 at the end."""
        ...


class Writer(Protocol):
    """An open binary file, buffered or not, such as ``sys.stdout.buffer``."""

    def write(self, data: memoryview, /) -> int | None:
        """Write some bytes; returns how many."""
        ...


def encrypt_stream(
    reader: Reader,
    writer: Writer,
    *keys: Key,
    context: ContextLike = None,
    suite: str | Suite = AES_256_GCM,
    progress: Progress | None = None,
) -> None:
    """Encrypt all of an open file into another.

    Args:
        reader: Where the plaintext comes from.
        writer: Where the message goes; neither is closed.
        keys: Any of them opens the message.
        context: Bound to the message; public.
        suite: ``AES_256_GCM`` or ``SM4_GCM``.
        progress: Told of bytes done.
    """
    chosen = suite_named(suite)
    checked = EncryptionContext.of(context)
    require_binary(reader, "readinto", "input")
    require_binary(writer, "write", "output")
    sealing = Sealing(writer, keys, checked, chosen)
    while count := sealing.read_from(reader):
        if progress is not None:
            progress(count)
    sealing.finish()


def decrypt_stream(
    reader: Reader,
    writer: Writer,
    *openers: Opener,
    context: ContextLike = None,
    cache: Source | None = None,
    progress: Progress | None = None,
) -> None:
    """Decrypt all of an open file into another.

    Authenticated frames are written as they come. That the message was whole is known only when
    this returns: after an error, what was written is a true beginning of the plaintext and no more.
    What is held in memory is at most two frames, or some MiB where frames are small.

    Args:
        reader: Where the message comes from.
        writer: Where the plaintext goes; neither is closed.
        openers: Keys, or providers with all their keys.
        context: The context of the encryption.
        cache: A `DataKeyCache`.
        progress: Told of bytes of the message.

    Raises:
        IntegrityError: The message was altered, cut or extended.
        CiphertextInvalid: It has another context, or these keys do not open it.
        KeyNotFound: None of its recipients is at hand.
    """
    require_binary(reader, "readinto", "input")
    require_binary(writer, "write", "output")
    opening = Opening(reader, progress)
    opening.read_header()
    opening.run(writer, openers, EncryptionContext.of(context), cache)


def rewrap_stream(
    reader: Reader,
    writer: Writer,
    openers: Sequence[Opener],
    keys: Sequence[Key],
    *,
    context: ContextLike = None,
    cache: Source | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a message anew for other recipients: see `kmscore.envelope.rewrap`.

    Args:
        reader: Where the old message comes from.
        writer: Where the new message goes; after an error it is not whole.
        openers: What opens the old message.
        keys: Who opens the new one.
        context: The context of both.
        cache: A `DataKeyCache` that opens old messages; the data key of each new one is fresh.
        progress: Told of bytes of the old message.
    """
    checked = EncryptionContext.of(context)
    old, new = listed(openers, "openers"), listed(keys, "keys")
    require_binary(reader, "readinto", "input")
    require_binary(writer, "write", "output")
    opening = Opening(reader, progress)
    suite = opening.read_header().suite.written
    sealing = _Later(lambda: Sealing(writer, new, checked, suite))
    opening.run(sealing, old, checked, cache)
    sealing.get().finish()


class Sealing:
    """Seals what is written to it, a frame at a time."""

    def __init__(
        self, writer: Writer, keys: Sequence[Key], context: EncryptionContext, suite: Suite
    ) -> None:
        header, self._body = begin(keys, context, suite, None, None)
        self._writer = writer
        # A byte more than a frame: a frame is the final one unless something follows.
        self._plain = memoryview(bytearray(self._body.frame_bytes + 1))
        self._sealed = memoryview(bytearray(self._body.sealed_bytes))
        self._filled = 0
        self._next = 1
        write_all(writer, memoryview(header))

    def read_from(self, reader: Reader) -> int:
        """Take what a file has next; 0 at its end."""
        count = read_some(reader, self._plain[self._filled :])
        self._taken(count)
        return count

    def write(self, data: memoryview) -> int:
        """Take all of the data."""
        done = 0
        while done < len(data):
            piece = data[done : done + len(self._plain) - self._filled]
            self._plain[self._filled : self._filled + len(piece)] = piece
            self._taken(len(piece))
            done += len(piece)
        return done

    def finish(self) -> None:
        """Seal and write what is left, and the end."""
        final = self._body.seal_final(self._next, self._plain[: self._filled])
        write_all(self._writer, memoryview(final))

    def _taken(self, count: int) -> None:
        """Seal and write the frame if something follows it by now."""
        self._filled += count
        if self._filled < len(self._plain):
            return
        step = self._body.frame_bytes
        self._body.seal(self._next, self._plain[:step], self._sealed)
        write_all(self._writer, self._sealed)
        self._next += 1
        self._plain[0] = self._plain[step]
        self._filled = 1


class _Later:
    """Makes what seals when the first plaintext comes: by then the old header is authentic."""

    def __init__(self, make: Callable[[], Sealing]) -> None:
        self._make = make
        self._made: Sealing | None = None

    def get(self) -> Sealing:
        """What seals, made now if it was not."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def write(self, data: memoryview) -> int:
        """Hand it on."""
        return self.get().write(data)


class Opening:
    """Opens a message that is read from a file, a unit at a time."""

    def __init__(self, reader: Reader, progress: Progress | None = None) -> None:
        self._reader = reader
        self._progress = progress
        self._head = b""
        self._header: Header | None = None

    def read_header(self) -> Header:
        """Read the header; nothing of it is authenticated.

        Raises:
            IntegrityError: It is no message, or cut off.
        """
        size = 1
        while True:
            self._head += self._more(size - len(self._head))
            try:
                self._header = read_header(self._head)
            except Incomplete as missing:
                size = missing.needed
            else:
                return self._header

    def run(
        self,
        writer: Writer,
        openers: Sequence[Opener],
        expected: EncryptionContext,
        cache: Source | None,
    ) -> None:
        """Write the plaintext of the frames as they are authenticated."""
        header = self._header or self.read_header()
        if header.suite.signed or not header.frame_bytes:
            self._in_pieces(writer, openers, expected, cache)
            return
        body = open_header(header, openers, expected, cache)
        self._in_units(writer, body)

    def _more(self, size: int) -> bytes:
        buffer = bytearray(size)
        with memoryview(buffer) as view:
            if self._fill(view, 0, size) < size:
                raise cut_off()
        return bytes(buffer)

    def _fill(self, view: memoryview, filled: int, wanted: int) -> int:
        """Read until that many bytes are there, or the end comes; returns how many there are."""
        while filled < wanted:
            count = read_some(self._reader, view[filled:])
            if count == 0:
                break
            filled += count
            if self._progress is not None:
                self._progress(count)
        return filled

    def _in_units(self, writer: Writer, body: Body) -> None:
        frames = max(1, UNIT_BYTES // body.frame_bytes)
        # Room for a final frame in place of a regular one, and for a byte too many.
        sealed = untouched(frames * body.sealed_bytes + FINAL_OVERHEAD - FRAME_OVERHEAD + 1)
        number, filled = self._regular(writer, body, frames, sealed)
        filled = self._fill(sealed, filled, len(sealed))
        self._final(writer, body, number, sealed[:filled])

    def _regular(
        self, writer: Writer, body: Body, frames: int, sealed: memoryview
    ) -> tuple[int, int]:
        """Open all regular frames, so many at a time.

        Returns:
            The number of the frame that follows, and how many bytes of it are there already.
        """
        width = body.sealed_bytes
        number = 1
        filled = self._fill(sealed, 0, frames * width)
        count = min(frames, body.regular_frames(sealed[:filled]))
        plain = untouched(count * body.frame_bytes)
        while count:
            done = body.open(number, sealed[: count * width], plain)
            write_all(writer, plain[:done])
            number += count
            left = filled - count * width
            sealed[:left] = sealed[count * width : filled]
            filled = self._fill(sealed, left, frames * width)
            count = min(frames, body.regular_frames(sealed[:filled]))
        return number, filled

    def _final(self, writer: Writer, body: Body, number: int, rest: memoryview) -> None:
        if bytes(rest[:4]) != END or len(rest) < FINAL_PREFIX_BYTES:
            raise cut_off()
        end = FINAL_OVERHEAD + final_size(rest[:FINAL_PREFIX_BYTES], number, body.frame_bytes)
        if len(rest) < end:
            raise cut_off()
        if len(rest) > end:
            raise IntegrityError("the message goes on after its final frame")
        write_all(writer, memoryview(body.open_final(number, rest)))

    def _in_pieces(
        self,
        writer: Writer,
        openers: Sequence[Opener],
        expected: EncryptionContext,
        cache: Source | None,
    ) -> None:
        """For messages that are checked as a whole, or whose frames are hashed in order."""
        decryptor = EnvelopeDecryptor(*openers, context=expected, cache=cache)
        write_all(writer, memoryview(decryptor.update(self._head)))
        with memoryview(bytearray(UNIT_BYTES)) as view:
            while count := self._fill(view, 0, 1):
                write_all(writer, memoryview(decryptor.update(view[:count])))
        decryptor.finalize()


def untouched(size: int) -> memoryview:
    """Room for that many bytes; the system gives the memory only where something is written."""
    return BytesIO(bytes(size)).getbuffer()


def read_some(reader: Reader, into: memoryview) -> int:
    """Read what there is, at least one byte; 0 at the end."""
    count = reader.readinto(into)
    if count is None:
        raise InvalidRequest("the input does not wait for data", hint="Give a file that blocks")
    return count


def write_all(writer: Writer, data: memoryview) -> None:
    """Write all of the data, to a file that may take it in parts."""
    done = 0
    while done < len(data):
        count = writer.write(data[done:] if done else data)
        if count is None:
            raise InvalidRequest("the output does not wait", hint="Give a file that blocks")
        done += count
