"""Writing and reading one message, piece by piece, as it comes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from kmscore.context import EncryptionContext
from kmscore.envelope.frames import (
    END,
    FINAL_OVERHEAD,
    FINAL_PREFIX_BYTES,
    FRAME_BYTES,
    SINGLE_OVERHEAD,
    SINGLE_PREFIX_BYTES,
    Body,
    final_size,
)
from kmscore.envelope.header import (
    MAX_FRAME_BYTES,
    MAX_HEADER_BYTES,
    PUBLIC_KEY,
    RESERVED_PREFIX,
    Header,
    Incomplete,
    authenticate,
    cut_off,
    header_tag,
    read_header,
    write_header,
)
from kmscore.envelope.recipients import Opener, Source, blame, source_of
from kmscore.envelope.suites import AES_256_GCM, IV_BYTES, MESSAGE_ID_BYTES, Suite, suite_named
from kmscore.errors import CiphertextInvalid, IntegrityError, InvalidRequest, LimitExceeded
from kmscore.key import Key

if TYPE_CHECKING:
    from kmscore.context import ContextLike
    from kmscore.envelope.trailer import Trailer


def no_buffer(data: object, what: str) -> InvalidRequest:
    """The error for what should be bytes and is not."""
    return InvalidRequest(
        f"the {what} is a {type(data).__name__}", hint="Give bytes or another buffer"
    )


def begin(
    keys: Sequence[Key],
    context: EncryptionContext,
    suite: Suite,
    size: int | None,
    cache: Source | None,
) -> tuple[bytes, Body]:
    """Begin a message under a fresh message id.

    Args:
        keys: Who can open it.
        context: The encryption context.
        suite: How the body is encrypted.
        size: Bytes of plaintext, or None when that is unknown.
        cache: Where the data key comes from.

    Returns:
        The header with its tag, and what seals the frames.
    """
    message_id = os.urandom(MESSAGE_ID_BYTES)
    source = source_of(cache)
    try:
        (key, commitment), shared = source.begin(keys, context, suite, size, message_id)
    except (AttributeError, TypeError) as error:
        blame(error, keys, Key, source)
        raise
    cipher = suite.cipher(key)
    raw = write_header(suite, message_id, shared, FRAME_BYTES, commitment)
    return raw + header_tag(cipher, raw), Body(cipher, message_id, FRAME_BYTES)


def open_header(
    header: Header,
    openers: Sequence[Opener],
    expected: EncryptionContext,
    cache: Source | None,
) -> Body:
    """Authenticate a header, and get what opens the frames.

    Args:
        header: The header.
        openers: Keys, or providers with all their keys.
        expected: The context that the message must have, reserved keys aside.
        cache: Where the data key comes from.

    Raises:
        CiphertextInvalid: The context is another one.
        KeyNotFound: None of the recipients is at hand.
        IntegrityError: The header was altered.
    """
    found = header.context.items
    if found != expected.items:
        plain = tuple(pair for pair in found if not pair[0].startswith(RESERVED_PREFIX))
        if plain != expected.items:
            raise CiphertextInvalid
        if not header.suite.signed and PUBLIC_KEY in dict(found):
            raise IntegrityError("the message names a signer, and its suite has no signature")
    source = source_of(cache)
    try:
        key, commitment = source.resume(header, openers)
    except (AttributeError, TypeError) as error:
        blame(error, openers, Opener, source)
        raise
    cipher = authenticate(header, key, commitment)
    return Body(cipher, header.message_id, header.frame_bytes)


class EnvelopeEncryptor:
    """Encrypts one message from pieces of any size.

    ::

        encryptor = EnvelopeEncryptor(key, context={"file": "a"})
        out.write(encryptor.update(piece))      # as often as there are pieces
        out.write(encryptor.finalize())

    Args:
        keys: Symmetric keys, of one or of several providers; any of them opens the message.
        context: Bound to the message; public.
        suite: ``AES_256_GCM`` or ``SM4_GCM``.
        size: Bytes of plaintext, if that is known; a cache of data keys is used only then.
        cache: A `DataKeyCache`.
    """

    def __init__(
        self,
        *keys: Key,
        context: ContextLike = None,
        suite: str | Suite = AES_256_GCM,
        size: int | None = None,
        cache: Source | None = None,
    ) -> None:
        checked = EncryptionContext.of(context)
        # Callers without a type checker pass anything at all.
        if size is not None and (not isinstance(size, int) or size < 0):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidRequest(f"a message of {size!r} bytes")
        self._header, self._body = begin(keys, checked, suite_named(suite), size, cache)
        self._held = bytearray()
        self._next = 1
        self._left = size
        self._ended = False

    def update(self, data: bytes | bytearray | memoryview) -> bytes:
        """Add a piece; returns what is ready of the message.

        Raises:
            InvalidRequest: The message is finished, or longer than was said.
        """
        if self._ended:
            raise InvalidRequest("the message is finished")
        before = len(self._held)
        try:
            self._held += data
        except TypeError as error:
            raise no_buffer(data, "plaintext") from error
        if self._left is not None:
            self._left -= len(self._held) - before  # bytes, whatever the items of the data are
            if self._left < 0:
                self._ended = True
                self._held.clear()
                raise InvalidRequest("there is more plaintext than was said")
        # The last piece is kept: it may turn out to be the final frame.
        ready = max(0, len(self._held) - 1) // self._body.frame_bytes
        if not ready and not self._header:
            return b""
        size = ready * self._body.frame_bytes
        out = bytearray(len(self._header) + ready * self._body.sealed_bytes)
        out[: len(self._header)] = self._header
        place = len(self._header)
        self._header = b""
        with memoryview(self._held) as held, memoryview(out) as view:
            self._body.seal(self._next, held[:size], view[place:])
        del self._held[:size]
        self._next += ready
        return bytes(out)

    def finalize(self) -> bytes:
        """The rest of the message; nothing can be added any more.

        Raises:
            InvalidRequest: The message is finished, or shorter than was said.
        """
        rest = self.update(b"")
        if self._left:
            self._ended = True
            raise InvalidRequest("there is less plaintext than was said")
        self._ended = True
        final = self._body.seal_final(self._next, bytes(self._held))
        self._held.clear()
        return rest + final


class EnvelopeDecryptor:
    """Decrypts one message from pieces of any size.

    Gives out authenticated frames only. After an error it is of no use any more: every further
    call fails with the same error. Only `finalize` knows that the message was whole.

    Args:
        openers: Keys, or providers with all their keys.
        context: The context that the message must have.
        cache: A `DataKeyCache`.
    """

    def __init__(
        self,
        *openers: Opener,
        context: ContextLike = None,
        cache: Source | None = None,
    ) -> None:
        self._openers = openers
        self._expected = EncryptionContext.of(context)
        self._cache = cache
        self._held = bytearray()
        self._wanted = 1
        self._next = 1
        self._body: Body | None = None
        self._trailer: Trailer | None = None
        self._ended = False
        self._failure: Exception | None = None
        self.header: Header | None = None

    def update(self, data: bytes | bytearray | memoryview) -> bytes:
        """Add a piece; returns the plaintext of the frames that are complete and authentic.

        Raises:
            IntegrityError: The message was altered, cut or extended.
            CiphertextInvalid: It has another context, or cannot be decrypted with these keys.
            KeyNotFound: None of its recipients is at hand.
        """
        return self._guarded(self._update, data)

    def finalize(self) -> bytes:
        """Check that the message was whole.

        Raises:
            IntegrityError: It was cut off.
        """
        return self._guarded(self._finalize)

    def _guarded(self, call: Callable[..., bytes], *arguments: object) -> bytes:
        if self._failure is not None:
            raise self._failure
        try:
            return call(*arguments)
        except Exception as error:
            self._failure = error
            self._held = bytearray()
            raise

    def _update(self, data: bytes | bytearray | memoryview) -> bytes:
        if self._ended:
            if self._trailer is not None:
                self._trailer.update(data)
            elif len(data):
                raise IntegrityError("the message goes on after its final frame")
            return b""
        try:
            self._held += data
        except TypeError as error:
            raise no_buffer(data, "message") from error
        if len(self._held) < self._wanted:
            return b""
        if self._body is None and not self._open():
            return b""
        body = cast("Body", self._body)
        return self._frames(body) if body.is_framed else self._single(body)

    def _finalize(self) -> bytes:
        if not self._ended:
            raise cut_off()
        if self._trailer is not None:
            self._trailer.verify()
        return b""

    def _open(self) -> bool:
        """Read the header when it is there as a whole."""
        try:
            header = read_header(bytes(self._held[:MAX_HEADER_BYTES]))
        except Incomplete as missing:
            self._wanted = missing.needed
            return False
        self.header = header
        self._body = open_header(header, self._openers, self._expected, self._cache)
        if header.suite.signed:
            from kmscore.envelope.trailer import Trailer

            self._trailer = Trailer(header)
            self._trailer.sign_over(header.raw + header.tag)
        del self._held[: header.size]
        return True

    def _single(self, body: Body) -> bytes:
        held = self._held
        if len(held) < SINGLE_PREFIX_BYTES:
            self._wanted = SINGLE_PREFIX_BYTES
            return b""
        size = int.from_bytes(held[IV_BYTES:SINGLE_PREFIX_BYTES])
        if size > MAX_FRAME_BYTES:
            raise LimitExceeded(
                f"the message has a body of {size} bytes without frames",
                hint=f"At most {MAX_FRAME_BYTES}, since it is held in memory",
            )
        end = SINGLE_OVERHEAD + size
        if len(held) < end:
            self._wanted = end
            return b""
        with memoryview(held)[:end] as sealed:
            plaintext = body.open_single(sealed)
        return self._end(end, plaintext)

    def _frames(self, body: Body) -> bytes:
        width = body.sealed_bytes
        with memoryview(self._held) as held:
            count = body.regular_frames(held)
            out = bytearray(count * body.frame_bytes)
            body.open(self._next, held[: count * width], memoryview(out))
            if self._trailer is not None:
                self._trailer.sign_over(held[: count * width])
        del self._held[: count * width]
        self._next += count
        plaintext = bytes(out)
        return plaintext + self._final(body)

    def _final(self, body: Body) -> bytes:
        held = self._held
        if bytes(held[:4]) != END:
            self._wanted = 4 if len(held) < 4 else body.sealed_bytes
            return b""
        if len(held) < FINAL_PREFIX_BYTES:
            self._wanted = FINAL_PREFIX_BYTES
            return b""
        end = FINAL_OVERHEAD + final_size(
            bytes(held[:FINAL_PREFIX_BYTES]), self._next, body.frame_bytes
        )
        if len(held) < end:
            self._wanted = end
            return b""
        with memoryview(held)[:end] as sealed:
            plaintext = body.open_final(self._next, sealed)
        return self._end(end, plaintext)

    def _end(self, end: int, plaintext: bytes) -> bytes:
        """The body ends here; what follows is a signature, or too much."""
        if self._trailer is not None:
            with memoryview(self._held)[:end] as signed:
                self._trailer.sign_over(signed)
        rest = bytes(self._held[end:])
        self._held.clear()
        self._ended = True
        self._update(rest)
        return plaintext
