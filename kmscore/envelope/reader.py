"""Reading any part of a large encrypted file, frame by frame."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO

from kmscore.context import EncryptionContext
from kmscore.envelope.frames import FINAL_OVERHEAD
from kmscore.envelope.header import read_header
from kmscore.envelope.message import MAX_HEADER_BYTES, open_header
from kmscore.envelope.recipients import Opener, Source, source_of
from kmscore.errors import IntegrityError, Unsupported

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from kmscore.context import ContextLike


class EnvelopeReader(io.RawIOBase):
    """The plaintext of a message as a file that can be read and sought, but not written.

    Every frame is authenticated before a byte of it is given out. That the message is whole is
    checked when it is opened: its final frame must be there.

    Args:
        file: The message: a binary file that can be sought; it stays open afterwards.
        openers: Keys, or providers with all their keys.
        context: The context of the encryption.
        source: Where data keys come from, such as a `DataKeyCache`.

    Raises:
        IntegrityError: The message was altered or cut off.
        Unsupported: It is signed or has no frames: such a message is read as a whole.
    """

    def __init__(
        self,
        file: BinaryIO,
        *openers: Opener,
        context: ContextLike = None,
        source: Source | None = None,
    ) -> None:
        super().__init__()
        self._file = file
        file.seek(0)
        header, tag = read_header(self._take)
        if header.suite.signed or not header.frame_bytes:
            raise Unsupported(
                "the message cannot be read in parts",
                hint="Read it as a whole, with kmscore.envelope.decrypt",
            )
        expected = EncryptionContext.of(context)
        self._body = open_header(header, tag, source_of(source), openers, expected)
        self._start = file.tell()
        rest = file.seek(0, os.SEEK_END) - self._start - FINAL_OVERHEAD
        self._regular, self._final = divmod(max(rest, 0), self._body.sealed_bytes)
        if rest < 0 or self._final > self._body.frame_bytes:
            raise IntegrityError("the message is cut off")
        self._size = self._regular * self._body.frame_bytes + self._final
        self._place = 0
        self._frame = -1
        self._plain = b""
        self._load(self._regular)

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place in the plaintext."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        """The place in the plaintext."""
        return self._place

    def readinto(self, buffer: Buffer, /) -> int:
        """Read up to the end of the frame; 0 at the end of the plaintext."""
        with memoryview(buffer).cast("B") as view:
            if self._place >= self._size or not len(view):
                return 0
            number, inside = divmod(self._place, self._body.frame_bytes)
            self._load(number)
            piece = self._plain[inside : inside + len(view)]
            view[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)

    def _load(self, number: int) -> None:
        if number == self._frame:
            return
        self._frame = -1
        width = self._body.sealed_bytes
        self._file.seek(self._start + number * width)
        if number < self._regular:
            sealed, out = self._take(width), bytearray(self._body.frame_bytes)
            with memoryview(sealed) as view, memoryview(out) as into:
                self._body.open(number + 1, view, into)
        else:
            sealed, out = self._take(FINAL_OVERHEAD + self._final), bytearray(self._final)
            self._body.open_final(number + 1, sealed, memoryview(out))
        self._plain = bytes(out)
        self._frame = number

    def _take(self, size: int) -> bytes:
        if self._frame_is_header() and self._file.tell() + size > MAX_HEADER_BYTES:
            raise IntegrityError("the header of the message is too long")
        piece = self._file.read(size)
        if len(piece) < size:
            raise IntegrityError("the message is cut off")
        return piece

    def _frame_is_header(self) -> bool:
        return not hasattr(self, "_body")
