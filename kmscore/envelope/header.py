"""The header of an envelope message: AWS Encryption SDK message format version 2, byte by byte.

Source: AWS Encryption SDK specification, "data-format/message-header". Integers are big-endian.
Every length is checked against a bound before anything of that length is read or allocated.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from kmscore.context import EMPTY, EncryptionContext
from kmscore.envelope.suites import (
    COMMITMENT_BYTES,
    IV_BYTES,
    MESSAGE_ID_BYTES,
    TAG_BYTES,
    FrameCipher,
    Suite,
    suite_of,
)
from kmscore.errors import IntegrityError, InvalidRequest, LimitExceeded, Unsupported
from kmscore.hashing import compare_digest

VERSION: Final = 2
FRAMED: Final = 2
NON_FRAMED: Final = 1
MAX_RECIPIENTS: Final = 64
MAX_HEADER_BYTES: Final = 1 << 20
"""Longest header that is read: 1 MiB. Ours have a few hundred bytes."""

MAX_FRAME_BYTES: Final = 1 << 26
"""Largest frame that is read: 64 MiB. A frame is held in memory until its tag is checked."""

RESERVED_PREFIX: Final = "aws-crypto-"
"""Context keys that the specification keeps for itself."""

PUBLIC_KEY: Final = "aws-crypto-public-key"
"""The one that holds the signer's compressed point, in base64, where there is a signature."""

_VERSION: Final = VERSION.to_bytes(1)
_FRAMED: Final = FRAMED.to_bytes(1)
_ZERO_IV: Final = bytes(IV_BYTES)
_ID: Final = 3
_SHARED: Final = _ID + MESSAGE_ID_BYTES
"""Where the message id begins, behind version and suite, and what many messages share after it."""


class EncryptedDataKey(NamedTuple):
    """The data key, encrypted for one recipient.

    Attributes:
        provider_id: Who can open it; at most 65535 bytes of UTF-8, as the other fields.
        provider_info: Which key of theirs, as they know it.
        ciphertext: The data key under that key.
    """

    provider_id: str
    provider_info: bytes
    ciphertext: bytes


class Header:
    """What stands before the body; all of it is public, and authenticated by the message key.

    Attributes:
        suite: The algorithm suite.
        message_id: 32 random bytes, new for every message.
        context: The encryption context.
        recipients: Who can open the message, at least one.
        frame_bytes: Plaintext bytes of every frame but the last; 0 for a body without frames.
        commitment: What commits the message to its key.
        raw: The header as it stands in the message, without its tag.
        tag: Its tag, which follows it.
    """

    __slots__ = (
        "commitment",
        "context",
        "frame_bytes",
        "message_id",
        "raw",
        "recipients",
        "suite",
        "tag",
    )

    def __init__(
        self,
        suite: Suite,
        message_id: bytes,
        context: EncryptionContext,
        recipients: tuple[EncryptedDataKey, ...],
        frame_bytes: int,
        commitment: bytes,
        raw: bytes,
        tag: bytes,
    ) -> None:
        self.suite = suite
        self.message_id = message_id
        self.context = context
        self.recipients = recipients
        self.frame_bytes = frame_bytes
        self.commitment = commitment
        self.raw = raw
        self.tag = tag

    @property
    def size(self) -> int:
        """Where the body begins, in bytes."""
        return len(self.raw) + TAG_BYTES


def write_header(
    suite: Suite, message_id: bytes, shared: bytes, frame_bytes: int, commitment: bytes
) -> bytes:
    """The header, without its tag; from the fields that it shares with others."""
    start = _VERSION + suite.number.to_bytes(2) + message_id
    return start + shared + _FRAMED + frame_bytes.to_bytes(4) + commitment


def shared_fields(context: EncryptionContext, recipients: Sequence[EncryptedDataKey]) -> bytes:
    """The fields that the headers of all messages under one data key share.

    Raises:
        InvalidRequest: No recipient, or a context key begins with ``aws-crypto-``.
        LimitExceeded: Too many recipients, or a field too long for the format.
    """
    return _context_bytes(context) + _recipients_bytes(recipients)


