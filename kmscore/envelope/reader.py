"""Reading any part of a large encrypted file, frame by frame."""

from __future__ import annotations

import io
import os
from operator import index
from typing import TYPE_CHECKING, BinaryIO

from kmscore.checks import require_binary
from kmscore.context import EncryptionContext
from kmscore.envelope.frames import FINAL_OVERHEAD, FINAL_PREFIX_BYTES
from kmscore.envelope.header import Header, Incomplete, cut_off, read_header
from kmscore.envelope.message import open_header
from kmscore.envelope.recipients import Opener, Source
from kmscore.envelope.units import check_end, layout
from kmscore.errors import Unsupported

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from kmscore.context import ContextLike


HEAD_BYTES = 4096
"""What is read of a message at first; most headers fit."""


class EnvelopeReader(io.RawIOBase):
    """The plaintext of a message as a file that can be read and sought, but not written.

    Every frame is authenticated before a byte of it is given out. That the message is whole is
    checked when it is opened: its final frame must be there.

    Args:
        file: The message: a binary file that can be sought; it stays open afterwards.
        openers: Keys, or providers with all their keys.
        context: The context of the encryption.
        cache: A `DataKeyCache`.

    Raises:
        IntegrityError: The message was altered or cut off.
        Unsupported: It is signed or has no frames: such a message is read as a whole.
    """

    def __init__(
        self,
        file: BinaryIO,
        *openers: Opener,
        context: ContextLike = None,
        cache: Source | None = None,
    ) -> None:
        super().__init__()
        require_binary(file, "seek", "message")
        self._file = file
        header = self._read_header()
        if header.suite.signed or not header.frame_bytes:
            raise Unsupported(
                "the message cannot be read in parts",
                hint="Read it as a whole, with kmscore.envelope.decrypt",
            )
        expected = EncryptionContext.of(context)
        self._body = open_header(header, openers, expected, cache)
        self._start = header.size
        self._regular, self._final = layout(file.seek(0, os.SEEK_END) - self._start, self._body)
        self._size = self._regular * self._body.frame_bytes + self._final
        self._place = 0
        self._frame = -1
        self._plain = memoryview(b"")
        self._load(self._regular)

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place in the plaintext."""
        self._check_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}.get(whence)
        if base is None:
            raise ValueError(f"invalid whence: {whence}")
        place = base + index(offset)
        if place < 0:
            raise ValueError("negative seek position")
        self._place = place
        return place

    def tell(self) -> int:
        """The place in the plaintext."""
        self._check_open()
        return self._place

    def readinto(self, buffer: Buffer, /) -> int:
        """Read up to the end of the frame; 0 at the end of the plaintext."""
        self._check_open()
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
        self._frame, self._plain = -1, memoryview(b"")
        width = self._body.sealed_bytes
        self._file.seek(self._start + number * width)
        if number < self._regular:
            sealed, out = self._take(width), memoryview(bytearray(self._body.frame_bytes))
            self._body.open(number + 1, memoryview(sealed), out)
        else:
            sealed = self._take(FINAL_OVERHEAD + self._final)
            check_end(sealed[:FINAL_PREFIX_BYTES], number, self._final, self._body)
            out = memoryview(self._body.open_final(number + 1, sealed))
        self._plain = out
        self._frame = number

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the reader is closed")

    def _take(self, size: int) -> bytes:
        """Exactly that much."""
        piece = self._up_to(size)
        if len(piece) < size:
            raise cut_off()
        return piece

    def _up_to(self, size: int) -> bytes:
        """That much, or what there is before the end, from a file that may give it in parts."""
        piece = self._file.read(size)
        while len(piece) < size and (more := self._file.read(size - len(piece))):
            piece += more
        return piece

    def _read_header(self) -> Header:
        size = HEAD_BYTES
        while True:
            self._file.seek(0)
            head = self._up_to(size)
            try:
                return read_header(head)
            except Incomplete as missing:
                if len(head) < size:
                    raise cut_off() from None
                size = max(2 * size, missing.needed)
