"""What is signed and verified, as the service takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from kmscore.algorithms import SigningAlgorithm
from kmscore.encodings import signature_to_raw
from kmscore.errors import InvalidRequest
from kmscore.signing import Digest, hash_message
from kmscore_tencent._answers import text_from

if TYPE_CHECKING:
    from kmscore.signing import Signable

_RSA_BYTES: Final = (256, 384)


def message_fields(
    data: Signable, algorithm: SigningAlgorithm, public_key: Callable[[], bytes]
) -> dict[str, str]:
    """The fields ``Message`` and ``MessageType``.

    To the service an empty message is a missing one: its digest is signed instead.

    Args:
        data: A message of up to 4096 bytes, or a digest.
        algorithm: The signature scheme.
        public_key: Fetches the signer's SubjectPublicKeyInfo, where SM2 needs it for a digest.
    """
    if not isinstance(data, Digest):
        if data.data:
            return {"Message": text_from(data.data), "MessageType": "RAW"}
        needed = public_key() if algorithm is SigningAlgorithm.SM2DSA else b""
        data = hash_message(data, algorithm, needed)
    return {"Message": text_from(data.value), "MessageType": "DIGEST"}


def is_well_formed(signature: bytes, algorithm: SigningAlgorithm) -> bool:
    """Whether this can be a signature at all; whether it is right, the service knows."""
    if algorithm in (SigningAlgorithm.SM2DSA, SigningAlgorithm.ECDSA_SHA_256):
        try:
            signature_to_raw(signature, 32)
        except InvalidRequest:
            return False
        return True
    return len(signature) in _RSA_BYTES
