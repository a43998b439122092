"""A strict reader and a writer for the little of DER that keys, signatures and ciphertexts need.

X.690 leaves one encoding for each value: definite lengths in as few bytes as possible, integers
without spare leading bytes, nothing left over. The reader refuses all others, and negative integers
besides, so that whatever it accepts is, byte for byte, what the writer would write.
"""

from __future__ import annotations

from typing import Final, NoReturn

from kmscore.errors import InvalidRequest

NULL: Final = b"\x05\x00"

_INTEGER: Final = 0x02
_BIT_STRING: Final = 0x03
_OCTET_STRING: Final = 0x04
_OBJECT_IDENTIFIER: Final = 0x06
_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_CONTEXT: Final = 0xA0


class Reader:
    """Reads DER elements one after the other.

    Every method raises InvalidRequest when the next element is not what it reads, or is not DER.

    Args:
        data: The encoding.
        what: What it should be, for error texts, such as ``signature``.
    """

    __slots__ = ("_data", "_offset", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        # Callers without a type checker pass anything at all.
        if not isinstance(data, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidRequest(f"the {what} is a {type(data).__name__}", hint="Give bytes")
        self._data = data
        self._offset = 0
        self._what = what

    def sequence(self) -> Reader:
        """A SEQUENCE, as a reader of its elements."""
        return Reader(self._content(_SEQUENCE), self._what)

    def integer(self) -> int:
        """A non-negative INTEGER."""
        content = self._content(_INTEGER)
        if not content or content[0] & 0x80:
            self._refuse()
        if len(content) > 1 and content[0] == 0 and not content[1] & 0x80:
            self._refuse()
        return int.from_bytes(content, "big")

    def octet_string(self) -> bytes:
        """An OCTET STRING."""
        return self._content(_OCTET_STRING)

    def bit_string(self) -> bytes:
        """A BIT STRING of whole bytes."""
        content = self._content(_BIT_STRING)
        if not content or content[0] != 0:
            self._refuse()
        return content[1:]

    def element(self) -> bytes:
        """An element of any kind, tag and length included."""
        start = self._offset
        if start >= len(self._data):
            self._refuse()
        self._content(self._data[start])
        return self._data[start : self._offset]

    def at_end(self) -> bool:
        """Whether everything has been read."""
        return self._offset == len(self._data)

    def end(self) -> None:
        """Check that everything has been read."""
        if not self.at_end():
            self._refuse()

    def _content(self, tag: int) -> bytes:
        data, offset = self._data, self._offset
        if len(data) - offset < 2 or data[offset] != tag:
            self._refuse()
        length = data[offset + 1]
        offset += 2
        if length & 0x80:
            width = length & 0x7F
            digits = data[offset : offset + width]
            length = int.from_bytes(digits, "big")
            # Width 0 is the indefinite form; a leading zero or a length below 128 fits in less.
            if not width or len(digits) < width or digits[0] == 0 or length < 0x80:
                self._refuse()
            offset += width
        if length > len(data) - offset:
            self._refuse()
        self._offset = offset + length
        return data[offset : self._offset]

    def _refuse(self) -> NoReturn:
        raise InvalidRequest(f"the {self._what} is not strict DER of the expected structure")


def sequence(*elements: bytes) -> bytes:
    """A SEQUENCE of encoded elements."""
    return _element(_SEQUENCE, b"".join(elements))


def set_of(element: bytes) -> bytes:
    """A SET OF one encoded element."""
    return _element(_SET, element)


def tagged(number: int, content: bytes) -> bytes:
    """Content under the context-specific tag [number], constructed; number is below 31."""
    return _element(_CONTEXT | number, content)


def integer(value: int) -> bytes:
    """A non-negative INTEGER."""
    return _element(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def octet_string(value: bytes) -> bytes:
    """An OCTET STRING."""
    return _element(_OCTET_STRING, value)


def bit_string(value: bytes) -> bytes:
    """A BIT STRING of whole bytes."""
    return _element(_BIT_STRING, b"\x00" + value)


def object_identifier(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER from its dotted form."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    content = bytearray()
    for arc in (40 * first + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(arc & 0x7F | 0x80)
        content += bytes(reversed(septets))
    return _element(_OBJECT_IDENTIFIER, bytes(content))


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(digits))) + digits + content
