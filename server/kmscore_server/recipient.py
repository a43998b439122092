"""``EncryptionPublicKey``: answers that hold a plaintext, encrypted for who asked alone."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from kmscore import PublicKey
from kmscore.algorithms import EncryptionAlgorithm, KeySpec
from kmscore.encodings import SM2CiphertextFormat, sm2_ciphertext_convert
from kmscore.errors import KmsError
from kmscore_server import errors
from kmscore_server.api import ApiError
from kmscore_server.fields import Field, Refused, choice, text
from kmscore_server.vocabulary import RSA_ENCRYPTION

SM2: Final = "SM2"
SM2_DER: Final = "SM2_C1C3C2_ASN1"

_pem: Final = text(high=4096)


def _public_key(value: Any) -> PublicKey | None:
    written: str = _pem(value)
    if not written:
        return None
    try:
        key = PublicKey.from_pem(written)
    except KmsError as error:
        raise Refused(f"cannot be used: {error.message}") from None
    if key.spec not in (KeySpec.RSA_2048, KeySpec.SM2):
        raise Refused("must be RSA of 2048 bits, or SM2")
    return key


RECIPIENT: Final = (
    Field("EncryptionPublicKey", _public_key),
    Field("EncryptionAlgorithm", choice(("", SM2, SM2_DER, *RSA_ENCRYPTION)), default=""),
)
"""The two parameters of it, as several actions have them."""


class Recipient(NamedTuple):
    """Who shall be able to read an answer.

    Attributes:
        key: The public key.
        algorithm: ``SM2`` for C1‖C3‖C2 without 04, ``SM2_C1C3C2_ASN1``, or one of RSA.
    """

    key: PublicKey
    algorithm: str

    def encrypt(self, plaintext: bytes) -> bytes:
        """The plaintext for the recipient alone.

        Raises:
            ApiError: It is too long for the key.
        """
        try:
            if self.algorithm in RSA_ENCRYPTION:
                return self.key.encrypt(plaintext, RSA_ENCRYPTION[self.algorithm])
            sealed = self.key.encrypt(plaintext, EncryptionAlgorithm.SM2)
        except KmsError as error:
            raise ApiError(errors.ENCRYPTION_FAILED, error.message) from error
        if self.algorithm == SM2_DER:
            return sealed
        return sm2_ciphertext_convert(
            sealed, SM2CiphertextFormat.DER, SM2CiphertextFormat.C1C3C2_BARE
        )


def recipient_of(given: dict[str, Any]) -> Recipient | None:
    """Who shall be able to read the answer, or None for all.

    Raises:
        ApiError: Key and algorithm do not belong together.
    """
    key: PublicKey | None = given["EncryptionPublicKey"]
    if key is None:
        return None
    algorithm: str = given["EncryptionAlgorithm"] or SM2
    if (algorithm in RSA_ENCRYPTION) is not (key.spec is KeySpec.RSA_2048):
        raise ApiError(
            errors.ENCRYPTION_FAILED,
            f"EncryptionAlgorithm {algorithm} does not fit an EncryptionPublicKey of {key.spec}",
        )
    return Recipient(key, algorithm)
