"""PKCS#11 return values as errors of kmscore: every CKR code has its place, by function.

The same code means different things in different functions: ``CKR_DATA_LEN_RANGE`` of C_Decrypt is
a bad ciphertext, of C_Sign a bad argument. So the function's name is part of the question.

Names and numbers: OASIS PKCS#11 Specification 3.2, header ``pkcs11t.h``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from kmscore.algorithms import KeyState
from kmscore.errors import (
    AccessDenied,
    AuthenticationFailed,
    CiphertextInvalid,
    ConfigError,
    ImportMaterialInvalid,
    IntegrityError,
    InternalError,
    InvalidRequest,
    KeyNotFound,
    KeyStateError,
    KmsError,
    LimitExceeded,
    Unavailable,
    Unsupported,
)


class Meaning(NamedTuple):
    """What a code means: the class of the error, its message, and what to do about it."""

    error: type[KmsError]
    message: str
    hint: str = ""


_GONE: Final = Meaning(Unavailable, "the connection to the token was lost")
_BUSY: Final = Meaning(Unavailable, "the token cannot serve now")
_STALE: Final = Meaning(Unavailable, "the key's handle is no longer valid")
_PIN: Final = Meaning(
    AuthenticationFailed,
    "the token does not accept the PIN",
    "Correct the PIN that the configuration refers to; too many wrong ones lock the token",
)
_BAD_DATA: Final = Meaning(InvalidRequest, "the token does not take this data")
_TEMPLATE: Final = Meaning(InvalidRequest, "the token does not make such a key")
_CANNOT: Final = Meaning(Unsupported, "the token cannot do that")
_FORBIDDEN: Final = Meaning(AccessDenied, "the token does not allow that")
_CIPHERTEXT: Final = Meaning(CiphertextInvalid, CiphertextInvalid().message)
_MATERIAL: Final = Meaning(ImportMaterialInvalid, "the wrapped material cannot be used")
_OFF: Final = Meaning(
    KeyStateError,
    "the key is disabled on the token",
    "Another tool did that, or a newer copy of the registry: see kmscore keys reconcile",
)
_FULL: Final = Meaning(
    LimitExceeded, "the token has no room for another key", "Destroy keys that are not needed"
)
_DEFECT: Final = Meaning(InternalError, "the token gave an answer that makes no sense here")

CODES: Final[Mapping[int, tuple[str, Meaning]]] = MappingProxyType(
    {
        0x000: ("OK", _DEFECT),
        0x001: ("CANCEL", _BUSY),
        0x002: ("HOST_MEMORY", _BUSY),
        0x003: ("SLOT_ID_INVALID", _GONE),
        0x005: ("GENERAL_ERROR", Meaning(Unavailable, "the token failed and does not say why")),
        0x006: ("FUNCTION_FAILED", Meaning(Unavailable, "the token failed and does not say why")),
        0x007: ("ARGUMENTS_BAD", _DEFECT),
        0x008: ("NO_EVENT", _DEFECT),
        0x009: ("NEED_TO_CREATE_THREADS", _CANNOT),
        0x00A: ("CANT_LOCK", Meaning(Unsupported, "the module cannot be used by several threads")),
        0x010: ("ATTRIBUTE_READ_ONLY", _FORBIDDEN),
        0x011: ("ATTRIBUTE_SENSITIVE", _FORBIDDEN),
        0x012: ("ATTRIBUTE_TYPE_INVALID", _CANNOT),
        0x013: ("ATTRIBUTE_VALUE_INVALID", _TEMPLATE),
        0x01B: ("ACTION_PROHIBITED", _FORBIDDEN),
        0x020: ("DATA_INVALID", _BAD_DATA),
        0x021: ("DATA_LEN_RANGE", _BAD_DATA),
        0x030: ("DEVICE_ERROR", _GONE),
        0x031: ("DEVICE_MEMORY", Meaning(Unavailable, "the token has no memory left")),
        0x032: ("DEVICE_REMOVED", _GONE),
        0x040: ("ENCRYPTED_DATA_INVALID", _CIPHERTEXT),
        0x041: ("ENCRYPTED_DATA_LEN_RANGE", _CIPHERTEXT),
        0x042: ("AEAD_DECRYPT_FAILED", _CIPHERTEXT),
        0x050: ("FUNCTION_CANCELED", _BUSY),
        0x051: ("FUNCTION_NOT_PARALLEL", _DEFECT),
        0x054: ("FUNCTION_NOT_SUPPORTED", _CANNOT),
        0x060: ("KEY_HANDLE_INVALID", _STALE),
        0x062: ("KEY_SIZE_RANGE", Meaning(InvalidRequest, "the token has no keys of this size")),
        0x063: ("KEY_TYPE_INCONSISTENT", _DEFECT),
        0x064: ("KEY_NOT_NEEDED", _DEFECT),
        0x065: ("KEY_CHANGED", _DEFECT),
        0x066: ("KEY_NEEDED", _DEFECT),
        0x067: ("KEY_INDIGESTIBLE", _DEFECT),
        0x068: ("KEY_FUNCTION_NOT_PERMITTED", _OFF),
        0x069: ("KEY_NOT_WRAPPABLE", _FORBIDDEN),
        0x06A: ("KEY_UNEXTRACTABLE", _FORBIDDEN),
        0x070: ("MECHANISM_INVALID", _CANNOT),
        0x071: ("MECHANISM_PARAM_INVALID", _CANNOT),
        0x082: ("OBJECT_HANDLE_INVALID", _STALE),
        0x090: ("OPERATION_ACTIVE", _BUSY),
        0x091: ("OPERATION_NOT_INITIALIZED", _BUSY),
        0x0A0: ("PIN_INCORRECT", _PIN),
        0x0A1: ("PIN_INVALID", _PIN),
        0x0A2: ("PIN_LEN_RANGE", _PIN),
        0x0A3: (
            "PIN_EXPIRED",
            Meaning(AuthenticationFailed, "the PIN has expired", "Set a new one on the token"),
        ),
        0x0A4: (
            "PIN_LOCKED",
            Meaning(
                AuthenticationFailed,
                "the PIN is locked after too many wrong tries",
                "Have the token's security officer set a new PIN",
            ),
        ),
        0x0B0: ("SESSION_CLOSED", _GONE),
        0x0B1: ("SESSION_COUNT", Meaning(Unavailable, "the token has no free session")),
        0x0B3: ("SESSION_HANDLE_INVALID", _GONE),
        0x0B4: ("SESSION_PARALLEL_NOT_SUPPORTED", _DEFECT),
        0x0B5: ("SESSION_READ_ONLY", _FORBIDDEN),
        0x0B6: ("SESSION_EXISTS", _DEFECT),
        0x0B7: ("SESSION_READ_ONLY_EXISTS", _DEFECT),
        0x0B8: ("SESSION_READ_WRITE_SO_EXISTS", _DEFECT),
        0x0C0: ("SIGNATURE_INVALID", _DEFECT),
        0x0C1: ("SIGNATURE_LEN_RANGE", _DEFECT),
        0x0D0: ("TEMPLATE_INCOMPLETE", _TEMPLATE),
        0x0D1: ("TEMPLATE_INCONSISTENT", _TEMPLATE),
        0x0E0: ("TOKEN_NOT_PRESENT", Meaning(Unavailable, "there is no token in the slot")),
        0x0E1: ("TOKEN_NOT_RECOGNIZED", Meaning(Unavailable, "the module cannot read the token")),
        0x0E2: ("TOKEN_WRITE_PROTECTED", Meaning(AccessDenied, "the token is write-protected")),
        0x0F0: ("UNWRAPPING_KEY_HANDLE_INVALID", _STALE),
        0x0F1: ("UNWRAPPING_KEY_SIZE_RANGE", _CANNOT),
        0x0F2: ("UNWRAPPING_KEY_TYPE_INCONSISTENT", _CANNOT),
        0x100: ("USER_ALREADY_LOGGED_IN", _DEFECT),
        0x101: ("USER_NOT_LOGGED_IN", Meaning(AuthenticationFailed, "the login was lost")),
        0x102: (
            "USER_PIN_NOT_INITIALIZED",
            Meaning(
                AuthenticationFailed, "the token has no user PIN yet", "Initialise the token first"
            ),
        ),
        0x103: ("USER_TYPE_INVALID", _DEFECT),
        0x104: (
            "USER_ANOTHER_ALREADY_LOGGED_IN",
            Meaning(AccessDenied, "the security officer is logged in on this token"),
        ),
        0x105: ("USER_TOO_MANY_TYPES", _FORBIDDEN),
        0x110: ("WRAPPED_KEY_INVALID", _MATERIAL),
        0x112: ("WRAPPED_KEY_LEN_RANGE", _MATERIAL),
        0x113: ("WRAPPING_KEY_HANDLE_INVALID", _STALE),
        0x114: ("WRAPPING_KEY_SIZE_RANGE", _CANNOT),
        0x115: ("WRAPPING_KEY_TYPE_INCONSISTENT", _CANNOT),
        0x120: ("RANDOM_SEED_NOT_SUPPORTED", _CANNOT),
        0x121: ("RANDOM_NO_RNG", _CANNOT),
        0x130: ("DOMAIN_PARAMS_INVALID", _TEMPLATE),
        0x140: ("CURVE_NOT_SUPPORTED", _CANNOT),
        0x150: ("BUFFER_TOO_SMALL", _DEFECT),
        0x160: ("SAVED_STATE_INVALID", _DEFECT),
        0x170: ("INFORMATION_SENSITIVE", _FORBIDDEN),
        0x180: ("STATE_UNSAVEABLE", _CANNOT),
        0x190: ("CRYPTOKI_NOT_INITIALIZED", _GONE),
        0x191: ("CRYPTOKI_ALREADY_INITIALIZED", _DEFECT),
        0x1A0: ("MUTEX_BAD", _DEFECT),
        0x1A1: ("MUTEX_NOT_LOCKED", _DEFECT),
        0x1B0: ("NEW_PIN_MODE", _PIN),
        0x1B1: ("NEXT_OTP", _PIN),
        0x1B5: ("EXCEEDED_MAX_ITERATIONS", _BUSY),
        0x1B6: (
            "FIPS_SELF_TEST_FAILED",
            Meaning(InternalError, "the token's self-test failed", "Take it out of service"),
        ),
        0x1B7: ("LIBRARY_LOAD_FAILED", Meaning(ConfigError, "the module lacks a library")),
        0x1B8: ("PIN_TOO_WEAK", _PIN),
        0x1B9: ("PUBLIC_KEY_INVALID", _DEFECT),
        0x200: ("FUNCTION_REJECTED", _FORBIDDEN),
        0x201: ("TOKEN_RESOURCE_EXCEEDED", _BUSY),
        0x202: ("OPERATION_CANCEL_FAILED", _BUSY),
        0x203: (
            "KEY_EXHAUSTED",
            Meaning(LimitExceeded, "the key has been used as often as the token allows"),
        ),
        0x204: ("PENDING", _BUSY),
        0x205: ("SESSION_ASYNC_NOT_SUPPORTED", _DEFECT),
        0x206: ("SEED_RANDOM_REQUIRED", _BUSY),
        0x207: ("OPERATION_NOT_VALIDATED", _FORBIDDEN),
        0x208: (
            "TOKEN_NOT_INITIALIZED",
            Meaning(ConfigError, "the token is not initialised", "Initialise it, and set its PIN"),
        ),
        0x209: ("PARAMETER_SET_NOT_SUPPORTED", _CANNOT),
    }
)
"""Number to name, without CKR_, and what it means where nothing below says otherwise."""

VENDOR: Final = 0x8000_0000
"""From here on, numbers are the vendor's own."""