def _context_bytes(context: EncryptionContext) -> bytes:
    """The context as the header carries it: its length, then the pairs sorted by UTF-8 bytes."""
    if not context:
        return b"\x00\x00"
    pairs = sorted((key.encode(), value.encode()) for key, value in context.items)
    if any(key.startswith(RESERVED_PREFIX.encode()) for key, _ in pairs):
        raise InvalidRequest(
            f"context keys that begin with {RESERVED_PREFIX!r} are reserved",
            hint="Choose another name",
        )
    body = len(pairs).to_bytes(2) + b"".join(_sized(key) + _sized(value) for key, value in pairs)
    return _sized(body)


def _recipients_bytes(recipients: Sequence[EncryptedDataKey]) -> bytes:
    if not recipients:
        raise InvalidRequest("an envelope needs at least one recipient")
    if len(recipients) > MAX_RECIPIENTS:
        raise LimitExceeded(
            f"an envelope for {len(recipients)} recipients", hint=f"At most {MAX_RECIPIENTS}"
        )
    parts = [len(recipients).to_bytes(2)]
    for recipient in recipients:
        parts += [
            _sized(recipient.provider_id.encode()),
            _sized(recipient.provider_info),
            _sized(recipient.ciphertext),
        ]
    return b"".join(parts)


def _sized(data: bytes) -> bytes:
    if len(data) > 0xFFFF:
        raise LimitExceeded(f"a field of {len(data)} bytes", hint="At most 65535 bytes")
    return len(data).to_bytes(2) + data


def header_tag(cipher: FrameCipher, raw: bytes) -> bytes:
    """The tag of a header: GCM over nothing, with a zero IV and the header as associated data.

    One message key tags one header in its life: a second tag under the same IV would reveal the
    authentication key. Other recipients therefore mean a new message id, and a new message key.
    """
    return cipher.seal(_ZERO_IV, b"", raw)


def authenticate(header: Header, key: bytes, commitment: bytes) -> FrameCipher:
    """The cipher of a message, after its commitment and its header's tag are checked.

    Args:
        header: The header.
        key: The message key that its data key gives.
        commitment: The commitment to that key.

    Raises:
        IntegrityError: The data key is not the one of this message, or the header was altered.
    """
    if not compare_digest(commitment, header.commitment):
        raise IntegrityError("the message was altered, or belongs to another data key")
    cipher = header.suite.cipher(key)
    try:
        cipher.open(_ZERO_IV, header.tag, header.raw)
    except IntegrityError as error:
        raise IntegrityError("the header of the message was altered") from error
    return cipher


class Incomplete(Exception):
    """The header goes on after the bytes that are there.

    Attributes:
        needed: How many bytes, from the start of the message, it takes to read on.
    """

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


def cut_off() -> IntegrityError:
    """The error for a message that ends too early."""
    return IntegrityError("the message is cut off")


class _Fields:
    """Takes one field after the other from the start of a message."""

    __slots__ = ("_data", "_size", "place")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._size = len(data)
        self.place = 0

    def take(self, size: int) -> bytes:
        end = self.place + size
        if end > self._size:
            if end > MAX_HEADER_BYTES:
                raise IntegrityError("the header of the message is too long")
            raise Incomplete(end)
        piece = self._data[self.place : end]
        self.place = end
        return piece

    def taken(self) -> bytes:
        """What was taken until now."""
        return self._data[: self.place]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def sized(self) -> bytes:
        """A field behind its length; most headers are such fields."""
        place = self.place + 2
        end = place + int.from_bytes(self._data[place - 2 : place])
        if place > self._size or end > self._size:
            return self.take(int.from_bytes(self.take(2)))
        self.place = end
        return self._data[place:end]


