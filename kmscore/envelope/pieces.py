"""Pieces from an async iterator: for programs that wait for many things at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from typing import TYPE_CHECKING

from kmscore.envelope.message import EnvelopeDecryptor, EnvelopeEncryptor
from kmscore.envelope.suites import AES_256_GCM

if TYPE_CHECKING:
    from kmscore.context import ContextLike
    from kmscore.envelope.recipients import Opener, Source
    from kmscore.envelope.suites import Suite
    from kmscore.key import Key


async def encrypt_async(
    pieces: AsyncIterable[bytes],
    *keys: Key,
    context: ContextLike = None,
    suite: str | Suite = AES_256_GCM,
    size: int | None = None,
    cache: Source | None = None,
) -> AsyncGenerator[bytes]:
    """Encrypt pieces of any size as they come; the provider is asked in another thread.

    Args:
        pieces: The plaintext.
        keys: Any of them opens the message.
        context: Bound to the message; public.
        suite: ``AES_256_GCM`` or ``SM4_GCM``.
        size: Bytes of plaintext, if that is known; a cache of data keys is used only then.
        cache: A `DataKeyCache`.

    Yields:
        Pieces of the message. It is whole when the iterator ends.
    """
    import asyncio  # slow to load, and only used by programs that have it already

    encryptor = await asyncio.to_thread(
        EnvelopeEncryptor, *keys, context=context, suite=suite, size=size, cache=cache
    )
    async for piece in pieces:
        if ready := encryptor.update(piece):
            yield ready
    yield encryptor.finalize()


async def decrypt_async(
    pieces: AsyncIterable[bytes],
    *openers: Opener,
    context: ContextLike = None,
    cache: Source | None = None,
) -> AsyncGenerator[bytes]:
    """Decrypt pieces of any size as they come; the provider is asked in another thread.

    Args:
        pieces: The message.
        openers: Keys, or providers with all their keys.
        context: The context of the encryption.
        cache: A `DataKeyCache`.

    Yields:
        Authenticated plaintext. It is whole only when the iterator ends without an error.

    Raises:
        IntegrityError: The message was altered, cut or extended.
        CiphertextInvalid: It has another context, or these keys do not open it.
        KeyNotFound: None of its recipients is at hand.
    """
    import asyncio

    decryptor = EnvelopeDecryptor(*openers, context=context, cache=cache)
    async for piece in pieces:
        if decryptor.header is None:
            ready = await asyncio.to_thread(decryptor.update, piece)
        else:
            ready = decryptor.update(piece)
        if ready:
            yield ready
    decryptor.finalize()