LOST: Final = frozenset(
    {0x003, 0x030, 0x031, 0x032, 0x0B0, 0x0B3, 0x0E0, 0x0E1, 0x101, 0x190},
)
"""After these the library is initialised again, the PIN given again and every key looked up."""

STALE: Final = frozenset({0x060, 0x082, 0x0F0, 0x113})
"""After these the key is looked up once more: somebody may have destroyed it."""

WRONG_SIGNATURE: Final = frozenset({0x0C0, 0x0C1})
"""What C_Verify says of a wrong signature: a result, not a failure."""

_ARGUMENTS_BAD: Final = 0x007
_VAGUE: Final = frozenset({0x005, 0x006})
_OPENING: Final = frozenset({"C_Decrypt", "C_DecryptFinal", "C_DecryptUpdate"})
_MAKING: Final = frozenset(
    {"C_CreateObject", "C_CopyObject", "C_GenerateKey", "C_GenerateKeyPair", "C_UnwrapKey"}
)
_ROOM: Final = {0x002: _FULL, 0x031: _FULL}
_ARGUMENTS: Final = {
    # Our arguments were checked: the token does not take this combination, as SoftHSM 2.6 does not
    # take OAEP with SHA-256.
    0x007: _CANNOT,
    # What a key is for was settled when it was made; NSS says this when the usage flag was taken.
    0x063: _OFF,
}


