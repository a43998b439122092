"""Decryption and signatures by key pairs whose private half is in the token."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kmscore.algorithms import TRAITS, EncryptionAlgorithm, SigningAlgorithm
from kmscore.errors import CiphertextInvalid, KmsError
from kmscore.registry import Purpose
from kmscore.spi import Asymmetric, Signer
from kmscore_pkcs11 import _asymmetric, _signing
from kmscore_pkcs11._failures import Doubtful
from kmscore_pkcs11._ground import OnToken

if TYPE_CHECKING:
    from kmscore.registry.model import KeyRecord
    from kmscore.signing import Signable
    from kmscore_pkcs11._sessions import Place


class PairsOnToken(OnToken, Asymmetric, Signer):
    """What key pairs do."""

    def public_key(self, key_id: str) -> bytes:
        """SubjectPublicKeyInfo in DER, from the registry."""
        record = self.registry.usable(key_id, Purpose.PUBLIC_KEY)
        return self.registry.version(key_id, record.version).public_key

    def asymmetric_decrypt(
        self, key_id: str, algorithm: EncryptionAlgorithm, ciphertext: bytes
    ) -> bytes:
        """RSA decryption, in the token; padding is taken off here only if that was allowed."""
        record = self.registry.usable(key_id, Purpose.ASYMMETRIC_DECRYPT)
        if TRAITS[record.spec].family == "RSA":
            public_key = self.registry.version(key_id, record.version).public_key
            if len(ciphertext) != TRAITS[record.spec].bits // 8 or not _asymmetric.is_in_range(
                public_key, ciphertext
            ):
                raise CiphertextInvalid
        place = self._version(record, record.version).place
        try:
            return self._decrypted(place, algorithm, ciphertext)
        except Doubtful as error:
            works = self._decrypts(record, place, algorithm)
            raise error.judged(token_works=works, fault=CiphertextInvalid()) from error

    def sign(self, key_id: str, algorithm: SigningAlgorithm, data: Signable) -> bytes:
        """RSA, ECDSA and Ed25519 signatures; messages are hashed here."""
        record = self.registry.usable(key_id, Purpose.SIGN)
        place = self._version(record, record.version).place
        is_sm2 = algorithm is SigningAlgorithm.SM2DSA
        public = self._public(record).der if is_sm2 else b""
        value = _signing.to_be_signed(algorithm, data, public)
        scheme = self._schemes.signing[algorithm]
        return self._token.use(place, "C_Sign", _signing.sign, scheme, value)

    def verify(
        self, key_id: str, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Check on this machine, with the public half of the key."""
        record = self.registry.usable(key_id, Purpose.VERIFY)
        return self._public(record).verify(data, signature, algorithm)

    # --- Inside ------------------------------------------------------------------------------

    def _decrypted(self, place: Place, algorithm: EncryptionAlgorithm, ciphertext: bytes) -> bytes:
        sm2 = self._schemes.sm2
        if algorithm is EncryptionAlgorithm.SM2 and sm2 is not None:
            return self._token.use(place, "C_Decrypt", _asymmetric.decrypt_sm2, sm2, ciphertext)
        if self._abilities.can(algorithm):
            return self._token.use(place, "C_Decrypt", _asymmetric.decrypt, algorithm, ciphertext)
        # The table offers this for OAEP with SHA-256 alone, and only where it was allowed.
        encoded = self._token.use(place, "C_Decrypt", _asymmetric.raw, ciphertext)
        return _asymmetric.unpad_oaep_sha256(encoded)

    def _decrypts(self, record: KeyRecord, place: Place, algorithm: EncryptionAlgorithm) -> bool:
        """Whether the key opens what is encrypted for it now, so that a ciphertext is to blame."""
        data = os.urandom(32)
        fresh = self._public(record).encrypt(data, algorithm)
        try:
            return self._decrypted(place, algorithm, fresh) == data
        except KmsError:
            return False
