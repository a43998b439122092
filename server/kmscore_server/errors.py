"""What the API answers to errors of kmscore, and which codes it documents for which action.

Source of the codes: the comments of the SDK for Go, of the same version of the API, which has them
action by action, and the page on the codes that all products share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kmscore.algorithms import KeyState
from kmscore.errors import (
    AlreadyExists,
    CiphertextInvalid,
    ImportMaterialInvalid,
    ImportTokenExpired,
    InvalidRequest,
    KeyNotFound,
    KeyStateError,
    KeyUsageMismatch,
    KmsError,
    LimitExceeded,
    MaterialMismatch,
    Throttled,
    Timeout,
    Unavailable,
    Unsupported,
)
from kmscore_server.api import ApiError

# Full names of codes that are used in several places.
INVALID_PARAMETER: Final = "InvalidParameter"
INVALID_VALUE: Final = "InvalidParameterValue"
INVALID_KEY_ID: Final = "InvalidParameterValue.InvalidKeyId"
INVALID_USAGE: Final = "InvalidParameterValue.InvalidKeyUsage"
INVALID_TYPE: Final = "InvalidParameterValue.InvalidType"
INVALID_PLAINTEXT: Final = "InvalidParameterValue.InvalidPlaintext"
INVALID_CIPHERTEXT: Final = "InvalidParameterValue.InvalidCiphertext"
ALIAS_EXISTS: Final = "InvalidParameterValue.AliasAlreadyExists"
DATA_KEY_NAME_EXISTS: Final = "InvalidParameterValue.DataKeyNameAlreadyExists"
INVALID_MATERIAL: Final = "InvalidParameterValue.InvalidImportKeyMaterial"
NOT_PURCHASED: Final = "ResourceUnavailable.NotPurchased"
KEY_LIMIT: Final = "LimitExceeded.CmkLimitExceeded"
DATA_KEY_LIMIT: Final = "LimitExceeded.DataKeyLimitExceeded"
ROTATED_RECENTLY: Final = "RequestLimitExceeded.RotateRateLimited"
NOT_BOUND: Final = "ResourceUnavailable.CloudResourceBindingNotFound"
WRONG_WINDOW: Final = "InvalidParameter.InvalidPendingWindowInDays"
NOT_FOUND: Final = "ResourceUnavailable.CmkNotFound"
STATE: Final = "ResourceUnavailable.CmkStateNotSupport"
DISABLED: Final = "ResourceUnavailable.CmkDisabled"
ARCHIVED: Final = "ResourceUnavailable.CmkArchived"
PENDING_DELETE: Final = "ResourceUnavailable.KeyPendingDelete"
SHOULD_BE_DISABLED: Final = "ResourceUnavailable.CmkShouldBeDisabled"
NOT_PENDING_DELETE: Final = "ResourceUnavailable.CmkNotPendingDelete"
DATA_KEY_NOT_FOUND: Final = "ResourceUnavailable.DataKeyNotFound"
DATA_KEY_STATE: Final = "ResourceUnavailable.DataKeyStateNotSupport"
IN_USE: Final = "FailedOperation.CmkUsedByCloudProduct"
ENCRYPTION_FAILED: Final = "FailedOperation.EncryptionError"
DECRYPTION_FAILED: Final = "FailedOperation.DecryptError"
NOT_EXTERNAL: Final = "UnsupportedOperation.NotExternalCmk"
EXTERNAL_CANNOT_ROTATE: Final = "UnsupportedOperation.ExternalCmkCanNotRotate"
ROTATE_NOT_SUPPORTED: Final = "UnsupportedOperation.RotateNotSupported"
NO_SUCH_USAGE_HERE: Final = "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion"
TEMPORARILY_UNAVAILABLE: Final = "UnsupportedOperation.ServiceTemporaryUnavailable"

COMMON: Final = frozenset(
    {
        "InternalError",
        "InvalidAction",
        INVALID_PARAMETER,
        INVALID_VALUE,
        "MissingParameter",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "UnauthorizedOperation",
        "UnknownParameter",
        "UnsupportedOperation",
    }
)
"""Codes that any action may answer."""

_SHORT: Final = {
    "IPV": INVALID_VALUE,
    "KID": INVALID_KEY_ID,
    "DKID": "InvalidParameterValue.InvalidDataKeyId",
    "DUP": "InvalidParameterValue.DuplicatedKeyId",
    "DKDUP": "InvalidParameterValue.DuplicatedDataKeyId",
    "USAGE": INVALID_USAGE,
    "TYPE": INVALID_TYPE,
    "PT": INVALID_PLAINTEXT,
    "CT": INVALID_CIPHERTEXT,
    "HSM": "InvalidParameterValue.InvalidHsmClusterId",
    "TAGDUP": "InvalidParameterValue.TagKeysDuplicated",
    "ALIAS": "InvalidParameterValue.InvalidAlias",
    "ALIASDUP": ALIAS_EXISTS,
    "DKNAME": "InvalidParameterValue.InvalidDataKeyName",
    "DKNAMEDUP": DATA_KEY_NAME_EXISTS,
    "DKMATERIAL": INVALID_MATERIAL,
    "MATCH": "InvalidParameterValue.MaterialNotMatch",
    "DAYS": WRONG_WINDOW,
    "MATERIAL": "InvalidParameter.DecryptMaterialError",
    "USED": IN_USE,
    "ENC": ENCRYPTION_FAILED,
    "DEC": DECRYPTION_FAILED,
    "NF": NOT_FOUND,
    "ST": STATE,
    "DIS": DISABLED,
    "ARC": ARCHIVED,
    "PEND": PENDING_DELETE,
    "ENABLED": SHOULD_BE_DISABLED,
    "NOPEND": NOT_PENDING_DELETE,
    "BIND": NOT_BOUND,
    "TOKEN": "ResourceUnavailable.TokenExpired",
    "DKNF": DATA_KEY_NOT_FOUND,
    "DKST": DATA_KEY_STATE,
    "DKDIS": "ResourceUnavailable.DataKeyDisabled",
    "DKPEND": "ResourceUnavailable.DataKeyPendingDelete",
    "DKNOPEND": "ResourceUnavailable.DataKeyNotPendingDelete",
    "NOPUR": NOT_PURCHASED,
    "CMKLIM": KEY_LIMIT,
    "DKLIM": DATA_KEY_LIMIT,
    "RATE": ROTATED_RECENTLY,
    "NOTEXT": NOT_EXTERNAL,
    "EXTROT": EXTERNAL_CANNOT_ROTATE,
    "NOROT": ROTATE_NOT_SUPPORTED,
    "NOUSAGE": NO_SUCH_USAGE_HERE,
    "STU": TEMPORARILY_UNAVAILABLE,
}


def _codes(words: str) -> frozenset[str]:
    return frozenset(_SHORT[word] for word in words.split())


DOCUMENTED: Final[Mapping[str, frozenset[str]]] = {
    action: _codes(words)
    for action, words in {
        "CreateKey": "ALIASDUP ALIAS HSM USAGE TYPE TAGDUP CMKLIM STU NOUSAGE",
        "Encrypt": "KID PT ARC DIS NF",
        "Decrypt": "ENC CT DIS NF",
        "ReEncrypt": "CT KID DIS NF",
        "GenerateRandom": "",
        "GenerateDataKey": "ENC DKNAMEDUP DKNAME HSM KID USAGE TYPE TAGDUP DKLIM DIS NF PEND",
        "GetPublicKey": "KID NF ST",
        "AsymmetricRsaDecrypt": "DEC KID USAGE NF ST",
        "AsymmetricSm2Decrypt": "DEC KID USAGE NF ST NOUSAGE",
        "SignByAsymmetricKey": "KID NF ST",
        "VerifyByAsymmetricKey": "IPV KID NF ST",
        "GetParametersForImport": "KID NF NOTEXT STU",
        "ImportKeyMaterial": "MATERIAL KID MATCH NF ST TOKEN NOTEXT STU",
        "DeleteImportedKeyMaterial": "USED KID NF ST NOTEXT STU",
        "DescribeKey": "KID NF",
        "DescribeKeys": "DUP KID NF",
        "ListKeys": "HSM",
        "ListKeyDetail": "HSM",
        "EnableKey": "KID NF ST STU",
        "DisableKey": "KID NF ST STU USED",
        "EnableKeys": "KID NF ST STU DUP",
        "DisableKeys": "KID NF ST STU DUP USED",
        "UpdateAlias": "ALIASDUP ALIAS KID NF STU",
        "UpdateKeyDescription": "KID NF STU",
        "ScheduleKeyDeletion": "USED DAYS KID NF ENABLED ST STU",
        "CancelKeyDeletion": "KID NF NOPEND STU",
        "ArchiveKey": "USED KID NF ST STU",
        "CancelKeyArchive": "KID NF ST STU",
        "EnableKeyRotation": "IPV KID NF ST EXTROT STU",
        "DisableKeyRotation": "KID NF",
        "GetKeyRotationStatus": "KID NF",
        "RotateKey": "KID RATE NF ST NOROT",
        "BindCloudResource": "USED KID NF ST STU",
        "UnbindCloudResource": "KID BIND NF STU",
        "DescribeDataKey": "DKID DKNF",
        "DescribeDataKeys": "IPV DKDUP DKID KID DKNF",
        "ListDataKeys": "IPV HSM",
        "ListDataKeyDetail": "HSM KID NF",
        "EnableDataKey": "DKID NF ST DKNF",
        "EnableDataKeys": "IPV DKDUP DKID KID NF ST DKNF DKST",
        "DisableDataKey": "DKID DKNF DKST",
        "DisableDataKeys": "IPV DKDUP DKID DKNF DKST",
        "GetDataKeyCiphertextBlob": "DKID DKNF DKST",
        "GetDataKeyPlaintext": "ENC IPV DKID TYPE DIS NF ST DKDIS DKNF DKPEND",
        "ImportDataKey": "DKNAME DKMATERIAL KID USAGE PT TYPE TAGDUP DKLIM ARC DIS NF ST PEND",
        "ScheduleDataKeyDeletion": "DAYS DKID DKNF DKST",
        "CancelDataKeyDeletion": "DKID DKLIM NF ST DKNF DKNOPEND",
        "UpdateDataKeyName": "IPV DKNAME DKID DKNF",
        "UpdateDataKeyDescription": "DKID DKNF",
        "ListAlgorithms": "",
        "GetServiceStatus": "",
        "GetRegions": "",
        "PostQuantumCryptoEncrypt": "KID PT",
        "PostQuantumCryptoDecrypt": "CT",
        "PostQuantumCryptoSign": "KID",
        "PostQuantumCryptoVerify": "IPV KID",
        "CreateWhiteBoxKey": "IPV ALIAS TAGDUP NOPUR",
        "EncryptByWhiteBox": "IPV KID NOPUR",
        "DescribeWhiteBoxKey": "KID NOPUR",
        "DescribeWhiteBoxKeyDetails": "NOPUR",
        "DescribeWhiteBoxDecryptKey": "KID NOPUR",
        "DescribeWhiteBoxServiceStatus": "",
        "EnableWhiteBoxKey": "KID NOPUR",
        "DisableWhiteBoxKey": "KID NOPUR",
        "EnableWhiteBoxKeys": "KID DUP NOPUR",
        "DisableWhiteBoxKeys": "KID DUP NOPUR",
        "DeleteWhiteBoxKey": "KID NOPUR",
        "DescribeWhiteBoxDeviceFingerprints": "KID NOPUR",
        "OverwriteWhiteBoxDeviceFingerprints": "IPV KID NOPUR",
    }.items()
}
"""The codes of each action beside the common ones, as far as this server has a use for them."""

LOCAL: Final[Mapping[str, frozenset[str]]] = {
    action: _codes(words)
    for action, words in {
        # Nothing says what a key in these states, or of another usage, answers there.
        "Encrypt": "USAGE ST",
        "Decrypt": "ST",
        "ReEncrypt": "USAGE ST ARC",
        "GenerateDataKey": "ST ARC",
        "GetPublicKey": "USAGE",
        "SignByAsymmetricKey": "USAGE",
        "VerifyByAsymmetricKey": "USAGE",
        "GetParametersForImport": "ST",
        "UpdateAlias": "ST",
        "UpdateKeyDescription": "ST",
        "DisableKeyRotation": "ST NOROT",
        # Data keys have unique names when they are made, so they keep them.
        "ImportDataKey": "DKNAMEDUP HSM",
        "UpdateDataKeyName": "DKNAMEDUP",
        "EnableDataKey": "DKST",
        "GetDataKeyPlaintext": "CT ARC PEND",
        "ListDataKeyDetail": "IPV",
        # These keys cannot be made here: the error for making them.
        "PostQuantumCryptoEncrypt": "NOUSAGE",
        "PostQuantumCryptoDecrypt": "NOUSAGE",
        "PostQuantumCryptoSign": "NOUSAGE",
        "PostQuantumCryptoVerify": "NOUSAGE",
    }.items()
}
"""Codes of the API that this server answers where nothing is documented: local choices."""


def allowed(action: str) -> frozenset[str]:
    """Every code that an action may answer."""
    return COMMON | DOCUMENTED.get(action, frozenset()) | LOCAL.get(action, frozenset())


def value_code(action: str) -> str:
    """What an action answers to a value that it cannot use."""
    documented = DOCUMENTED.get(action, frozenset())
    return INVALID_VALUE if INVALID_VALUE in documented else INVALID_PARAMETER


def _state_codes(state: str) -> tuple[str, ...]:
    """What may be said of a key in a state, the most exact first."""
    match state:
        case KeyState.DISABLED:
            return (NOT_PENDING_DELETE, DISABLED, STATE)
        case KeyState.ARCHIVED:
            return (NOT_PENDING_DELETE, ARCHIVED, STATE)
        case KeyState.PENDING_DELETION:
            return (PENDING_DELETE, STATE)
        case KeyState.ENABLED:
            return (SHOULD_BE_DISABLED, NOT_PENDING_DELETE, STATE)
        case _:
            return (NOT_PENDING_DELETE, STATE)


def _candidates(error: KmsError) -> tuple[str, ...]:
    """Codes for an error, the most exact first; the first that the action has is answered."""
    match error:
        case KeyStateError():
            return _state_codes(error.state)
        case KeyNotFound():
            return (NOT_FOUND, INVALID_CIPHERTEXT)
        case KeyUsageMismatch():
            return (INVALID_USAGE,)
        case AlreadyExists():
            return (ALIAS_EXISTS, DATA_KEY_NAME_EXISTS)
        case CiphertextInvalid():
            return (INVALID_CIPHERTEXT, DECRYPTION_FAILED)
        case ImportTokenExpired():
            return ("ResourceUnavailable.TokenExpired",)
        case ImportMaterialInvalid():
            return ("InvalidParameter.DecryptMaterialError",)
        case MaterialMismatch():
            return ("InvalidParameterValue.MaterialNotMatch",)
        case LimitExceeded():
            return (KEY_LIMIT, INVALID_PLAINTEXT, INVALID_PARAMETER)
        case InvalidRequest():
            return (INVALID_PARAMETER,)
        case Unsupported():
            return (
                NO_SUCH_USAGE_HERE,
                ROTATE_NOT_SUPPORTED,
                EXTERNAL_CANNOT_ROTATE,
                "UnsupportedOperation",
            )
        case Throttled():
            return ("RequestLimitExceeded",)
        case Unavailable() | Timeout():
            return (TEMPORARILY_UNAVAILABLE, "ServiceUnavailable")
        case _:
            # The server's own credentials, its files, or a defect: nothing that the client did.
            return ("InternalError",)


_INSIDE: Final = {
    "InternalError": "the key store failed; the server's log says how",
    "RequestLimitExceeded": "the key store has too much to do",
    "ServiceUnavailable": "the key store does not answer",
    TEMPORARILY_UNAVAILABLE: "the key store does not answer",
}
"""Messages for what the caller can do nothing about: the errors' own may tell where files are."""


def refusal(action: str, error: KmsError) -> ApiError:
    """The answer to an error of the key store."""
    codes = allowed(action)
    for code in _candidates(error):
        if code in codes:
            return ApiError(code, _INSIDE.get(code, error.message))
    return ApiError("InternalError", _INSIDE["InternalError"])