def _each(
    functions: Iterable[str], meanings: Mapping[int, Meaning]
) -> dict[str, dict[int, Meaning]]:
    return {function: dict(meanings) for function in functions}


_BY_FUNCTION: Final[Mapping[str, Mapping[int, Meaning]]] = MappingProxyType(
    {
        **_each(_OPENING, {0x020: _CIPHERTEXT, 0x021: _CIPHERTEXT}),
        **_each(_MAKING, _ROOM),
        **_each(
            ("C_EncryptInit", "C_DecryptInit", "C_SignInit", "C_VerifyInit"),
            _ARGUMENTS,
        ),
        "C_Initialize": {
            0x007: Meaning(
                ConfigError,
                "the module does not take these initialisation parameters",
                "Set the option init_args; NSS: \"configdir='sql:/path' flags=\"",
            ),
            0x002: Meaning(
                Unavailable,
                "the module could not be initialised",
                "opencryptoki says this when pkcsslotd is not running, or when the user is not in "
                "the group pkcs11",
            ),
            0x005: Meaning(
                Unavailable,
                "the module could not be initialised",
                "SoftHSM says this when it cannot read its configuration: see SOFTHSM2_CONF",
            ),
        },
        "C_UnwrapKey": {
            **_ROOM,
            # From here on the material is the reason.
            **dict.fromkeys((0x020, 0x021, 0x040, 0x041, 0x042, 0x062, 0x110, 0x112), _MATERIAL),
            0x007: _CANNOT,
            0x063: _CANNOT,
            0x068: _OFF,
        },
        "C_WrapKey": {0x007: _CANNOT},
        "C_DestroyObject": {0x005: _FORBIDDEN},
    }
)

