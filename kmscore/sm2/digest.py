"""SM3, and the digest e = SM3(Z ‖ M) that SM2 signs."""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SM3, Hash

from kmscore.encodings.curves import SM2, SM2_GENERATOR
from kmscore.encodings.spki import sm2_point
from kmscore.errors import InvalidRequest, Unsupported
from kmscore.signing import MAX_SM2_USER_ID


def sm3(*parts: bytes) -> bytes:
    """The SM3 digest of the concatenation (GM/T 0004-2012), 32 bytes.

    Raises:
        Unsupported: This machine has no SM3.
    """
    try:
        digest = Hash(SM3())
    except UnsupportedAlgorithm as error:
        raise Unsupported(
            "the `cryptography` of this machine has no SM3",
            hint="It may run in FIPS mode; install it with pip, whose build has it",
        ) from error
    for part in parts:
        digest.update(part)
    return digest.finalize()


def message_digest(data: bytes, user_id: bytes, public_key: bytes) -> bytes:
    """The digest e = SM3(Z ‖ M) that SM2 signs (GM/T 0003.2-2012, 6.1).

    Args:
        data: The message M; may be empty.
        user_id: The signer's id, at most 8190 bytes: what was agreed, or ``1234567812345678``.
        public_key: The signer's SubjectPublicKeyInfo in DER.

    Returns:
        32 bytes.

    Raises:
        InvalidRequest: The user id is too long, the public key is not SM2, or an argument is no
            bytes object.
    """
    # Callers without a type checker pass anything at all.
    for value in (data, user_id, public_key):
        if not isinstance(value, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidRequest(f"cannot digest a {type(value).__name__}", hint="Give bytes")
    if len(user_id) > MAX_SM2_USER_ID:
        raise InvalidRequest(
            f"the SM2 user id has {len(user_id)} bytes",
            hint=f"At most {MAX_SM2_USER_ID} are allowed",
        )
    return sm3(_identity(user_id, public_key), data)


@lru_cache(maxsize=1024)
def _identity(user_id: bytes, public_key: bytes) -> bytes:
    # Z = SM3(length of the id in bits ‖ id ‖ a ‖ b ‖ G ‖ public point), GM/T 0003.2-2012, 5.5.
    length = (8 * len(user_id)).to_bytes(2, "big")
    a, b = (SM2.p - 3).to_bytes(32, "big"), SM2.b.to_bytes(32, "big")
    return sm3(length, user_id, a, b, SM2_GENERATOR, sm2_point(public_key))
