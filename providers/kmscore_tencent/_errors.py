"""Tencent's error codes as errors of kmscore: every code of the SDK's KMS module has its place.

Sources: the SDK's ``tencentcloud.kms.v20190118.errorcodes``, and the codes that all products share
(Tencent Cloud API documentation, "Common error codes").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kmscore.algorithms import KeyState
from kmscore.errors import (
    AccessDenied,
    AlreadyExists,
    AuthenticationFailed,
    CiphertextInvalid,
    ImportMaterialInvalid,
    ImportTokenExpired,
    InternalError,
    InvalidRequest,
    KeyNotFound,
    KeyStateError,
    KeyUsageMismatch,
    KmsError,
    LimitExceeded,
    MaterialMismatch,
    Throttled,
    Unavailable,
    Unsupported,
)

Make = Callable[[str], KmsError]


def _kind(error: type[KmsError], message: str, hint: str = "") -> Make:
    return lambda _action: error(message, hint=hint)


def _state(state: KeyState | None, message: str) -> Make:
    return lambda _action: KeyStateError(message, state=state.value if state else "")


def _usage(action: str) -> KmsError:
    # Where a key is made, the usage itself is wrong; elsewhere the key has another one.
    if action == "CreateKey":
        return InvalidRequest("the service does not know this key usage")
    return KeyUsageMismatch("the key's usage is another")


_CLOCK: Final = "Set this machine's clock: requests more than 5 minutes off are refused"
_MOST_CHARACTERS: Final = 128
_BUSY: Final = "The service limits requests per second and account"

CODES: Final[dict[str, Make]] = {
    # Who asks
    "AuthFailure": _kind(AuthenticationFailed, "the service does not accept the credentials"),
    "AuthFailure.InvalidAuthorization": _kind(AuthenticationFailed, "the signature is malformed"),
    "AuthFailure.InvalidSecretId": _kind(AuthenticationFailed, "this is no API secret id"),
    "AuthFailure.MFAFailure": _kind(AuthenticationFailed, "multi-factor authentication failed"),
    "AuthFailure.SecretIdNotFound": _kind(AuthenticationFailed, "the secret id does not exist"),
    "AuthFailure.SignatureExpire": _kind(AuthenticationFailed, "the request's time is off", _CLOCK),
    "AuthFailure.SignatureFailure": _kind(
        AuthenticationFailed, "the signature is wrong", "Check the secret key"
    ),
    "AuthFailure.TokenFailure": _kind(AuthenticationFailed, "the session token is wrong or old"),
    "AuthFailure.UnauthorizedOperation": _kind(AccessDenied, "the account may not do that"),
    "UnauthorizedOperation": _kind(AccessDenied, "the account may not do that"),
    "IpInBlacklist": _kind(AccessDenied, "this machine's address is blocked"),
    "IpNotInWhitelist": _kind(AccessDenied, "this machine's address is not allowed"),
    "UnsupportedOperation.NotRoleOperation": _kind(AccessDenied, "a role may not do that"),
    "UnsupportedOperation.NotUserCreatedCmk": _kind(
        AccessDenied, "the key belongs to a cloud product"
    ),
    "FailedOperation.CmkUsedByCloudProduct": _kind(AccessDenied, "a cloud product uses the key"),
    # Which key
    "ResourceUnavailable.CmkNotFound": _kind(KeyNotFound, "there is no such key"),
    "InvalidParameterValue.InvalidKeyId": _kind(KeyNotFound, "there is no such key"),
    "InvalidParameterValue.InvalidDataKeyId": _kind(KeyNotFound, "there is no such data key"),
    "ResourceUnavailable.DataKeyNotFound": _kind(KeyNotFound, "there is no such data key"),
    "ResourceNotFound": _kind(KeyNotFound, "there is no such key"),
    "ResourceUnavailable.CloudResourceBindingNotFound": _kind(
        KeyNotFound, "the key is not bound to that resource"
    ),
    "InvalidParameterValue.AliasAlreadyExists": _kind(AlreadyExists, "the alias is taken"),
    "InvalidParameterValue.DataKeyNameAlreadyExists": _kind(AlreadyExists, "the name is taken"),
    "InvalidParameterValue.InvalidKeyUsage": _usage,
    # In which state
    "ResourceUnavailable.CmkDisabled": _state(KeyState.DISABLED, "the key is disabled"),
    "ResourceUnavailable.CmkArchived": _state(KeyState.ARCHIVED, "the key is archived"),
    "ResourceUnavailable.KeyPendingDelete": _state(
        KeyState.PENDING_DELETION, "the key is pending deletion"
    ),
    "ResourceUnavailable.CmkStateNotSupport": _state(None, "the key's state forbids it"),
    "ResourceUnavailable.CmkShouldBeDisabled": _state(
        None, "only a disabled key is scheduled for deletion"
    ),
    "ResourceUnavailable.CmkNotPendingDelete": _state(None, "the key is not pending deletion"),
    "ResourceUnavailable.DataKeyDisabled": _state(KeyState.DISABLED, "the data key is disabled"),
    "ResourceUnavailable.DataKeyPendingDelete": _state(
        KeyState.PENDING_DELETION, "the data key is pending deletion"
    ),
    "ResourceUnavailable.DataKeyNotPendingDelete": _state(
        None, "the data key is not pending deletion"
    ),
    "ResourceUnavailable.DataKeyStateNotSupport": _state(None, "the data key's state forbids it"),
    "ResourceUnavailable.KeyDisabled": _state(KeyState.DISABLED, "the key is disabled"),
    "FailedOperation.RotateTaskRunning": _state(None, "the key is being rotated already"),
    # With which data
    "InvalidParameterValue.InvalidCiphertext": lambda _action: CiphertextInvalid(),
    "FailedOperation.DecryptError": lambda _action: CiphertextInvalid(),
    "InvalidParameter.DecryptMaterialError": _kind(
        ImportMaterialInvalid, "the wrapped material cannot be used"
    ),
    "InvalidParameterValue.InvalidImportKeyMaterial": _kind(
        ImportMaterialInvalid, "the wrapped material cannot be used"
    ),
    "InvalidParameterValue.MaterialNotMatch": _kind(
        MaterialMismatch, "the key once held other material", "Import the identical material"
    ),
    "ResourceUnavailable.TokenExpired": _kind(
        ImportTokenExpired, "the import token is too old", "Fetch new import parameters"
    ),
    "InvalidParameter": _kind(InvalidRequest, "an argument has the wrong form"),
    "InvalidParameterValue": _kind(InvalidRequest, "an argument has a wrong value"),
    "InvalidParameter.InvalidPendingWindowInDays": _kind(
        InvalidRequest, "the waiting time must be 7 to 30 days"
    ),
    "InvalidParameterValue.DuplicatedDataKeyId": _kind(InvalidRequest, "an id is given twice"),
    "InvalidParameterValue.DuplicatedKeyId": _kind(InvalidRequest, "an id is given twice"),
    "InvalidParameterValue.InvalidAlias": _kind(
        InvalidRequest, "the alias is not allowed", "1 to 60 letters, digits, - and _"
    ),
    "InvalidParameterValue.InvalidDataKeyName": _kind(InvalidRequest, "the name is not allowed"),
    "InvalidParameterValue.InvalidHsmClusterId": _kind(InvalidRequest, "no such HSM cluster"),
    "InvalidParameterValue.InvalidPlaintext": _kind(InvalidRequest, "the plaintext is not allowed"),
    "InvalidParameterValue.InvalidType": _kind(InvalidRequest, "the type is not allowed"),
    "InvalidParameterValue.TagKeysDuplicated": _kind(InvalidRequest, "a tag is given twice"),
    "InvalidParameterValue.TagsNotExisted": _kind(InvalidRequest, "there is no such tag"),
    "MissingParameter": _kind(InvalidRequest, "an argument is missing"),
    "UnknownParameter": _kind(InvalidRequest, "the service does not know an argument"),
    "InvalidRequest": _kind(InvalidRequest, "the service cannot read the request"),
    "UnsupportedOperation.NotExternalCmk": _kind(
        InvalidRequest, "the key's material was generated, not imported"
    ),
    # How much
    "LimitExceeded": _kind(LimitExceeded, "a quota is used up"),
    "LimitExceeded.CmkLimitExceeded": _kind(LimitExceeded, "the account has too many keys"),
    "LimitExceeded.DataKeyLimitExceeded": _kind(LimitExceeded, "too many hosted data keys"),
    "LimitExceeded.FingerprintsLimitExceeded": _kind(LimitExceeded, "too many fingerprints"),
    "LimitExceeded.KeyLimitExceeded": _kind(LimitExceeded, "the account has too many keys"),
    "RequestSizeLimitExceeded": _kind(LimitExceeded, "the request is too large"),
    "ResponseSizeLimitExceeded": _kind(LimitExceeded, "the answer would be too large"),
    "RequestLimitExceeded.RotateRateLimited": _kind(
        LimitExceeded, "the key was rotated within the last 24 hours"
    ),
    "RequestLimitExceeded": _kind(Throttled, "too many requests", _BUSY),
    "RequestLimitExceeded.GlobalRegionUinLimitExceeded": _kind(
        Throttled, "too many requests", _BUSY
    ),
    "RequestLimitExceeded.IPLimitExceeded": _kind(Throttled, "too many requests", _BUSY),
    "RequestLimitExceeded.UinLimitExceeded": _kind(Throttled, "too many requests", _BUSY),
    # What the service cannot do
    "InvalidAction": _kind(Unsupported, "the service does not know this action"),
    "ActionOffline": _kind(Unsupported, "the service no longer has this action"),
    "NoSuchProduct": _kind(Unsupported, "the endpoint is not the KMS"),
    "NoSuchVersion": _kind(Unsupported, "the endpoint does not know API version 2019-01-18"),
    "UnsupportedOperation": _kind(Unsupported, "the service does not do that"),
    "UnsupportedProtocol": _kind(Unsupported, "the service does not take this kind of request"),
    "UnsupportedRegion": _kind(Unsupported, "the service is not in this region"),
    "UnsupportedOperation.ExternalCmkCanNotRotate": _kind(
        Unsupported, "asymmetric and external keys do not rotate"
    ),
    "UnsupportedOperation.RotateNotSupported": _kind(
        Unsupported, "asymmetric and external keys do not rotate"
    ),
    "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion": _kind(
        Unsupported, "the region has no keys of this usage"
    ),
    "UnsupportedOperation.UserVersionNotSupport": _kind(
        Unsupported, "the account's edition of KMS does not include it"
    ),
    "ResourceUnavailable.NotPurchased": _kind(Unsupported, "the account has not bought this"),
    # The service itself
    "ServiceUnavailable": _kind(Unavailable, "the service cannot serve now"),
    "UnsupportedOperation.ServiceTemporaryUnavailable": _kind(
        Unavailable, "the service cannot serve now"
    ),
    "InternalError": _kind(Unavailable, "the service had an error of its own"),
    "ResourceInsufficient": _kind(Unavailable, "the service has no resources left"),
    "ResourceUnavailable": _kind(Unavailable, "the service cannot serve now"),
    "ResourceInUse": _kind(KeyStateError, "the key is in use"),
    "FailedOperation": _kind(InternalError, "the operation failed inside the service"),
    "FailedOperation.EncryptionError": _kind(InternalError, "the service could not encrypt"),
    "FailedOperation.SignError": _kind(InternalError, "the service could not sign"),
    "FailedOperation.VerifyError": _kind(InternalError, "the service could not verify"),
    "FailedOperation.TaggingError": _kind(InternalError, "the service could not set tags"),
    "DryRunOperation": _kind(InternalError, "the request was a dry run"),
}


FAMILIES: Final = frozenset(
    {
        "AuthFailure",
        "InternalError",
        "InvalidParameter",
        "InvalidParameterValue",
        "LimitExceeded",
        "MissingParameter",
        "RequestLimitExceeded",
        "UnauthorizedOperation",
        "UnsupportedOperation",
    }
)
"""Main codes whose sub-codes all ask the same of the caller; a new one counts as its main code."""


def from_code(code: str, action: str, request_id: str) -> KmsError:
    """The error for a code, with the service's code and request id.

    The service's own message is left out: it is in the language of the account, and may repeat
    what was sent.
    """
    make = CODES.get(code)
    if make is None:
        family = code.partition(".")[0]
        make = CODES[family] if family in FAMILIES else _unknown
    error = make(action)
    error.code = plain(code)
    error.request_id = plain(request_id)
    return error


def plain(text: str) -> str:
    """A code or an id that a service sent, fit for messages and logs, whoever that was."""
    return "".join(c if c.isprintable() else "?" for c in text[:_MOST_CHARACTERS])


def _unknown(_action: str) -> KmsError:
    return InternalError("the service answered with an error code that is not known here")
