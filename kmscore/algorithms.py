"""The vocabulary: key specs, usages, states and algorithms, and what belongs to what, as data."""

from enum import StrEnum
from typing import Final, NamedTuple, TypeVar

from kmscore.errors import InvalidRequest


class KeySpec(StrEnum):
    """What a key is made of."""

    AES_128 = "AES_128"
    AES_256 = "AES_256"
    SM4 = "SM4"
    RSA_2048 = "RSA_2048"
    RSA_3072 = "RSA_3072"
    RSA_4096 = "RSA_4096"
    EC_P256 = "EC_P256"
    EC_P384 = "EC_P384"
    ED25519 = "ED25519"
    SM2 = "SM2"


class KeyUsage(StrEnum):
    """What a key is for: one purpose per key, never two (NIST SP 800-57 part 1, 5.2)."""

    ENCRYPT_DECRYPT = "ENCRYPT_DECRYPT"
    ASYMMETRIC_DECRYPT = "ASYMMETRIC_DECRYPT"
    SIGN_VERIFY = "SIGN_VERIFY"


class KeyState(StrEnum):
    """Where a key stands in its life cycle."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"
    PENDING_IMPORT = "PENDING_IMPORT"
    PENDING_DELETION = "PENDING_DELETION"
    ARCHIVED = "ARCHIVED"


class Origin(StrEnum):
    """Where the key material comes from: made by the provider, or brought by its owner (BYOK)."""

    GENERATED = "GENERATED"
    EXTERNAL = "EXTERNAL"


class DigestAlgorithm(StrEnum):
    """Hash functions that signatures use (FIPS 180-4; SM3: GM/T 0004-2012)."""

    SHA_256 = "SHA_256"
    SHA_384 = "SHA_384"
    SM3 = "SM3"

    @property
    def size(self) -> int:
        """Length of the digest in bytes."""
        return 48 if self is DigestAlgorithm.SHA_384 else 32


class SigningAlgorithm(StrEnum):
    """Signature schemes. RSA-PSS salts are as long as the hash; SM2 signs e = SM3(Z ‖ M)."""

    RSA_PKCS1_SHA_256 = "RSA_PKCS1_SHA_256"
    RSA_PSS_SHA_256 = "RSA_PSS_SHA_256"
    ECDSA_SHA_256 = "ECDSA_SHA_256"
    ECDSA_SHA_384 = "ECDSA_SHA_384"
    ED25519 = "ED25519"
    SM2DSA = "SM2DSA"

    @property
    def digest(self) -> DigestAlgorithm | None:
        """The hash of the scheme; None for Ed25519, which signs whole messages only."""
        return _DIGEST_OF[self]


class EncryptionAlgorithm(StrEnum):
    """Public-key encryption schemes (RFC 8017; SM2: GM/T 0003.4-2012)."""

    RSAES_OAEP_SHA_256 = "RSAES_OAEP_SHA_256"
    RSAES_OAEP_SHA_1 = "RSAES_OAEP_SHA_1"
    RSAES_PKCS1_V1_5 = "RSAES_PKCS1_V1_5"
    SM2 = "SM2"


class WrappingAlgorithm(StrEnum):
    """How imported key material is wrapped for its journey (RFC 8017)."""

    RSAES_OAEP_SHA_256 = "RSAES_OAEP_SHA_256"
    RSAES_OAEP_SHA_1 = "RSAES_OAEP_SHA_1"
    RSAES_PKCS1_V1_5 = "RSAES_PKCS1_V1_5"


class SpecTraits(NamedTuple):
    """What follows from a key spec.

    Attributes:
        family: ``AES``, ``SM4``, ``RSA``, ``EC``, ``ED25519`` or ``SM2``.
        bits: Size of the key in bits.
        usages: What such a key may be for, the usual one first.
        signing: Signature schemes of a SIGN_VERIFY key, the recommended one first.
        encryption: Schemes of an ASYMMETRIC_DECRYPT key, the recommended one first.
    """

    family: str
    bits: int
    usages: tuple[KeyUsage, ...]
    signing: tuple[SigningAlgorithm, ...] = ()
    encryption: tuple[EncryptionAlgorithm, ...] = ()

    @property
    def is_symmetric(self) -> bool:
        """True for AES and SM4."""
        return self.family in ("AES", "SM4")


_DIGEST_OF: Final = {
    SigningAlgorithm.RSA_PKCS1_SHA_256: DigestAlgorithm.SHA_256,
    SigningAlgorithm.RSA_PSS_SHA_256: DigestAlgorithm.SHA_256,
    SigningAlgorithm.ECDSA_SHA_256: DigestAlgorithm.SHA_256,
    SigningAlgorithm.ECDSA_SHA_384: DigestAlgorithm.SHA_384,
    SigningAlgorithm.ED25519: None,
    SigningAlgorithm.SM2DSA: DigestAlgorithm.SM3,
}

_SYMMETRIC: Final = (KeyUsage.ENCRYPT_DECRYPT,)
_SIGNING: Final = (KeyUsage.SIGN_VERIFY,)
_EITHER: Final = (KeyUsage.SIGN_VERIFY, KeyUsage.ASYMMETRIC_DECRYPT)
_RSA_SIGNING: Final = (SigningAlgorithm.RSA_PSS_SHA_256, SigningAlgorithm.RSA_PKCS1_SHA_256)
_RSA_ENCRYPTION: Final = (
    EncryptionAlgorithm.RSAES_OAEP_SHA_256,
    EncryptionAlgorithm.RSAES_OAEP_SHA_1,
    EncryptionAlgorithm.RSAES_PKCS1_V1_5,
)

TRAITS: Final[dict[KeySpec, SpecTraits]] = {
    KeySpec.AES_128: SpecTraits("AES", 128, _SYMMETRIC),
    KeySpec.AES_256: SpecTraits("AES", 256, _SYMMETRIC),
    KeySpec.SM4: SpecTraits("SM4", 128, _SYMMETRIC),
    KeySpec.RSA_2048: SpecTraits("RSA", 2048, _EITHER, _RSA_SIGNING, _RSA_ENCRYPTION),
    KeySpec.RSA_3072: SpecTraits("RSA", 3072, _EITHER, _RSA_SIGNING, _RSA_ENCRYPTION),
    KeySpec.RSA_4096: SpecTraits("RSA", 4096, _EITHER, _RSA_SIGNING, _RSA_ENCRYPTION),
    KeySpec.EC_P256: SpecTraits("EC", 256, _SIGNING, (SigningAlgorithm.ECDSA_SHA_256,)),
    KeySpec.EC_P384: SpecTraits("EC", 384, _SIGNING, (SigningAlgorithm.ECDSA_SHA_384,)),
    KeySpec.ED25519: SpecTraits("ED25519", 256, _SIGNING, (SigningAlgorithm.ED25519,)),
    KeySpec.SM2: SpecTraits(
        "SM2", 256, _EITHER, (SigningAlgorithm.SM2DSA,), (EncryptionAlgorithm.SM2,)
    ),
}

Vocabulary = TypeVar("Vocabulary", bound=StrEnum)


def parse(kind: type[Vocabulary], value: object, what: str) -> Vocabulary:
    """Turn what a caller wrote into a member of the vocabulary.

    Args:
        kind: The enumeration.
        value: A member of it, or its name; upper and lower case are the same, and so are - and _.
        what: What the value is for, for the error text, such as ``key spec``.

    Raises:
        InvalidRequest: It is no such name; the hint lists the names.
    """
    if isinstance(value, kind):
        return value
    if isinstance(value, str):
        name = value.upper().replace("-", "_")
        for member in kind:
            if member.value == name:
                return member
    names = ", ".join(member.value for member in kind)
    raise InvalidRequest(f"unknown {what} {value!r}", hint=f"Use one of: {names}")
