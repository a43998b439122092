"""What an SM2 engine is, and the strict shell around it that is the same for every engine.

Engines do arithmetic. Everything that decides whether bytes may reach it stands here, once: ranges
of private keys, strict DER, points on the curve, sizes, and one answer to every bad ciphertext.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from hmac import compare_digest
from typing import Final, NoReturn

from kmscore.checks import require_bytes
from kmscore.encodings.curves import SM2_ORDER
from kmscore.encodings.signature import signature_der, signature_integers
from kmscore.encodings.sm2_ciphertext import (
    MAX_SM2_PLAINTEXT,
    SM2Ciphertext,
    SM2CiphertextFormat,
    decode_ciphertext,
    encode_ciphertext,
)
from kmscore.encodings.spki import sm2_point
from kmscore.errors import CiphertextInvalid, InvalidRequest, LimitExceeded

DIGEST_SIZE: Final = 32
PRIVATE_KEY_SIZE: Final = 32


class SM2PublicKey(ABC):
    """A public key, parsed once; may be used from several threads.

    Attributes:
        der: SubjectPublicKeyInfo in DER.
    """

    def __init__(self, der: bytes) -> None:
        self.der = der

    def verify(self, e: bytes, signature: bytes) -> bool:
        """Whether a signature is right (GM/T 0003.2-2012, clause 7).

        Args:
            e: SM3(Z ‖ M), 32 bytes, from `message_digest`.
            signature: SEQUENCE {r, s}. What is not strict DER, or out of range, is wrong.

        Raises:
            InvalidRequest: e does not have 32 bytes, or an argument is no bytes object.
        """
        _require_digest(e)
        if not isinstance(signature, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidRequest(f"the signature is a {type(signature).__name__}")
        try:
            r, s = signature_integers(signature)
        except InvalidRequest:
            return False
        if not (0 < r < SM2_ORDER and 0 < s < SM2_ORDER) or r + s == SM2_ORDER:
            return False
        return self._verify(e, r, s)

    def encrypt(self, plaintext: bytes) -> bytes:
        """Encrypt (GM/T 0003.4-2012, clause 6).

        Args:
            plaintext: 1 to 4096 bytes.

        Returns:
            SEQUENCE {x, y, C3, C2} in DER.

        Raises:
            InvalidRequest: The plaintext is empty.
            LimitExceeded: It is too large.
        """
        size = len(require_bytes(plaintext, "plaintext"))
        if size > MAX_SM2_PLAINTEXT:
            raise LimitExceeded(
                f"the plaintext has {size} bytes",
                hint=f"At most {MAX_SM2_PLAINTEXT} with SM2; encrypt a data key for more",
            )
        while True:
            parts = self._encrypt(plaintext)
            # The standard (step A5) begins anew when the key stream is all zero. Not every
            # library does, and for one byte it happens once in 256 times.
            if parts.c2 != plaintext:
                return encode_ciphertext(parts, SM2CiphertextFormat.DER)

    @abstractmethod
    def _verify(self, e: bytes, r: int, s: int) -> bool:
        """Verify, with r and s from 1 to n - 1 and their sum not n."""

    @abstractmethod
    def _encrypt(self, plaintext: bytes) -> SM2Ciphertext:
        """Encrypt, with a fresh nonce."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class SM2PrivateKey(ABC):
    """A private key, parsed once; may be used from several threads. It shows nothing of itself.

    Attributes:
        public_key: Its SubjectPublicKeyInfo in DER.
    """

    def __init__(self, public_key: bytes) -> None:
        self.public_key = public_key

    def sign(self, e: bytes) -> bytes:
        """Sign (GM/T 0003.2-2012, clause 6), with a fresh nonce.

        Args:
            e: SM3(Z ‖ M), 32 bytes, from `message_digest`.

        Returns:
            SEQUENCE {r, s} in DER.

        Raises:
            InvalidRequest: e does not have 32 bytes.
        """
        return signature_der(*self._sign(_require_digest(e)))

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Decrypt (GM/T 0003.4-2012, clause 7).

        Args:
            ciphertext: SEQUENCE {x, y, C3, C2} in DER.

        Raises:
            CiphertextInvalid: For every reason that lies in the ciphertext: its form, a point off
                the curve, a wrong C3, an empty C2 or one of more than 4096 bytes.
            InvalidRequest: It is no bytes object.
        """
        if not isinstance(ciphertext, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidRequest(f"the ciphertext is a {type(ciphertext).__name__}")
        try:
            parts = decode_ciphertext(ciphertext, SM2CiphertextFormat.DER)
        except InvalidRequest:
            raise CiphertextInvalid from None
        plaintext = self._decrypt(parts)
        # Equality means a key stream of zeros: an error by the standard (step B4).
        if plaintext is None or compare_digest(plaintext, parts.c2):
            raise CiphertextInvalid
        return plaintext

    @abstractmethod
    def _sign(self, e: bytes) -> tuple[int, int]:
        """The integers r and s of a signature."""

    @abstractmethod
    def _decrypt(self, parts: SM2Ciphertext) -> bytes | None:
        """Decrypt, with C1 on the curve and the sizes right; None when C3 does not fit."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an SM2 private key can be neither copied nor pickled")