_EXCEPTION_OF: Final = MappingProxyType(
    # Names of python-pkcs11's classes that do not follow from the code's name.
    {
        "ANOTHER_USER_ALREADY_LOGGED_IN": 0x104,
        "FUNCTION_CANCELLED": 0x050,
        "TOKEN_NOT_RECOGNISED": 0x0E1,
        "RANDOM_NO_RNG": 0x121,
        "SESSION_READ_WRITE_SO_EXISTS": 0x0B8,
        "SLOT_ID_INVALID": 0x003,
    }
)
_NUMBER_OF: Final = MappingProxyType({name: code for code, (name, _) in CODES.items()})
_SPOKEN: Final = MappingProxyType(
    # These lose their number in the binding.
    {
        "Buffer was too small": 0x150,
        "Initialisation error (already initialized)": 0x191,
        "Initialisation error (not initialized)": 0x190,
        "Parallel not supported": 0x0B4,
        "User type invalid": 0x103,
    }
)
_BY_CLASS: Final = MappingProxyType(
    # Exceptions of the binding itself, behind which no code stands.
    {
        "NoSuchKey": Meaning(KeyNotFound, "there is no such key on the token"),
        "MultipleObjectsReturned": Meaning(
            IntegrityError, "several keys on the token share one CKA_ID", "Keep only the right one"
        ),
        "NoSuchToken": Meaning(Unavailable, "the token is not there"),
        "MultipleTokensReturned": Meaning(
            ConfigError, "several tokens fit", "Name the token by its serial number, too"
        ),
    }
)
_METHODS: Final = frozenset({"decrypt", "encrypt", "sign", "unwrap_key", "verify", "wrap_key"})
_UNMAPPED: Final = re.compile(r"Unmapped error code (0x[0-9a-fA-F]{1,16})")


