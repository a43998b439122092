"""The header of an envelope message: AWS Encryption SDK message format version 2, byte by byte.

Source: AWS Encryption SDK specification, "data-format/message-header". Integers are big-endian.
Every length is checked against a bound before anything of that length is read or allocated.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from kmscore.context import EncryptionContext
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

VERSION: Final = 2
FRAMED: Final = 2
NON_FRAMED: Final = 1
MAX_RECIPIENTS: Final = 64
MAX_CONTEXT_BYTES: Final = 65535
MAX_FRAME_BYTES: Final = 1 << 26
"""Largest frame that is read: 64 MiB. A frame is held in memory until its tag is checked."""

RESERVED_PREFIX: Final = "aws-crypto-"
"""Context keys that the specification keeps for itself."""

_ZERO_IV: Final = bytes(IV_BYTES)


@dataclass(frozen=True, slots=True)
class EncryptedDataKey:
    """The data key, encrypted for one recipient.

    Attributes:
        provider_id: Who can open it; at most 65535 bytes of UTF-8, as the other fields.
        provider_info: Which key of theirs, as they know it.
        ciphertext: The data key under that key.
    """

    provider_id: str
    provider_info: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
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
    """

    suite: Suite
    message_id: bytes
    context: EncryptionContext
    recipients: tuple[EncryptedDataKey, ...]
    frame_bytes: int
    commitment: bytes
    raw: bytes = field(repr=False)


def write_header(
    suite: Suite,
    message_id: bytes,
    context: EncryptionContext,
    recipients: tuple[EncryptedDataKey, ...],
    frame_bytes: int,
    commitment: bytes,
) -> bytes:
    """The header body.

    Raises:
        InvalidRequest: No recipient, or a context key begins with ``aws-crypto-``.
        LimitExceeded: Too many recipients, or a field too long for the format.
    """
    if not recipients:
        raise InvalidRequest("an envelope needs at least one recipient")
    if len(recipients) > MAX_RECIPIENTS:
        raise LimitExceeded(
            f"an envelope for {len(recipients)} recipients", hint=f"At most {MAX_RECIPIENTS}"
        )
    parts = [bytes([VERSION]), suite.number.to_bytes(2), message_id, context_bytes(context)]
    parts.append(len(recipients).to_bytes(2))
    for recipient in recipients:
        parts += [
            _sized(recipient.provider_id.encode()),
            _sized(recipient.provider_info),
            _sized(recipient.ciphertext),
        ]
    parts += [bytes([FRAMED]), frame_bytes.to_bytes(4), commitment]
    return b"".join(parts)


def context_bytes(context: EncryptionContext) -> bytes:
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


def _sized(data: bytes) -> bytes:
    if len(data) > 0xFFFF:
        raise LimitExceeded(f"a field of {len(data)} bytes", hint="At most 65535 bytes")
    return len(data).to_bytes(2) + data


def header_tag(cipher: FrameCipher, raw: bytes) -> bytes:
    """The tag of a header: GCM over nothing, with a zero IV and the header as associated data.

    One message key tags one header in its life: a second tag under the same IV would reveal the
    authentication key. Other recipients therefore mean a new message id, and a new message key.
    """
    out = bytearray(TAG_BYTES)
    cipher.seal_into(_ZERO_IV, b"", raw, memoryview(out))
    return bytes(out)


def authenticate(header: Header, tag: bytes, data_key: bytes | bytearray) -> FrameCipher:
    """The cipher of a message, after its commitment and its header's tag are checked.

    Raises:
        IntegrityError: The data key is not the one of this message, or the header was altered.
    """
    key, commitment = header.suite.derive(data_key, header.message_id)
    if not hmac.compare_digest(commitment, header.commitment):
        raise IntegrityError("the message was altered, or belongs to another data key")
    cipher = header.suite.cipher(key)
    try:
        cipher.open_into(_ZERO_IV, tag, header.raw, memoryview(bytearray()))
    except IntegrityError as error:
        raise IntegrityError("the header of the message was altered") from error
    return cipher


Read = Callable[[int], bytes]
"""Returns exactly that many bytes, or raises IntegrityError when the message ends before."""


class _Recorder:
    """Reads fields, and keeps what was read."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self.raw = bytearray()

    def take(self, size: int) -> bytes:
        data = self._read(size)
        self.raw += data
        return data

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def sized(self) -> bytes:
        return self.take(self.number(2))


def read_header(read: Read) -> tuple[Header, bytes]:
    """Read a header and its tag.

    Args:
        read: Gives the next bytes of the message.

    Raises:
        IntegrityError: It is no envelope, or its fields contradict each other.
        Unsupported: It is an envelope of a version or suite that is not read.
    """
    fields = _Recorder(read)
    version = fields.number(1)
    if version == 1:
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
    recipients: list[EncryptedDataKey] = []
    for _ in range(count):
        provider_id = _text(fields.sized())
        recipients.append(EncryptedDataKey(provider_id, fields.sized(), fields.sized()))
    content_type = fields.number(1)
    frame_bytes = fields.number(4)
    if content_type not in (FRAMED, NON_FRAMED) or (content_type == FRAMED) != bool(frame_bytes):
        raise IntegrityError("the header contradicts itself about frames")
    if frame_bytes > MAX_FRAME_BYTES:
        raise LimitExceeded(
            f"the message has frames of {frame_bytes} bytes", hint=f"At most {MAX_FRAME_BYTES}"
        )
    commitment = fields.take(COMMITMENT_BYTES)
    header = Header(
        suite,
        message_id,
        context,
        tuple(recipients),
        frame_bytes,
        commitment,
        bytes(fields.raw),
    )
    return header, read(TAG_BYTES)


def _read_context(data: bytes) -> EncryptionContext:
    if not data:
        return EncryptionContext()
    position = 0

    def take(size: int) -> bytes:
        nonlocal position
        piece = data[position : position + size]
        if len(piece) < size:
            raise IntegrityError("the message's context is cut off")
        position += size
        return piece

    def sized() -> bytes:
        return take(int.from_bytes(take(2)))

    pairs: list[tuple[bytes, bytes]] = []
    for _ in range(int.from_bytes(take(2))):
        key = sized()
        pairs.append((key, sized()))
    keys = [key for key, _ in pairs]
    if not pairs or position != len(data) or keys != sorted(set(keys)):
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