def read_header(message: bytes) -> Header:
    """Read the header at the start of a message; nothing of it is authenticated.

    Args:
        message: The message, or as much of its beginning as there is.

    Raises:
        Incomplete: More bytes are needed.
        IntegrityError: It is no envelope, or its fields contradict each other.
        Unsupported: It is an envelope of a version or suite that is not read.
        LimitExceeded: Its frames or its context are larger than what is read.
    """
    known = _last.known
    if known is not None and message.startswith(known.start):
        end = _SHARED + len(known.shared)
        size = end + COMMITMENT_BYTES
        if message.startswith(known.shared, _SHARED) and len(message) >= size + TAG_BYTES:
            alike = known.header
            return Header(
                alike.suite,
                message[_ID:_SHARED],
                alike.context,
                alike.recipients,
                alike.frame_bytes,
                message[end:size],
                message[:size],
                message[size : size + TAG_BYTES],
            )
    header = _read_header(_Fields(message))
    raw = header.raw
    _last.known = _Known(raw[:_ID], raw[_SHARED:-COMMITMENT_BYTES], header)
    return header


def read_header_of(message: bytes) -> Header:
    """The header at the start of a message, of which there is no more than that.

    Raises:
        IntegrityError: It is no message, or cut off.
    """
    try:
        return read_header(message)
    except Incomplete:
        raise cut_off() from None


def _read_header(fields: _Fields) -> Header:
    version = fields.number(1)
    if version == 1 and fields.number(1) == 0x80:
        raise Unsupported(
            "the message has format version 1, which does not commit to its key",
            hint="Encrypt it again with a suite that does: 0x0478 or 0x0578",
        )
    if version != VERSION:
        raise IntegrityError("this is no envelope message")
    suite = suite_of(fields.number(2))
    message_id = fields.take(MESSAGE_ID_BYTES)
    context = _read_context(fields.sized())
    count = fields.number(2)
    if not 0 < count <= MAX_RECIPIENTS:
        raise IntegrityError(f"the message names {count} recipients")
    recipients = tuple(
        [
            EncryptedDataKey(_text(fields.sized()), fields.sized(), fields.sized())
            for _ in range(count)
        ]
    )
    content_type = fields.number(1)
    frame_bytes = fields.number(4)
    if content_type not in (FRAMED, NON_FRAMED) or (content_type == FRAMED) != bool(frame_bytes):
        raise IntegrityError("the header contradicts itself about frames")
    if frame_bytes > MAX_FRAME_BYTES:
        raise LimitExceeded(
            f"the message has frames of {frame_bytes} bytes", hint=f"At most {MAX_FRAME_BYTES}"
        )
    commitment = fields.take(COMMITMENT_BYTES)
    raw = fields.taken()
    tag = fields.take(TAG_BYTES)
    return Header(suite, message_id, context, recipients, frame_bytes, commitment, raw, tag)


class _Known(NamedTuple):
    """A header, with what all messages under its data key share.

    That is what stands before the message id, and between it and the commitment: it says itself
    where it ends, and is read once.
    """

    start: bytes
    shared: bytes
    header: Header


class _Last:
    """The header that was read last."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: _Known | None = None


_last: Final = _Last()


@lru_cache(maxsize=64)  # many messages have the same; one is at most 64 KiB, and public
def _read_context(data: bytes) -> EncryptionContext:
    if not data:
        return EMPTY
    fields = _Fields(data)
    pairs: list[tuple[bytes, bytes]] = []
    try:
        for _ in range(fields.number(2)):
            key = fields.sized()
            pairs.append((key, fields.sized()))
    except Incomplete:
        raise IntegrityError("the message's context is cut off") from None
    keys = [key for key, _ in pairs]
    if not pairs or fields.place != len(data) or keys != sorted(set(keys)):
        raise IntegrityError("the message's context is malformed")
    try:
        return EncryptionContext((_text(key), _text(value)) for key, value in pairs)
    except InvalidRequest as error:
        raise IntegrityError("the message's context is malformed") from error


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise IntegrityError("a name in the message's header is not UTF-8") from error
