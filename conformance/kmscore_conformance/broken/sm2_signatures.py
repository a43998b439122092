"""Animals whose SM2 signatures are wrong."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from kmscore.algorithms import SigningAlgorithm
from kmscore.encodings.signature import signature_to_raw
from kmscore.signing import Digest, Message, hash_message
from kmscore_conformance.broken.animal import animal
from kmscore_conformance.broken.materials import SM2_SIGNING
from kmscore_conformance.broken.sound import Sound

if TYPE_CHECKING:
    from kmscore.signing import Signable
    from kmscore.sm2 import SM2PrivateKey

P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def _sm3(data: bytes) -> bytes:
    return hashlib.new("sm3", data).digest()


@animal(
    "sm2-without-z",
    "SM2 signs SM3(M), without Z.",
    "The quarrels of GmSSL's, gmsm's and sm-crypto's users.",
    caught_by="sig.sm2.z",
    also="sig.* pair.verified fault.signature thread.* contract.reopen contract.verify-answer",
)
class Sm2WithoutZ(Sound):
    """As with any other curve."""

    kinds = SM2_SIGNING

    def sign_sm2(self, key: SM2PrivateKey, data: Signable) -> bytes:
        """E = SM3(M)."""
        return key.sign(data.value if isinstance(data, Digest) else _sm3(data.data))


@animal(
    "sm2-empty-user-id",
    "SM2 signs with an empty user id.",
    "OpenSSL, unless it is told the id.",
    caught_by="sig.sm2.user-id",
    also="sig.* pair.verified fault.signature thread.* contract.reopen contract.verify-answer",
)
class Sm2EmptyUserId(Sound):
    """Z of nobody."""

    kinds = SM2_SIGNING

    def sign_sm2(self, key: SM2PrivateKey, data: Signable) -> bytes:
        """With ENTL = 0."""
        if isinstance(data, Message):
            spki = key.public_key
            from kmscore.encodings.curves import SM2, SM2_GENERATOR

            a = (SM2.p - 3).to_bytes(32)
            z = _sm3(b"\0\0" + a + SM2.b.to_bytes(32) + SM2_GENERATOR + spki[-64:])
            return key.sign(_sm3(z + data.data))
        return super().sign_sm2(key, data)


@animal(
    "sm2-other-user-id",
    "SM2 signs with the key's alias as user id.",
    "Certificates that put the subject there.",
    caught_by="sig.sm2.user-id",
    also="sig.* pair.verified fault.signature thread.* contract.reopen contract.verify-answer",
)
class Sm2OtherUserId(Sound):
    """Z of somebody else."""

    kinds = SM2_SIGNING

    def sign_sm2(self, key: SM2PrivateKey, data: Signable) -> bytes:
        """With an id of its own."""
        if isinstance(data, Message):
            named = Message(data.data, sm2_user_id=b"signer@example")
            data = hash_message(named, SigningAlgorithm.SM2DSA, key.public_key)
        return super().sign_sm2(key, data)


@animal(
    "sm2-raw-signature",
    "SM2 signatures are r ‖ s.",
    "The package gmssl, and most smart cards.",
    caught_by="sig.der",
    also="sig.* pair.verified fault.signature thread.* contract.reopen contract.verify-answer",
)
class Sm2RawSignature(Sound):
    """64 bytes."""

    kinds = SM2_SIGNING

    def sign_sm2(self, key: SM2PrivateKey, data: Signable) -> bytes:
        """Not DER."""
        return signature_to_raw(super().sign_sm2(key, data), 32)
