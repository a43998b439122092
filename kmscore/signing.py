"""What is signed: a message or its digest, as types, so that nobody signs the one for the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from kmscore.algorithms import DigestAlgorithm, SigningAlgorithm, parse
from kmscore.errors import InvalidRequest

DEFAULT_SM2_USER_ID: Final = b"1234567812345678"
"""The user id that SM2 signatures have unless agreed otherwise (GM/T 0009-2012, clause 10)."""

MAX_SM2_USER_ID: Final = 8190
"""Longest SM2 user id in bytes: GM/T 0003.2 counts its bits in two bytes (OpenSSL's bound)."""


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message to sign or verify.

    Attributes:
        data: The message.
        sm2_user_id: The signer's id, at most 8190 bytes; it matters for SM2 alone.
    """

    data: bytes = field(repr=False)
    sm2_user_id: bytes = DEFAULT_SM2_USER_ID

    def __post_init__(self) -> None:
        _require_bytes(self.data, "message")
        _require_bytes(self.sm2_user_id, "SM2 user id")
        if len(self.sm2_user_id) > MAX_SM2_USER_ID:
            raise InvalidRequest(
                f"the SM2 user id has {len(self.sm2_user_id)} bytes",
                hint=f"At most {MAX_SM2_USER_ID} are allowed",
            )


@dataclass(frozen=True, slots=True, init=False)
class Digest:
    """A digest that the caller computed.

    For SM2 it is e = SM3(Z ‖ M), 32 bytes, and not SM3(M) (GM/T 0003.2-2012, 6.1).

    Args:
        value: The digest.
        algorithm: The hash that made it; its size is checked.

    Attributes:
        value: The digest.
        algorithm: The hash that made it.
    """

    value: bytes = field(repr=False)
    algorithm: DigestAlgorithm

    def __init__(
        self, value: bytes, algorithm: DigestAlgorithm | str = DigestAlgorithm.SHA_256
    ) -> None:
        _require_bytes(value, "digest")
        made_by = parse(DigestAlgorithm, algorithm, "hash")
        if len(value) != made_by.size:
            raise InvalidRequest(
                f"the digest has {len(value)} bytes", hint=f"{made_by} gives {made_by.size}"
            )
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "algorithm", made_by)


Signable = Message | Digest


def hash_message(message: Message, algorithm: SigningAlgorithm, public_key: bytes) -> Digest:
    """The digest that the scheme signs for a message.

    Args:
        message: The message.
        algorithm: The signature scheme.
        public_key: The signer's SubjectPublicKeyInfo in DER; only SM2 needs it, for Z.

    Raises:
        InvalidRequest: The scheme signs whole messages only (Ed25519, RFC 8032).
    """
    digest = algorithm.digest
    if digest is None:
        raise InvalidRequest(f"{algorithm} signs whole messages, not digests")
    if digest is DigestAlgorithm.SM3:
        from kmscore.sm2 import message_digest

        return Digest(message_digest(message.data, message.sm2_user_id, public_key), digest)
    import hashlib

    name = "sha384" if digest is DigestAlgorithm.SHA_384 else "sha256"
    return Digest(hashlib.new(name, message.data).digest(), digest)


def require_digest(data: Signable, algorithm: SigningAlgorithm) -> None:
    """Check that a digest, where one is given, was made by the scheme's own hash.

    Raises:
        InvalidRequest: It was not, or the scheme takes no digest.
    """
    if isinstance(data, Message):
        return
    # Callers without a type checker pass plain bytes.
    if not isinstance(data, Digest):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequest(
            f"cannot sign or verify a {type(data).__name__}",
            hint="Say what it is: Message(data) or Digest(value, algorithm)",
        )
    if algorithm.digest is None:
        raise InvalidRequest(f"{algorithm} signs whole messages, not digests")
    if data.algorithm is not algorithm.digest:
        raise InvalidRequest(
            f"a {data.algorithm} digest cannot be signed with {algorithm}",
            hint=f"The scheme needs {algorithm.digest}",
        )


def _require_bytes(value: object, what: str) -> None:
    if not isinstance(value, bytes):
        raise InvalidRequest(f"the {what} is a {type(value).__name__}", hint="Give bytes")
