"""Messages that are in memory as a whole: encrypt, decrypt, rewrap, inspect."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kmscore.context import EncryptionContext
from kmscore.envelope.frames import FINAL_OVERHEAD, FRAME_BYTES, FRAME_OVERHEAD, Body
from kmscore.envelope.header import Header, Incomplete, cut_off, read_header, read_header_of
from kmscore.envelope.message import EnvelopeDecryptor, begin, no_buffer, open_header
from kmscore.envelope.recipients import Opener, Source, listed
from kmscore.envelope.suites import AES_256_GCM, Suite, suite_named
from kmscore.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from kmscore.context import ContextLike
    from kmscore.key import Key


def encrypt(
    plaintext: bytes | bytearray | memoryview,
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
    chosen, checked = suite_named(suite), EncryptionContext.of(context)
    if isinstance(plaintext, bytes) and len(plaintext) <= FRAME_BYTES:
        header, body = begin(keys, checked, chosen, len(plaintext), cache)
        return header + body.seal_only(plaintext)
    with _view(plaintext, "plaintext") as data:
        header, body = begin(keys, checked, chosen, len(data), cache)
        if len(data) <= FRAME_BYTES:
            return header + body.seal_only(data)
        return _filled(_sealed_size(header, len(data)), lambda out: _seal(header, body, data, out))


def encrypt_into(
    plaintext: Buffer,
    out: Buffer,
    *keys: Key,
    context: ContextLike = None,
    suite: str | Suite = AES_256_GCM,
    cache: Source | None = None,
) -> int:
    """Encrypt into a buffer of the caller; as fast as the cipher itself when it is used again.

    Args:
        plaintext: The data; may be empty.
        out: Where the message goes. It is longer than the data by 32 bytes for each 128 KiB and by
            its header, which has some hundred bytes for each recipient, and the context. It shares
            no memory with the plaintext.
        keys: As in `encrypt`, as are the others.
        context: Bound to the message.
        suite: ``AES_256_GCM`` or ``SM4_GCM``.
        cache: A `DataKeyCache`.

    Returns:
        How many bytes of ``out`` the message has.

    Raises:
        InvalidRequest: The buffer is too small, and the hint says how large it must be; or it
            overlaps with the plaintext.
    """
    chosen, checked = suite_named(suite), EncryptionContext.of(context)
    with _view(plaintext, "plaintext") as data, _view(out, "out") as room:
        _refuse_overlap(data, room)
        header, body = begin(keys, checked, chosen, len(data), cache)
        size = _sealed_size(header, len(data))
        _require_room(room, size)
        _seal(header, body, data, room)
        return size


def decrypt(
    message: bytes | bytearray | memoryview,
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
    if isinstance(message, bytes) and len(message) <= FRAME_BYTES:
        header = read_header_of(message)
        if len(message) <= header.frame_bytes and not header.suite.signed:
            body = open_header(header, openers, EncryptionContext.of(context), cache)
            return body.open_only(message, header.size)
    with _view(message, "message") as data:
        header = message_header(data)
        if header.suite.signed or not header.frame_bytes:
            decryptor = EnvelopeDecryptor(*openers, context=context, cache=cache)
            plaintext = decryptor.update(data)
            decryptor.finalize()
            return plaintext
        body = open_header(header, openers, EncryptionContext.of(context), cache)
        sealed = data[header.size :]
        if len(sealed) <= FINAL_OVERHEAD + body.frame_bytes:
            return body.open_only(data, header.size)
        frames, final = body.layout(sealed)
        size = frames * body.frame_bytes + final
        return _filled(size, lambda out: _open(body, frames, sealed, out))


def decrypt_into(
    message: Buffer,
    out: Buffer,
    *openers: Opener,
    context: ContextLike = None,
    cache: Source | None = None,
) -> int:
    """Decrypt into a buffer of the caller.

    Args:
        message: What `encrypt` or another Encryption SDK wrote.
        out: Where the plaintext goes; as long as the message is always long enough. It shares no
            memory with the message.
        openers: As in `decrypt`, as are the others.
        context: The context of the encryption.
        cache: A `DataKeyCache`.

    Returns:
        How many bytes of ``out`` are plaintext. After an error ``out`` holds none.

    Raises:
        InvalidRequest: The buffer is too small, or overlaps with the message.
    """
    with _view(message, "message") as data, _view(out, "out") as room:
        _refuse_overlap(data, room)
        header = message_header(data)
        if header.suite.signed or not header.frame_bytes:
            plaintext = decrypt(data, *openers, context=context, cache=cache)
            _require_room(room, len(plaintext))
            room[: len(plaintext)] = plaintext
            return len(plaintext)
        body = open_header(header, openers, EncryptionContext.of(context), cache)
        sealed = data[header.size :]
        frames, final = body.layout(sealed)
        size = frames * body.frame_bytes + final
        _require_room(room, size)
        try:
            _open(body, frames, sealed, room[:size])
        except BaseException:
            room[:size] = bytes(size)
            raise
        return size


def rewrap(
    message: bytes | bytearray | memoryview,
    openers: Sequence[Opener],
    keys: Sequence[Key],
    *,
    context: ContextLike = None,
    cache: Source | None = None,
) -> bytes:
    """Write a message anew for other recipients, under a fresh data key and message id.

    The old message key is never used again: a second header under it would give its
    authentication key away, and a dropped recipient would keep access.

    Args:
        message: The old message.
        openers: What opens it.
        keys: Who opens the new one.
        context: The context of both.
        cache: A `DataKeyCache` that opens old messages; the data key of each new one is fresh.
    """
    old, new = listed(openers, "openers"), listed(keys, "keys")
    with _view(message, "message") as data:
        suite = message_header(data).suite
        plaintext = decrypt(data, *old, context=context, cache=cache)
    return encrypt(plaintext, *new, context=context, suite=suite.written)


def message_header(message: bytes | bytearray | memoryview) -> Header:
    """The header of a message; nothing of it is authenticated.

    Raises:
        IntegrityError: It is no message, or cut off.
    """
    size = 1024
    while True:
        try:
            return read_header(bytes(message[:size]))
        except Incomplete as missing:
            if missing.needed > len(message):
                raise cut_off() from None
            size = max(2 * size, missing.needed)


def inspect(message: bytes | bytearray | memoryview) -> dict[str, Any]:
    """All that is public in a message, without any key. Nothing of it is authenticated."""
    with _view(message, "message") as data:
        return describe(message_header(data))


def describe(header: Header) -> dict[str, Any]:
    """A header in plain values, for JSON."""
    return {
        "suite": f"{header.suite.number:#06x}",
        "suite_name": header.suite.name,
        "message_id": header.message_id.hex(),
        "commitment": header.commitment.hex(),
        "header_bytes": header.size,
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


def _sealed_size(header: bytes, size: int) -> int:
    regular = max(0, size - 1) // FRAME_BYTES
    return len(header) + size + regular * FRAME_OVERHEAD + FINAL_OVERHEAD


def _seal(header: bytes, body: Body, data: memoryview, out: memoryview) -> None:
    place = len(header)
    out[:place] = header
    regular = max(0, len(data) - 1) // FRAME_BYTES
    end = regular * FRAME_BYTES
    if regular:
        place += body.seal(1, data[:end], out[place:])
        data = data[end:]
    final = body.seal_final(regular + 1, data)
    out[place : place + len(final)] = final


def _open(body: Body, frames: int, sealed: memoryview, out: memoryview) -> None:
    if frames:
        end = frames * body.sealed_bytes
        done = body.open(1, sealed[:end], out)
        sealed, out = sealed[end:], out[done:]
    final = body.open_final(frames + 1, sealed)
    out[: len(final)] = final


def _filled(size: int, fill: Callable[[memoryview], object]) -> bytes:
    """Bytes that were filled in place: to copy a large result costs more than to encrypt it."""
    file = io.BytesIO(bytes(size))
    with file.getbuffer() as out:
        fill(out)
    return file.getvalue()


def _view(data: Buffer, what: str) -> memoryview:
    try:
        return memoryview(data) if isinstance(data, bytes) else memoryview(data).cast("B")
    except TypeError as error:
        raise no_buffer(data, what) from error


def _require_room(out: memoryview, size: int) -> None:
    if out.readonly:
        raise InvalidRequest("the buffer for the result cannot be written to")
    if len(out) < size:
        raise InvalidRequest(
            f"the buffer for the result has {len(out)} bytes", hint=f"It takes {size}"
        )


def _refuse_overlap(data: memoryview, out: memoryview) -> None:
    """Refuse to write over what is still to be read: the message would be of something else."""
    if out.readonly or not data or not out:
        return
    if data.readonly:
        overlap = data.obj is out.obj
    else:
        from ctypes import addressof, c_char

        begin, place = addressof(c_char.from_buffer(data)), addressof(c_char.from_buffer(out))
        overlap = begin < place + len(out) and place < begin + len(data)
    if overlap:
        raise InvalidRequest(
            "input and output share memory", hint="Give two buffers, or parts of one that are apart"
        )