def is_lost(code: int | None, function: str) -> bool:
    """Whether the token was lost, and must be connected anew; not when it has no room for a key."""
    return code in LOST and not (code == 0x031 and function in _MAKING)


def name_of(code: int) -> str:
    """``CKR_PIN_INCORRECT`` for 0xA0; numbers without a name are shown in hex."""
    if code in CODES:
        return f"CKR_{CODES[code][0]}"
    return f"CKR_VENDOR_DEFINED+{code - VENDOR:#x}" if code >= VENDOR else f"CKR {code:#x}"


def needs_self_check(code: int, function: str) -> bool:
    """Whether only a trial tells a bad ciphertext from a token that is in trouble.

    SoftHSM 2.6 and opencryptoki answer a wrong tag or padding like any other failure, and NSS a
    number that is not below the modulus like a defect of ours. When the key passes a trial, the
    ciphertext is to blame; else the token is.
    """
    if function in _OPENING:
        return code in _VAGUE or code == _ARGUMENTS_BAD
    return code in _VAGUE and function == "C_UnwrapKey"


def from_code(code: int, function: str) -> KmsError:
    """The error for what a function returned.

    Args:
        code: The CK_RV.
        function: The name of the function, such as ``C_Decrypt``.
    """
    meaning = _BY_FUNCTION.get(function, {}).get(code)
    if meaning is None:
        meaning = CODES[code][1] if code in CODES else _DEFECT
    return _make(meaning, f"{name_of(code)} from {function}")


def code_of(error: BaseException) -> int | None:
    """The CK_RV behind an exception of python-pkcs11, or None when there is none."""
    kind = type(error)
    if kind.__module__ != "pkcs11.exceptions":
        return None
    text = str(error)
    unmapped = _UNMAPPED.match(text)
    if unmapped:
        return int(unmapped[1], 16)
    for beginning, code in _SPOKEN.items():
        if text.startswith(beginning):
            return code
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind.__name__).upper()
    return _EXCEPTION_OF.get(name, _NUMBER_OF.get(name))


def translate(error: BaseException, function: str) -> KmsError:
    """The error of kmscore for an exception of python-pkcs11; to be raised from that exception.

    Args:
        error: What the binding raised. Errors of kmscore pass unchanged.
        function: The name of the PKCS#11 function that was called, such as ``C_Decrypt``.
    """
    if isinstance(error, KmsError):
        return error
    code = code_of(error)
    if code is not None:
        return from_code(code, function)
    kind = type(error)
    if kind.__module__ == "pkcs11.exceptions" and kind.__name__ in _BY_CLASS:
        return _make(_BY_CLASS[kind.__name__], kind.__name__)
    if isinstance(error, AttributeError) and error.name in _METHODS:
        # The binding gives a key no method for which the token has cleared the usage flag.
        return _make(_OFF, f"no such method before {function}")
    return _make(
        Meaning(InternalError, "the PKCS#11 binding failed"), f"{kind.__name__} in {function}"
    )


def _make(meaning: Meaning, code: str) -> KmsError:
    if meaning.error is KeyStateError:
        return KeyStateError(
            meaning.message, state=KeyState.DISABLED.value, hint=meaning.hint, code=code
        )
    return meaning.error(meaning.message, hint=meaning.hint, code=code)
