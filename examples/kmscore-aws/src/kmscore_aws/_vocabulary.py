"""What AWS calls the things of kmscore's vocabulary (KMS API reference, KeyMetadata)."""

from __future__ import annotations

from typing import Final

from kmscore.algorithms import (
    EncryptionAlgorithm,
    KeySpec,
    KeyState,
    KeyUsage,
    Origin,
    SigningAlgorithm,
)

SPECS: Final = {
    KeySpec.AES_256: "SYMMETRIC_DEFAULT",
    KeySpec.RSA_2048: "RSA_2048",
    KeySpec.RSA_3072: "RSA_3072",
    KeySpec.RSA_4096: "RSA_4096",
    KeySpec.EC_P256: "ECC_NIST_P256",
    KeySpec.EC_P384: "ECC_NIST_P384",
}

USAGES: Final = {
    KeyUsage.ENCRYPT_DECRYPT: "ENCRYPT_DECRYPT",
    KeyUsage.ASYMMETRIC_DECRYPT: "ENCRYPT_DECRYPT",
    KeyUsage.SIGN_VERIFY: "SIGN_VERIFY",
}
"""AWS tells symmetric and asymmetric decryption apart by the spec alone."""

SIGNING: Final = {
    SigningAlgorithm.RSA_PSS_SHA_256: "RSASSA_PSS_SHA_256",
    SigningAlgorithm.RSA_PKCS1_SHA_256: "RSASSA_PKCS1_V1_5_SHA_256",
    SigningAlgorithm.ECDSA_SHA_256: "ECDSA_SHA_256",
    SigningAlgorithm.ECDSA_SHA_384: "ECDSA_SHA_384",
}

ENCRYPTION: Final = {
    EncryptionAlgorithm.RSAES_OAEP_SHA_256: "RSAES_OAEP_SHA_256",
    EncryptionAlgorithm.RSAES_OAEP_SHA_1: "RSAES_OAEP_SHA_1",
}

STATES: Final = {
    "Enabled": KeyState.ENABLED,
    "Disabled": KeyState.DISABLED,
    "PendingDeletion": KeyState.PENDING_DELETION,
    "PendingImport": KeyState.PENDING_IMPORT,
}

ORIGINS: Final = {"AWS_KMS": Origin.GENERATED, "EXTERNAL": Origin.EXTERNAL}

SPEC_OF: Final = {name: spec for spec, name in SPECS.items()}
