"""Animals whose ciphertexts are wrong, or that open what they should not."""

from __future__ import annotations

import base64
import os
import random
import struct
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from kmscore.capabilities import Limits
from kmscore.ciphertext import SUITE_OF, Parsed, header
from kmscore.context import EncryptionContext
from kmscore.errors import CiphertextInvalid, LimitExceeded
from kmscore.registry import Purpose
from kmscore.spi import Decrypted
from kmscore_conformance.broken.animal import animal
from kmscore_conformance.broken.sound import Sound

if TYPE_CHECKING:
    from kmscore.registry.model import KeyRecord


@animal(
    "context-ignored",
    "The encryption context is accepted, and bound to nothing.",
    "The Tencent wrapper of go-kms-wrapping drops associated data without a word.",
    caught_by="sym.context",
    also="secrecy.uniform sym.data-key sym.re-encrypt audit.failure",
)
class ContextIgnored(Sound):
    """Authenticates the header alone."""

    def aad(self, head: bytes, context: EncryptionContext) -> bytes:
        """The header."""
        return head


@animal(
    "context-keys-only",
    "Of the context, the keys are bound and the values are not.",
    "Policies that check which keys a context has, and no more.",
    caught_by="sym.context",
    also="secrecy.uniform",
)
class ContextKeysOnly(Sound):
    """Binds names."""

    def aad(self, head: bytes, context: EncryptionContext) -> bytes:
        """Header and keys."""
        return head + "\0".join(key for key, _ in context.items).encode()


@animal(
    "context-run-together",
    "Keys and values of the context are joined without lengths: a=bc is the same as ab=c.",
    "moto's KMS writes them one after the other.",
    caught_by="sym.context",
)
class ContextRunTogether(Sound):
    """Loses the borders."""

    def aad(self, head: bytes, context: EncryptionContext) -> bytes:
        """Header and text."""
        return head + "".join(key + value for key, value in context.items).encode()


@animal(
    "header-unbound",
    "What the ciphertext says of its key is not authenticated.",
    "Tink's KMS envelope wraps its data key with empty associated data.",
    caught_by="sym.tampering",
)
class HeaderUnbound(Sound):
    """Authenticates the context alone, and takes the key that it is given."""

    def aad(self, head: bytes, context: EncryptionContext) -> bytes:
        """The context."""
        return context.aad


@animal(
    "unauthenticated",
    "Counter mode without a tag: every ciphertext opens, to something.",
    "COS client encryption, openssl enc.",
    caught_by="sym.tampering sym.truncation sym.context",
    also="sym.* secrecy.uniform audit.failure life.rotation life.rotation-schedule envelope.*",
)
class Unauthenticated(Sound):
    """AES-CTR."""

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """As many bytes as the plaintext, and 16 of nothing."""
        record = self.usable(key_id, Purpose.ENCRYPT)
        head, nonce = header(SUITE_OF[record.spec], record.key_id, record.version), self.nonce()
        return head + nonce + self._stream(record, record.version, nonce, plaintext) + bytes(16)

    def opened(self, record: KeyRecord, taken: Parsed, context: EncryptionContext) -> bytes:
        """Whatever comes out."""
        if taken.key_version > record.version:
            raise CiphertextInvalid
        return self._stream(record, taken.key_version, taken.nonce, taken.sealed[:-16])

    def _stream(self, record: KeyRecord, number: int, nonce: bytes, data: bytes) -> bytes:
        material = self.registry.version(record.key_id, number).material
        return (
            Cipher(algorithms.AES(material), modes.CTR(nonce + bytes(4))).encryptor().update(data)
        )


@animal(
    "tag-shortened",
    "Tags are accepted down to 32 bits.",
    "SoftHSM 2.6.1 takes a 32-bit tag.",
    caught_by="sym.truncation",
)
class TagShortened(Sound):
    """Tries what is left of the tag."""

    def opened(self, record: KeyRecord, taken: Parsed, context: EncryptionContext) -> bytes:
        """With 16 bytes of tag, and with fewer."""
        for size in range(16, 3, -1):
            try:
                return self._with_tag(record, taken, context, size)
            except InvalidTag:
                continue
        raise CiphertextInvalid

    def _with_tag(
        self, record: KeyRecord, taken: Parsed, context: EncryptionContext, size: int
    ) -> bytes:
        if SUITE_OF[record.spec] is not taken.suite or taken.key_version > record.version:
            raise CiphertextInvalid
        material = self.registry.version(record.key_id, taken.key_version).material
        mode = modes.GCM(taken.nonce, taken.sealed[-size:], min_tag_length=4)
        decryptor = Cipher(algorithms.AES(material), mode).decryptor()
        decryptor.authenticate_additional_data(self.aad(taken.header, context))
        return decryptor.update(taken.sealed[:-size]) + decryptor.finalize()


@animal(
    "trailing-bytes",
    "Bytes after the ciphertext are ignored.",
    "The AWS Encryption SDK reads on in silence when something is appended.",
    caught_by="sym.truncation",
    also="secrecy.uniform",
)
class TrailingBytes(Sound):
    """Cuts until it fits."""

    def decrypt(
        self, key_id: str | None, ciphertext: bytes, context: EncryptionContext
    ) -> Decrypted:
        """Without up to 16 bytes of its end."""
        for cut in range(17):
            try:
                return super().decrypt(key_id, ciphertext[: len(ciphertext) - cut], context)
            except CiphertextInvalid:
                continue
        raise CiphertextInvalid


