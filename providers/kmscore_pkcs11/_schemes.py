"""How a token carries out each scheme: the standard's numbers, and a vendor's own for SM2 and SM4.

Vendors number the mechanisms of the Chinese algorithms as they like, one of them in four ways, so
no number is guessed: the configuration gives them, and the probe checks what comes of it. On
SoftHSM a key on the SM2 curve signs, but with ECDSA.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeVar

from pkcs11 import MGF, KeyType, Mechanism

from kmscore.algorithms import KeySpec, SigningAlgorithm
from kmscore.encodings import SM2CiphertextFormat

Number = TypeVar("Number", KeyType, Mechanism)

SM2_PARAMS: Final = bytes.fromhex("06082a811ccf5501822d")
"""CKA_EC_PARAMS of the SM2 curve: 1.2.156.10197.1.301 in DER."""

_DIGEST_INFO_SHA256: Final = bytes.fromhex("3031300d060960864801650304020105000420")
"""What precedes a SHA-256 digest in a PKCS #1 v1.5 signature (RFC 8017, 9.2, note 1)."""


class SigningScheme(NamedTuple):
    """How a signature is made.

    Attributes:
        mechanism: The mechanism that signs a digest, or Ed25519's message.
        parameter: Its structure, where it has one.
        prefix: What goes before the digest.
        coordinate: Bytes of r and of s where the token returns r ‖ s; 0 where it is done already.
    """

    mechanism: int
    parameter: bytes = b""
    prefix: bytes = b""
    coordinate: int = 0


class SecretScheme(NamedTuple):
    """How a symmetric key is made and used.

    Attributes:
        kind: CKA_KEY_TYPE.
        generation: The mechanism that makes it.
        gcm: The mechanism that encrypts, with CK_GCM_PARAMS.
    """

    kind: KeyType
    generation: Mechanism
    gcm: int


class Sm2Profile(NamedTuple):
    """SM2 by a vendor's numbers.

    Attributes:
        kind: CKA_KEY_TYPE of its keys.
        generation: The mechanism that makes pairs.
        decryption: The mechanism that decrypts, or None.
        ciphertext: The form of ciphertexts that it takes.
    """

    kind: KeyType
    generation: Mechanism
    decryption: Mechanism | None
    ciphertext: SM2CiphertextFormat


class Schemes(NamedTuple):
    """What a provider uses.

    Attributes:
        signing: By algorithm.
        secret: By key spec.
        sm2: The vendor's SM2, or None.
    """

    signing: Mapping[SigningAlgorithm, SigningScheme]
    secret: Mapping[KeySpec, SecretScheme]
    sm2: Sm2Profile | None


_AES: Final = SecretScheme(KeyType.AES, Mechanism.AES_KEY_GEN, int(Mechanism.AES_GCM))
_SIGNING: Final = {
    SigningAlgorithm.RSA_PSS_SHA_256: SigningScheme(
        int(Mechanism.RSA_PKCS_PSS), struct.pack("@LLL", Mechanism.SHA256, MGF.SHA256, 32)
    ),
    SigningAlgorithm.RSA_PKCS1_SHA_256: SigningScheme(
        int(Mechanism.RSA_PKCS), prefix=_DIGEST_INFO_SHA256
    ),
    SigningAlgorithm.ECDSA_SHA_256: SigningScheme(int(Mechanism.ECDSA), coordinate=32),
    SigningAlgorithm.ECDSA_SHA_384: SigningScheme(int(Mechanism.ECDSA), coordinate=48),
    SigningAlgorithm.ED25519: SigningScheme(int(Mechanism.EDDSA)),
}
STANDARD: Final = Schemes(_SIGNING, {KeySpec.AES_128: _AES, KeySpec.AES_256: _AES}, None)
"""What needs no profile."""


def schemes_of(sm2: Mapping[str, Any] | None, sm4: Mapping[str, Any] | None) -> Schemes:
    """The standard's schemes, and those of the profiles in the configuration."""
    schemes = STANDARD
    if sm4 is not None:
        scheme = SecretScheme(
            _number(KeyType, sm4["key_type"]),
            _number(Mechanism, sm4["key_generation"]),
            sm4["gcm"],
        )
        schemes = schemes._replace(secret={**schemes.secret, KeySpec.SM4: scheme})
    if sm2 is not None:
        kind = _number(KeyType, sm2["key_type"])
        decryption = sm2["decryption"]
        profile = Sm2Profile(
            kind,
            _number(Mechanism, sm2["key_generation"]),
            None if decryption is None else _number(Mechanism, decryption),
            SM2CiphertextFormat(sm2["ciphertext"]),
        )
        signing = SigningScheme(
            sm2["signing"],
            coordinate=32 if sm2["signature"] == "raw" else 0,
        )
        schemes = schemes._replace(
            signing={**schemes.signing, SigningAlgorithm.SM2DSA: signing}, sm2=profile
        )
    return schemes


def _number(kind: type[Number], value: int) -> Number:
    """A number as the binding wants it: it takes members of its enumerations alone."""
    try:
        return kind(value)
    except ValueError:
        member = int.__new__(kind, value)
        member._name_ = f"VENDOR_{value:#x}"
        member._value_ = value
        return member
