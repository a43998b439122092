"""Words of the API for what kmscore has words of its own for: usages, states, algorithms, editions.

Source: the request and response structures of the SDK (``tencentcloud.kms.v20190118.models``).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from kmscore.algorithms import EncryptionAlgorithm, KeySpec, KeyState, KeyUsage, SigningAlgorithm


class Edition(StrEnum):
    """What symmetric keys are made of: the service has regions of two kinds."""

    FIPS = "FIPS"
    SM = "SM"

    @property
    def spec(self) -> KeySpec:
        """AES-256 or SM4."""
        return KeySpec.AES_256 if self is Edition.FIPS else KeySpec.SM4

    @property
    def number(self) -> int:
        """``KeyMetadata.Type``."""
        return 2 if self is Edition.FIPS else 4


SYMMETRIC: Final = "ENCRYPT_DECRYPT"

KEY_USAGES: Final[dict[str, tuple[KeySpec, KeyUsage]]] = {
    "ASYMMETRIC_DECRYPT_RSA_2048": (KeySpec.RSA_2048, KeyUsage.ASYMMETRIC_DECRYPT),
    "ASYMMETRIC_DECRYPT_SM2": (KeySpec.SM2, KeyUsage.ASYMMETRIC_DECRYPT),
    "ASYMMETRIC_SIGN_VERIFY_SM2": (KeySpec.SM2, KeyUsage.SIGN_VERIFY),
    "ASYMMETRIC_SIGN_VERIFY_RSA_2048": (KeySpec.RSA_2048, KeyUsage.SIGN_VERIFY),
    "ASYMMETRIC_SIGN_VERIFY_RSA_3072": (KeySpec.RSA_3072, KeyUsage.SIGN_VERIFY),
    "ASYMMETRIC_SIGN_VERIFY_ECC": (KeySpec.EC_P256, KeyUsage.SIGN_VERIFY),
    "ASYMMETRIC_SIGN_VERIFY_ECDSA384": (KeySpec.EC_P384, KeyUsage.SIGN_VERIFY),
}
"""``KeyUsage`` of key pairs. Symmetric keys are ENCRYPT_DECRYPT, whatever they are made of."""

POST_QUANTUM_USAGES: Final = frozenset(
    {"ASYMMETRIC_SIGN_VERIFY_DILITHIUM", "ASYMMETRIC_Encrypt_Decrypt_Kyber_AES"}
)
"""Usages that the API has and no key store of kmscore."""

_USAGE_NAMES: Final = {kind: name for name, kind in KEY_USAGES.items()}

ALGORITHM_NAMES: Final[dict[str, str]] = {
    "ASYMMETRIC_DECRYPT_RSA_2048": "RSA_2048",
    "ASYMMETRIC_DECRYPT_SM2": "SM2",
    "ASYMMETRIC_SIGN_VERIFY_SM2": "SM2",
    "ASYMMETRIC_SIGN_VERIFY_RSA_2048": "RSA_2048",
    "ASYMMETRIC_SIGN_VERIFY_RSA_3072": "RSA_3072",
    "ASYMMETRIC_SIGN_VERIFY_ECC": "ECC",
    "ASYMMETRIC_SIGN_VERIFY_ECDSA384": "ECDSA384_SHA384",
}
"""What ``ListAlgorithms`` calls the keys of a usage."""

SIGNING_ALGORITHMS: Final[dict[str, SigningAlgorithm]] = {
    "SM2DSA": SigningAlgorithm.SM2DSA,
    "ECC_P256_R1": SigningAlgorithm.ECDSA_SHA_256,
    "RSA_PSS_SHA_256": SigningAlgorithm.RSA_PSS_SHA_256,
    "RSA_PKCS1_SHA_256": SigningAlgorithm.RSA_PKCS1_SHA_256,
    "ECDSA384_SHA384": SigningAlgorithm.ECDSA_SHA_384,
}

RSA_ENCRYPTION: Final[dict[str, EncryptionAlgorithm]] = {
    "RSAES_PKCS1_V1_5": EncryptionAlgorithm.RSAES_PKCS1_V1_5,
    "RSAES_OAEP_SHA_1": EncryptionAlgorithm.RSAES_OAEP_SHA_1,
    "RSAES_OAEP_SHA_256": EncryptionAlgorithm.RSAES_OAEP_SHA_256,
}

STATE_NAMES: Final[dict[KeyState, str]] = {
    KeyState.ENABLED: "Enabled",
    KeyState.DISABLED: "Disabled",
    KeyState.PENDING_DELETION: "PendingDelete",
    KeyState.PENDING_IMPORT: "PendingImport",
    KeyState.ARCHIVED: "Archived",
}

STATE_NUMBERS: Final[dict[int, KeyState | None]] = {
    0: None,
    1: KeyState.ENABLED,
    2: KeyState.DISABLED,
    3: KeyState.PENDING_DELETION,
    4: KeyState.PENDING_IMPORT,
    5: KeyState.ARCHIVED,
}
"""``KeyState`` as ``ListKeyDetail`` filters by it; 0 is all."""


def usage_name(spec: KeySpec, usage: KeyUsage) -> str | None:
    """``KeyUsage`` of a key, or None for keys that the API has no word for, such as Ed25519."""
    if usage is KeyUsage.ENCRYPT_DECRYPT:
        return SYMMETRIC
    return _USAGE_NAMES.get((spec, usage))
