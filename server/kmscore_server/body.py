"""Bodies as they arrive: of a known length, or in chunks (RFC 9112, section 7.1)."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from kmscore_server.message import BadMessage

_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[\t\x20-\x7e]*)?")
_LONGEST_LINE: Final = 256
_MOST_TRAILERS: Final = 32
_MOST_CHUNKS: Final = 16_384
"""Of 640 bytes on average in the longest body: smaller ones are not worth their lines."""


class TooLarge(Exception):
    """The body is longer than anybody may send."""


class _Part(Enum):
    SIZE = auto()
    DATA = auto()
    END_OF_DATA = auto()
    TRAILER = auto()
    DONE = auto()


class ChunkedBody:
    """Puts the chunks of a body together.

    Args:
        limit: Bytes of the body at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._body = bytearray()
        self._part = _Part.SIZE
        self._missing = 0
        self._chunks = 0
        self._trailers = 0

    @property
    def body(self) -> bytes:
        """What has arrived."""
        return bytes(self._body)

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Take what has arrived.

        Returns:
            What is left of it, and whether the body is whole. Without that, what is left is the
            beginning of something, to be given again when there is more.

        Raises:
            BadMessage: These are no chunks.
            TooLarge: The body would exceed the limit.
        """
        position = 0
        while self._part is not _Part.DONE:
            if self._part is _Part.DATA:
                piece = data[position : position + self._missing]
                self._body += piece
                position += len(piece)
                self._missing -= len(piece)
                if self._missing:
                    return b"", False
                self._part = _Part.END_OF_DATA
            end = data.find(b"\r\n", position, position + _LONGEST_LINE)
            if end < 0:
                if len(data) - position >= _LONGEST_LINE:
                    raise BadMessage(400, "a line of the chunked body is too long")
                return data[position:], False
            self._line(data[position:end])
            position = end + 2
        return data[position:], True

    def _line(self, line: bytes) -> None:
        if self._part is _Part.SIZE:
            match = _CHUNK.fullmatch(line)
            if match is None:
                raise BadMessage(400, "a chunk of the body has no length")
            self._chunks += 1
            if self._chunks > _MOST_CHUNKS:
                raise BadMessage(400, "the body has too many chunks")
            self._missing = int(match[1], 16)
            if len(self._body) + self._missing > self._limit:
                raise TooLarge
            self._part = _Part.DATA if self._missing else _Part.TRAILER
        elif self._part is _Part.END_OF_DATA:
            if line:
                raise BadMessage(400, "a chunk of the body is longer than it says")
            self._part = _Part.SIZE
        else:
            self._trailers += 1
            if self._trailers > _MOST_TRAILERS:
                raise BadMessage(400, "the body has too many trailers")
            if not line:
                self._part = _Part.DONE
