"""What AWS and boto3 raise, as errors of kmscore's tree."""

from __future__ import annotations

from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
)

from kmscore.algorithms import KeyState
from kmscore.errors import (
    AccessDenied,
    AlreadyExists,
    AuthenticationFailed,
    CiphertextInvalid,
    InternalError,
    InvalidRequest,
    KeyNotFound,
    KeyStateError,
    KeyUsageMismatch,
    KmsError,
    LimitExceeded,
    Throttled,
    Timeout,
    Unavailable,
    Unsupported,
)


class NamesNoKey(AccessDenied):
    """A ciphertext names no key that there is, or none that these credentials may use."""


_CLASSES: Final[dict[str, type[KmsError]]] = {
    "AccessDeniedException": AccessDenied,
    "AlreadyExistsException": AlreadyExists,
    "DependencyTimeoutException": Unavailable,
    "ExpiredTokenException": AuthenticationFailed,
    "IncorrectKeyException": CiphertextInvalid,
    "IncompleteSignature": AuthenticationFailed,
    "InternalFailure": Unavailable,
    "InvalidAliasNameException": InvalidRequest,
    "InvalidArnException": InvalidRequest,
    "InvalidCiphertextException": CiphertextInvalid,
    "InvalidClientTokenId": AuthenticationFailed,
    "InvalidKeyUsageException": KeyUsageMismatch,
    "InvalidSignatureException": AuthenticationFailed,
    "KeyUnavailableException": Unavailable,
    "KMSInternalException": Unavailable,
    "LimitExceededException": LimitExceeded,
    "MissingAuthenticationToken": AuthenticationFailed,
    "NotFoundException": KeyNotFound,
    "RequestLimitExceeded": Throttled,
    "ServiceUnavailable": Unavailable,
    "Throttling": Throttled,
    "ThrottlingException": Throttled,
    "UnrecognizedClientException": AuthenticationFailed,
    "UnsupportedOperationException": Unsupported,
    "ValidationException": InvalidRequest,
}

_OPENING: Final = ("Decrypt", "ReEncrypt")

_STATES: Final = {"DisabledException": KeyState.DISABLED, "KMSInvalidStateException": None}

_TEXTS: Final[dict[type[KmsError], tuple[str, str]]] = {
    AccessDenied: ("the credentials may not do that", "Ask for the permission in IAM or the key"),
    AuthenticationFailed: ("AWS does not accept the credentials", "Check them, and the clock"),
    KeyNotFound: ("there is no such key", "See what there is with: kmscore keys list"),
    Throttled: ("too many requests", ""),
    NamesNoKey: ("the ciphertext names no key that there is", ""),
    Unavailable: ("AWS cannot serve now", "Try again later"),
}


_FORBIDDEN: Final = "is not authorized"
"""What a refusal by IAM or a key policy says; AWS has no other code for a key that is not there."""


def code_of(error: ClientError) -> str:
    """The code of an answer, such as ``NotFoundException``."""
    return str(error.response.get("Error", {}).get("Code", ""))


def translate(error: ClientError | BotoCoreError) -> KmsError:
    """The error of kmscore for one of boto3; an unknown code is an InternalError that names it."""
    if isinstance(error, ClientError):
        return _answered(error)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return AuthenticationFailed("boto3 found no credentials", hint="Configure `credentials`")
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError):
        return Unavailable("AWS cannot be reached", hint="Check network and endpoint")
    if isinstance(error, ReadTimeoutError):
        return Timeout("AWS did not answer in time", hint="Raise `timeout`, or try again later")
    if isinstance(error, HTTPClientError):
        # A connection that breaks may break after the request was carried out.
        return Timeout("the connection to AWS broke", hint="Try again later")
    if isinstance(error, ParamValidationError):
        return InvalidRequest("boto3 refused the request", hint="A value has a wrong form or size")
    return InternalError(f"boto3 failed with {type(error).__name__}")


def _answered(error: ClientError) -> KmsError:
    code = code_of(error)
    request_id = str(error.response.get("ResponseMetadata", {}).get("RequestId", ""))
    if code in _STATES:
        state = _STATES[code]
        return KeyStateError(
            "the key's state forbids that",
            state=state.value if state else "",
            hint="See the state with: kmscore keys show",
            code=code,
            request_id=request_id,
        )
    kind = _CLASSES.get(code)
    if kind is None:
        return InternalError("AWS answered with an error", code=code, request_id=request_id)
    if kind is CiphertextInvalid:
        # Always in the same words, and without an id that would tell two failures apart.
        return CiphertextInvalid()
    refusal = str(error.response["Error"].get("Message", ""))
    if kind is AccessDenied and error.operation_name in _OPENING and _FORBIDDEN not in refusal:
        kind = NamesNoKey
    text, hint = _TEXTS.get(kind, ("AWS refused the request", "Look the code up in the API pages"))
    return kind(text, hint=hint, code=code, request_id=request_id)
