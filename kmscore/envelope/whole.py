"""Messages that are in memory as a whole: encrypt, decrypt, rewrap, inspect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kmscore.checks import require_bytes
from kmscore.context import EncryptionContext
from kmscore.envelope.frames import FINAL_OVERHEAD, FRAME_BYTES
from kmscore.envelope.header import Header, read_header
from kmscore.envelope.message import EnvelopeDecryptor, begin
from kmscore.envelope.recipients import Opener, Source, source_of
from kmscore.envelope.suites import AES_256_GCM, SM4_GCM, Suite, suite_named
from kmscore.errors import IntegrityError

if TYPE_CHECKING:
    from kmscore.context import ContextLike
    from kmscore.key import Key


def encrypt(
    plaintext: bytes,
    *keys: Key,
    context: ContextLike = None,
    suite: str | Suite = AES_256_GCM,
    cache: Source | None = None,
) -> bytes:
    """Encrypt data of any size for one or several keys; any of them opens it.

    Args:
        plaintext: The data; may be empty.
        keys: Symmetric keys, of one or of several providers.
        context: Bound to the message and to its data keys; public, and needed again to decrypt.
        suite: ``AES_256_GCM`` or ``SM4_GCM``.
        cache: A `DataKeyCache`, to spare calls to the provider.

    Returns:
        A message in the AWS Encryption SDK's format, version 2.
    """
    chosen = suite_named(suite)
    checked = EncryptionContext.of(context)
    size = len(plaintext)
    materials = source_of(cache).make(keys, checked, chosen, size)
    header, body = begin(materials, checked, chosen, FRAME_BYTES)
    regular = max(0, size - 1) // FRAME_BYTES
    place = len(header)
    out = bytearray(
        place + regular * body.sealed_bytes + FINAL_OVERHEAD + size - regular * FRAME_BYTES
    )
    out[:place] = header
    with memoryview(plaintext) as data, memoryview(out) as view:
        place += body.seal(1, data[: regular * FRAME_BYTES], view[place:])
        body.seal_final(regular + 1, data[regular * FRAME_BYTES :], view[place:])
    return bytes(out)


def decrypt(
    message: bytes,
    *openers: Opener,
    context: ContextLike = None,
    cache: Source | None = None,
) -> bytes:
    """Decrypt a message.

    Args:
        message: What `encrypt` or another Encryption SDK wrote.
        openers: Keys, or providers with all their keys.
        context: The context of the encryption.
        cache: A `DataKeyCache`.

    Raises:
        IntegrityError: The message was altered, cut or extended.
        CiphertextInvalid: It has another context, or these keys do not open it.
        KeyNotFound: None of its recipients is at hand.
    """
    decryptor = EnvelopeDecryptor(*openers, context=context, source=cache)
    plaintext = decryptor.update(require_bytes(message, "message"))
    decryptor.finalize()
    return plaintext


def rewrap(
    message: bytes,
    openers: Sequence[Opener],
    keys: Sequence[Key],
    *,
    context: ContextLike = None,
) -> bytes:
    """Write a message anew for other recipients, under a fresh data key and message id.

    The old message key is never used again: a second header under it would give its
    authentication key away, and a dropped recipient would keep access.
    """
    suite = read_message_header(message).suite
    plaintext = decrypt(message, *openers, context=context)
    written = SM4_GCM if suite is SM4_GCM else AES_256_GCM
    return encrypt(plaintext, *keys, context=context, suite=written)


def read_message_header(message: bytes) -> Header:
    """The header of a message; nothing of it is authenticated.

    Raises:
        IntegrityError: It is no message, or cut off.
    """
    place = 0

    def take(size: int) -> bytes:
        nonlocal place
        piece = message[place : place + size]
        if len(piece) < size:
            raise IntegrityError("the message is cut off")
        place += size
        return piece

    return read_header(take)[0]


def inspect(message: bytes) -> dict[str, Any]:
    """All that is public in a message, without any key. Nothing of it is authenticated."""
    return describe(read_message_header(message))


def describe(header: Header) -> dict[str, Any]:
    """A header in plain values, for JSON."""
    return {
        "suite": f"{header.suite.number:#06x}",
        "suite_name": header.suite.name,
        "message_id": header.message_id.hex(),
        "context": dict(header.context.items),
        "frame_bytes": header.frame_bytes,
        "recipients": [
            {
                "provider": each.provider_id,
                "key": each.provider_info.decode("utf-8", "backslashreplace"),
                "bytes": len(each.ciphertext),
            }
            for each in header.recipients
        ],
    }