@animal(
    "nonce-fixed",
    "Every encryption has the same nonce.",
    "Examples with a nonce of zeros that became products.",
    caught_by="sym.nondeterministic",
    also="sym.random-seed",
)
class NonceFixed(Sound):
    """Zeros."""

    def nonce(self) -> bytes:
        """12 zeros."""
        return bytes(12)


@animal(
    "nonce-repeated",
    "Nonces come from four values only.",
    "Counters that start again with every process.",
    caught_by="sym.nondeterministic",
    also="sym.random-seed",
)
class NonceRepeated(Sound):
    """Two bits of it."""

    def nonce(self) -> bytes:
        """12 bytes, of which two bits change."""
        return bytes([os.urandom(1)[0] & 3]) + bytes(11)


@animal(
    "nonce-guessed",
    "Nonces come from Python's random module.",
    "The package gmssl takes its nonces from there.",
    caught_by="sym.random-seed",
)
class NonceGuessed(Sound):
    """Predictable."""

    def nonce(self) -> bytes:
        """From a generator that can be seeded."""
        return random.randbytes(12)  # noqa: S311 - that is what is wrong


@animal(
    "plaintext-shown",
    "Encryption is base64.",
    "The test double of a Tencent wrapper.",
    caught_by="sym.hides sym.nondeterministic sym.context",
    also="sym.* secrecy.uniform audit.failure life.rotation life.rotation-schedule envelope.*",
)
class PlaintextShown(Sound):
    """No cipher at all."""

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """Readable."""
        record = self.usable(key_id, Purpose.ENCRYPT)
        head = header(SUITE_OF[record.spec], record.key_id, record.version)
        return head + bytes(12) + base64.b64encode(plaintext) + bytes(16)

    def opened(self, record: KeyRecord, taken: Parsed, context: EncryptionContext) -> bytes:
        """As it stands there."""
        try:
            return base64.b64decode(taken.sealed[:-16], validate=True)
        except ValueError as error:
            raise CiphertextInvalid from error


@animal(
    "any-key-opens",
    "A ciphertext of another key opens, though a key was named.",
    "Services whose ciphertext decides, whatever the caller asked for.",
    caught_by="sym.other-key",
    also="secrecy.uniform sym.re-encrypt",
)
class AnyKeyOpens(Sound):
    """Believes the ciphertext."""

    def decrypt(
        self, key_id: str | None, ciphertext: bytes, context: EncryptionContext
    ) -> Decrypted:
        """With the key that the ciphertext names."""
        if key_id is not None:
            self.usable(key_id, Purpose.DECRYPT)
        return super().decrypt(None, ciphertext, context)


@animal(
    "key-unnamed",
    "A ciphertext does not open unless its key is named.",
    "Stores whose ciphertexts are bare.",
    caught_by="sym.names-key",
    also="sym.re-encrypt life.disabled-unnamed life.rotation audit.key-of-decryption",
)
class KeyUnnamed(Sound):
    """Wants to be told."""

    def decrypt(
        self, key_id: str | None, ciphertext: bytes, context: EncryptionContext
    ) -> Decrypted:
        """With a key, or not at all."""
        if key_id is None:
            raise CiphertextInvalid
        return super().decrypt(key_id, ciphertext, context)


@animal(
    "zeros-stripped",
    "Zeros at the end of a plaintext are taken for padding.",
    "The zero padding of a cloud's own envelope example.",
    caught_by="sym.roundtrip",
    # A data key is a plaintext too, and may end with such a byte.
    also="contract.data-key-limit sym.* envelope.*",
)
class ZerosStripped(Sound):
    """Zero padding cannot be undone."""

    def opened(self, record: KeyRecord, taken: Parsed, context: EncryptionContext) -> bytes:
        """Without zeros at the end."""
        return super().opened(record, taken, context).rstrip(b"\0")


@animal(
    "text-only",
    "Plaintexts are taken for text, and white space around them is cut.",
    "Command lines that add and remove line breaks.",
    caught_by="sym.roundtrip",
    # A data key is a plaintext too, and may end with such a byte.
    also="contract.data-key-limit sym.* envelope.*",
)
class TextOnly(Sound):
    """Strips."""

    def opened(self, record: KeyRecord, taken: Parsed, context: EncryptionContext) -> bytes:
        """Without white space at the ends."""
        return super().opened(record, taken, context).strip()


@animal(
    "limit-off-by-one",
    "4096 bytes are one too many.",
    "A guide says less than 4 KB in one place, and at most 4 KB in another.",
    caught_by="contract.plaintext-limit",
)
class LimitOffByOne(Sound):
    """Less than, instead of at most."""

    limits = Limits()

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """Up to 4095 bytes."""
        if len(plaintext) >= self.limits.plaintext:
            raise LimitExceeded("too long")
        return super().encrypt(key_id, plaintext, context)


@animal(
    "garbage-crashes",
    "Bytes that are no ciphertext end in an exception of the parser.",
    "A wrapper that cuts the nonce off without looking at the length.",
    caught_by="sym.garbage",
    also="secrecy.uniform sym.truncation",
)
class GarbageCrashes(Sound):
    """Unpacks first, and asks later."""

    def decrypt(
        self, key_id: str | None, ciphertext: bytes, context: EncryptionContext
    ) -> Decrypted:
        """After a look at 60 bytes."""
        struct.unpack(">4s56s", ciphertext[:60])
        return super().decrypt(key_id, ciphertext, context)