class Engine(ABC):
    """An implementation of SM2.

    Attributes:
        name: As in the configuration: ``openssl`` or ``gmssl``.
        description: For people, such as ``OpenSSL 3.0.19``.
    """

    name: str
    description: str

    def generate(self) -> bytes:
        """A fresh private key: d in 32 bytes, big-endian, from 1 to n - 2."""
        return (1 + secrets.randbelow(SM2_ORDER - 2)).to_bytes(PRIVATE_KEY_SIZE, "big")

    def private_key(self, d: bytes, public_key: bytes | None = None) -> SM2PrivateKey:
        """Parse a private key.

        Args:
            d: 32 bytes, big-endian, from 1 to n - 2 (GM/T 0003.1-2012, clause 6). For n - 1 the
                inverse of 1 + d does not exist, and OpenSSL would sign for ever.
            public_key: SubjectPublicKeyInfo in DER that must belong to it, or None.

        Raises:
            InvalidRequest: d is out of range, or public_key is of another key.
        """
        if len(require_bytes(d, "SM2 private key")) != PRIVATE_KEY_SIZE:
            raise InvalidRequest("an SM2 private key must have 32 bytes")
        if not 1 <= int.from_bytes(d, "big") <= SM2_ORDER - 2:
            raise InvalidRequest("the SM2 private key is out of range", hint="It is 1 to n - 2")
        key = self._private_key(d)
        if public_key is not None and sm2_point(public_key) != sm2_point(key.public_key):
            raise InvalidRequest("the SM2 private key does not belong to the public key")
        return key

    def public_key(self, spki: bytes) -> SM2PublicKey:
        """Parse a public key.

        Args:
            spki: SubjectPublicKeyInfo in DER.

        Raises:
            InvalidRequest: It is not strict DER, not SM2, or not on the curve.
        """
        return self._public_key(spki, sm2_point(spki))

    @abstractmethod
    def _private_key(self, d: bytes) -> SM2PrivateKey:
        """Parse a private key in the right range, and derive its public key."""

    @abstractmethod
    def _public_key(self, spki: bytes, point: bytes) -> SM2PublicKey:
        """Parse a public key; its point x ‖ y is on the curve."""

    def __repr__(self) -> str:
        return f"<SM2 engine {self.description}>"


def _require_digest(e: bytes) -> bytes:
    if len(require_bytes(e, "SM2 digest")) != DIGEST_SIZE:
        raise InvalidRequest(
            f"the SM2 digest has {len(e)} bytes", hint="It is SM3(Z ‖ M), 32 bytes"
        )
    return e
