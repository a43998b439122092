"""Encryption and data keys by AES-GCM in the token."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from kmscore.algorithms import KeyState
from kmscore.ciphertext import NONCE_BYTES, SUITE_OF, TAG_BYTES, associated_data, parse
from kmscore.errors import (
    CiphertextInvalid,
    InternalError,
    KeyNotFound,
    KeyStateError,
    KmsError,
)
from kmscore.registry import Purpose
from kmscore.spi import DataKey, Decrypted, RandomSource, Symmetric
from kmscore_pkcs11._failures import Doubtful
from kmscore_pkcs11._keys import try_secret
from kmscore_pkcs11._life import KeysOnToken

if TYPE_CHECKING:
    from kmscore.context import EncryptionContext
    from kmscore.registry.model import KeyRecord
    from kmscore_pkcs11._sessions import Session

# Looked up once: before Python 3.12, each look at a member of an enum is a call.
_ENCRYPT: Final = Purpose.ENCRYPT
_DECRYPT: Final = Purpose.DECRYPT


class SymmetricOnToken(KeysOnToken, RandomSource, Symmetric):
    """What symmetric keys do."""

    def generate_random(self, length: int) -> bytes:
        """From the token's generator."""
        value = self._token.ask("C_GenerateRandom", _random, length)
        if len(value) != length:
            raise InternalError("the token returned fewer random bytes than it was asked for")
        return value

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """Encrypt under the key's current version, in the format of `kmscore.ciphertext`."""
        record = self.registry.usable(key_id, _ENCRYPT)
        if record.next_rotation_at is not None and self.registry.rotation_due(record):
            record = self._rotate_if_due(key_id)
        while True:
            place, head, mechanism = self._version(record, record.version)
            nonce = os.urandom(NONCE_BYTES)
            aad = associated_data(head, context.aad)
            try:
                sealed = self._token.use(
                    place, "C_Encrypt", _seal, mechanism, nonce, plaintext, aad
                )
            except (KeyStateError, KeyNotFound):
                # A rotation since the look at the registry leaves the older version to decryption.
                newer = self.registry.usable(key_id, _ENCRYPT)
                if newer.version == record.version:
                    raise
                record = newer
            else:
                break
        if len(sealed) != len(plaintext) + TAG_BYTES:
            raise InternalError("the token returned a ciphertext of another length")
        return head + nonce + sealed

    def decrypt(
        self, key_id: str | None, ciphertext: bytes, context: EncryptionContext
    ) -> Decrypted:
        """Open a ciphertext of any version of the key."""
        parsed = parse(ciphertext)
        if key_id is None:
            try:
                record = self.registry.usable(parsed.key_id, _DECRYPT)
            except KeyNotFound as error:
                # The id is part of a ciphertext that nobody has authenticated.
                raise CiphertextInvalid from error
        else:
            record = self.registry.usable(key_id, _DECRYPT)
        if SUITE_OF.get(record.spec) is not parsed.suite or parsed.key_version > record.version:
            raise CiphertextInvalid
        place, _, mechanism = self._version(record, parsed.key_version)
        aad = associated_data(parsed.header, context.aad)
        try:
            plaintext = self._token.use(
                place, "C_Decrypt", _open, mechanism, parsed.nonce, parsed.sealed, aad
            )
        except Doubtful as error:
            # SoftHSM answers a wrong tag like any other trouble.
            raise error.judged(
                token_works=self._works(record, mechanism), fault=CiphertextInvalid()
            ) from error
        return Decrypted(record.key_id, plaintext)

    def generate_data_key(self, key_id: str, length: int, context: EncryptionContext) -> DataKey:
        """A data key from the token's generator."""
        plaintext = self.generate_random(length)
        return DataKey(key_id, bytearray(plaintext), self.encrypt(key_id, plaintext, context))

    # --- Inside ------------------------------------------------------------------------------

    def _works(self, record: KeyRecord, mechanism: int) -> bool:
        """Whether the key encrypts and decrypts, so that a ciphertext is to blame.

        The newest version is tried: the token lets nobody encrypt with older ones.
        """
        if record.state is not KeyState.ENABLED:
            return self._token.is_logged_in()
        place = self._version(record, record.version).place
        try:
            self._token.use(place, "C_Decrypt", _try, mechanism)
        except KmsError:
            return False
        return True


def _seal(
    session: Session, handle: int, mechanism: int, nonce: bytes, data: bytes, aad: bytes
) -> bytes:
    return session.gcm.encrypt(handle, mechanism, nonce, data, aad)


def _open(
    session: Session, handle: int, mechanism: int, nonce: bytes, data: bytes, aad: bytes
) -> bytes:
    return session.gcm.decrypt(handle, mechanism, nonce, data, aad)


def _try(session: Session, handle: int, mechanism: int) -> None:
    try_secret(session, mechanism, handle)


def _random(session: Session, length: int) -> bytes:
    value: bytes = session.raw.generate_random(8 * length)
    return value
