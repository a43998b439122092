"""How Tencent's words and kmscore's belong together: usages, states, algorithms, key metadata.

Derived from the SDK's models of API version 2019-01-18 and public documents.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kmscore.algorithms import (
    KeySpec,
    KeyState,
    KeyUsage,
    Origin,
    SigningAlgorithm,
    WrappingAlgorithm,
)
from kmscore.capabilities import Capabilities, Feature, KeyKind, Limits
from kmscore.errors import InternalError
from kmscore.spi import KeyInfo
from kmscore_tencent._answers import is_whole

KEY_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
"""Ids of keys are UUIDs."""

ALIAS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", re.ASCII)
"""What a key can be named, as `CreateKey` says."""

USAGES: Final = {
    (KeySpec.AES_256, KeyUsage.ENCRYPT_DECRYPT): "ENCRYPT_DECRYPT",
    (KeySpec.SM4, KeyUsage.ENCRYPT_DECRYPT): "ENCRYPT_DECRYPT",
    (KeySpec.RSA_2048, KeyUsage.ASYMMETRIC_DECRYPT): "ASYMMETRIC_DECRYPT_RSA_2048",
    (KeySpec.SM2, KeyUsage.ASYMMETRIC_DECRYPT): "ASYMMETRIC_DECRYPT_SM2",
    (KeySpec.SM2, KeyUsage.SIGN_VERIFY): "ASYMMETRIC_SIGN_VERIFY_SM2",
    (KeySpec.RSA_2048, KeyUsage.SIGN_VERIFY): "ASYMMETRIC_SIGN_VERIFY_RSA_2048",
    (KeySpec.RSA_3072, KeyUsage.SIGN_VERIFY): "ASYMMETRIC_SIGN_VERIFY_RSA_3072",
    (KeySpec.EC_P256, KeyUsage.SIGN_VERIFY): "ASYMMETRIC_SIGN_VERIFY_ECC",
}

ALGORITHMS: Final = {
    SigningAlgorithm.SM2DSA: "SM2DSA",
    SigningAlgorithm.ECDSA_SHA_256: "ECC_P256_R1",
    SigningAlgorithm.RSA_PSS_SHA_256: "RSA_PSS_SHA_256",
    SigningAlgorithm.RSA_PKCS1_SHA_256: "RSA_PKCS1_SHA_256",
}

STATES: Final = {
    "Enabled": KeyState.ENABLED,
    "Disabled": KeyState.DISABLED,
    "PendingDelete": KeyState.PENDING_DELETION,
    "PendingImport": KeyState.PENDING_IMPORT,
    "Archived": KeyState.ARCHIVED,
}

FEATURES: Final = frozenset(
    {
        Feature.ALIASES,
        Feature.ARCHIVE,
        Feature.DATA_KEYS,
        Feature.DELETION,
        Feature.MATERIAL_EXPIRY,
        Feature.RANDOM,
        Feature.RE_ENCRYPT,
        Feature.ROTATION,
        Feature.ROTATION_SCHEDULE,
    }
)

MAX_SM2_CIPHERTEXT: Final = 256
"""Longest ciphertext of `AsymmetricSm2Decrypt` in bytes: about 146 bytes of plaintext."""

LAST_VALID_TO: Final = 2147443200
"""Latest end of imported material in seconds since the epoch (18 January 2038)."""

SM_KEY: Final = 4
"""`KeyMetadata.Type` of keys in regions of the SM edition."""

YEAR: Final = 365
"""The period of rotation in days where the service names none."""

_KINDS: Final = {name: kind for kind, name in USAGES.items() if name != "ENCRYPT_DECRYPT"}


def capabilities(edition: str, notes: Mapping[str, str]) -> Capabilities:
    """The table for a region of the FIPS or SM edition."""
    symmetric = KeySpec.SM4 if edition == "SM" else KeySpec.AES_256
    kinds = [
        KeyKind.standard(symmetric, KeyUsage.ENCRYPT_DECRYPT, Origin.GENERATED, Origin.EXTERNAL)
    ]
    kinds += [KeyKind.standard(spec, usage) for spec, usage in _KINDS.values()]
    return Capabilities(
        keys=tuple(kinds),
        wrapping=frozenset(WrappingAlgorithm),
        features=FEATURES,
        limits=Limits(message=4096),
        notes=notes,
    )


def _text(metadata: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = metadata.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not is_whole(value):
        raise TypeError(name)
    return value


def key_info(metadata: Mapping[str, Any]) -> KeyInfo:
    """What ``KeyMetadata`` says, in kmscore's words.

    The service does not number the versions of a key: a key with material has version 1.

    Raises:
        InternalError: The metadata has another shape than the SDK's model.
    """
    try:
        usage = metadata["KeyUsage"]
        if usage == "ENCRYPT_DECRYPT":
            spec = KeySpec.SM4 if metadata.get("Type") == SM_KEY else KeySpec.AES_256
            kind = (spec, KeyUsage.ENCRYPT_DECRYPT)
        else:
            kind = _KINDS[usage]
        state = STATES[metadata["KeyState"]]
        rotates = bool(metadata.get("KeyRotationEnabled"))
        return KeyInfo(
            key_id=_text(metadata, "KeyId"),
            spec=kind[0],
            usage=kind[1],
            state=state,
            origin=Origin.EXTERNAL if metadata.get("Origin") == "EXTERNAL" else Origin.GENERATED,
            alias=_text(metadata, "Alias", "") or None,
            created_at=_time(metadata["CreateTime"]),
            description=_text(metadata, "Description", ""),
            version=0 if state is KeyState.PENDING_IMPORT else 1,
            deletion_at=_optional_time(metadata, "DeletionDate"),
            valid_to=_optional_time(metadata, "ValidTo"),
            rotation_days=int(metadata.get("RotateDays") or YEAR) if rotates else None,
            rotated_at=_optional_time(metadata, "LastRotateTime"),
            # The service names a time even where no rotation is on.
            next_rotation_at=_optional_time(metadata, "NextRotateTime") if rotates else None,
            native={
                name: str(metadata[name])
                for name in ("Owner", "ResourceId", "HsmClusterId")
                if metadata.get(name)
            },
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InternalError(
            "the service describes a key in words that are not known here",
            hint="It may be a post-quantum key; kmscore does not have those",
        ) from error


def is_known(metadata: Mapping[str, Any]) -> bool:
    """Whether kmscore has words for a key: others are left out of listings."""
    usage = metadata.get("KeyUsage")
    return usage == "ENCRYPT_DECRYPT" or (isinstance(usage, str) and usage in _KINDS)


def _time(seconds: Any) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)


def _optional_time(metadata: Mapping[str, Any], name: str) -> datetime | None:
    value = metadata.get(name)
    return _time(value) if value else None
