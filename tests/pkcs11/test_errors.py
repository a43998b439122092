"""Every return value of PKCS#11 is an error of the tree, whichever way the binding reports it."""

import inspect
import re
from pathlib import Path

import pkcs11
import pytest
from kmscore_pkcs11 import _errors
from kmscore_pkcs11._errors import (
    CODES,
    LOST,
    STALE,
    code_of,
    from_code,
    name_of,
    needs_self_check,
    translate,
)
from pkcs11 import exceptions

from kmscore import errors
from kmscore.errors import CiphertextInvalid, InternalError, KmsError

HEADER = {
    name: int(number, 16)
    for name, number in (
        line.split()
        for line in (Path(__file__).parent / "codes.txt").read_text().splitlines()
        if not line.startswith("#")
    )
}
BINDING = Path(pkcs11.__file__).parent / "_pkcs11.pxd"
CLASSES = [
    each
    for _, each in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(each, exceptions.PKCS11Error) and each is not exceptions.PKCS11Error
]
FUNCTIONS = [
    *("C_Initialize", "C_OpenSession", "C_Login", "C_FindObjects", "C_GetAttributeValue"),
    *("C_EncryptInit", "C_Encrypt", "C_DecryptInit", "C_Decrypt", "C_SignInit", "C_Sign"),
    *("C_GenerateKey", "C_GenerateKeyPair", "C_CreateObject", "C_UnwrapKey", "C_DestroyObject"),
    *("C_VerifyInit", "C_Verify", "C_SetAttributeValue", "C_GenerateRandom", "C_WrapKey"),
]


def test_every_code_of_the_standard_has_its_place():
    """By name and number."""
    for name, number in HEADER.items():
        if name != "CKR_VENDOR_DEFINED":
            assert f"CKR_{CODES[number][0]}" == name
    assert set(CODES) == set(HEADER.values()) - {_errors.VENDOR}


def test_every_code_that_the_binding_knows_has_its_place():
    """A new version of the binding may bring new ones."""
    named = set(re.findall(r"^\s+(CKR_\w+),$", BINDING.read_text(), re.MULTILINE))
    assert len(named) > 90
    assert named <= set(HEADER)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_exception_of_the_binding_is_translated(kind):
    """By its code, or by its class where no code stands behind it; never as a defect by mistake."""
    code = code_of(kind())
    error = translate(kind(), "C_Login")
    assert isinstance(error, KmsError)
    if code is None:
        assert kind.__name__ in {
            *("NoSuchKey", "NoSuchToken", "MultipleObjectsReturned", "MultipleTokensReturned")
        }
        assert not isinstance(error, InternalError)
    elif not isinstance(error, CiphertextInvalid):
        assert error.code == f"CKR_{CODES[code][0]} from C_Login"


def raised_by_the_binding():
    """What the binding makes of each code, read from its own source."""
    source = BINDING.read_text()
    pairs = re.findall(r"rv == (CKR_\w+):\s+exc = (\w+)\((?:\"([^\"]*)\")?\)", source)
    assert len(pairs) > 70
    return pairs


@pytest.mark.parametrize(("name", "kind", "text"), raised_by_the_binding())
def test_the_number_behind_an_exception_is_found_again(name, kind, text):
    """Also behind those that the binding says in words."""
    exception = getattr(exceptions, kind)
    assert code_of(exception(text) if text else exception()) == HEADER[name]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Unmapped error code 0x68", 0x68),
        ("Unmapped error code 0x1b", 0x1B),
        ("Unmapped error code 0x80000391", 0x80000391),
        ("Unmapped error code 0x9999", 0x9999),
        ("Something else", None),
        ("", None),
    ],
)
def test_codes_that_the_binding_does_not_map(text, number):
    """The number is read from the text."""
    assert code_of(exceptions.PKCS11Error(text)) == number
    error = translate(exceptions.PKCS11Error(text), "C_Sign")
    assert type(error) is not KmsError
    if number == 0x68:
        assert isinstance(error, errors.KeyStateError)
        assert error.state == "DISABLED"
    if number == 0x80000391:
        assert error.code == "CKR_VENDOR_DEFINED+0x391 from C_Sign"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_has_an_error_for_every_number(function):
    """Known, unknown and vendors' own numbers; the message never changes with secret data."""
    for code in [*CODES, 0x9999, 0x8000_0001, 0xFFFF_FFFF_FFFF_FFFF]:
        error = from_code(code, function)
        assert isinstance(error, KmsError)
        assert type(error) is not KmsError
        assert error.message
        uniform = isinstance(error, CiphertextInvalid)
        assert error.code == ("" if uniform else f"{name_of(code)} from {function}")


def test_bad_ciphertexts_are_told_alike():
    """The token's code would say whether format, padding or tag was wrong."""
    codes = ("ENCRYPTED_DATA_INVALID", "ENCRYPTED_DATA_LEN_RANGE", "AEAD_DECRYPT_FAILED")
    numbers = [code for code, (name, _) in CODES.items() if name in codes]
    assert len(numbers) == 3
    assert {str(from_code(code, "C_Decrypt")) for code in numbers} == {str(CiphertextInvalid())}


@pytest.mark.parametrize(
    ("code", "function", "expected"),
    [
        ("DATA_LEN_RANGE", "C_Sign", "InvalidRequest"),
        ("DATA_LEN_RANGE", "C_Decrypt", "CiphertextInvalid"),
        ("ENCRYPTED_DATA_INVALID", "C_Decrypt", "CiphertextInvalid"),
        ("ENCRYPTED_DATA_INVALID", "C_UnwrapKey", "ImportMaterialInvalid"),
        ("WRAPPED_KEY_LEN_RANGE", "C_UnwrapKey", "ImportMaterialInvalid"),
        ("KEY_SIZE_RANGE", "C_UnwrapKey", "ImportMaterialInvalid"),
        ("KEY_SIZE_RANGE", "C_GenerateKey", "InvalidRequest"),
        ("ARGUMENTS_BAD", "C_DecryptInit", "Unsupported"),
        ("ARGUMENTS_BAD", "C_Decrypt", "InternalError"),
        ("ARGUMENTS_BAD", "C_Initialize", "ConfigError"),
        ("KEY_TYPE_INCONSISTENT", "C_EncryptInit", "KeyStateError"),
        ("KEY_FUNCTION_NOT_PERMITTED", "C_SignInit", "KeyStateError"),
        ("HOST_MEMORY", "C_GenerateKey", "LimitExceeded"),
        ("DEVICE_MEMORY", "C_CreateObject", "LimitExceeded"),
        ("DEVICE_MEMORY", "C_Encrypt", "Unavailable"),
        ("PIN_INCORRECT", "C_Login", "AuthenticationFailed"),
        ("PIN_LOCKED", "C_Login", "AuthenticationFailed"),
        ("USER_NOT_LOGGED_IN", "C_SignInit", "AuthenticationFailed"),
        ("DEVICE_ERROR", "C_Sign", "Unavailable"),
        ("GENERAL_ERROR", "C_Sign", "Unavailable"),
        ("KEY_UNEXTRACTABLE", "C_WrapKey", "AccessDenied"),
        ("MECHANISM_INVALID", "C_SignInit", "Unsupported"),
        ("TEMPLATE_INCONSISTENT", "C_GenerateKey", "InvalidRequest"),
    ],
)
def test_what_a_code_means_depends_on_the_function(code, function, expected):
    """The caller can do something else about a bad ciphertext than about a bad argument."""
    error = from_code(HEADER[f"CKR_{code}"], function)
    assert type(error) is getattr(errors, expected)


@pytest.mark.parametrize(
    ("code", "named"),
    [("GENERAL_ERROR", "SOFTHSM2_CONF"), ("HOST_MEMORY", "pkcsslotd"), ("ARGUMENTS_BAD", "NSS")],
)
def test_a_module_that_does_not_begin_is_told_what_it_may_want(code, named):
    """Modules say the same for every trouble with their own configuration."""
    assert named in from_code(HEADER[f"CKR_{code}"], "C_Initialize").hint


def test_a_wrong_pin_is_never_tried_again():
    """No error of a login is marked as one to retry."""
    for name, number in HEADER.items():
        if "PIN" in name.split("_"):
            assert not from_code(number, "C_Login").retryable


def test_what_was_lost_can_be_tried_again():
    """After the library was initialised once more."""
    for code in (LOST | STALE) - {HEADER["CKR_USER_NOT_LOGGED_IN"]}:
        assert from_code(code, "C_Sign").retryable


def test_a_vague_answer_is_looked_into():
    """Only where a ciphertext may be to blame for it."""
    assert needs_self_check(0x05, "C_Decrypt")
    assert needs_self_check(0x06, "C_UnwrapKey")
    assert needs_self_check(0x07, "C_Decrypt")
    assert not needs_self_check(0x07, "C_DecryptInit")
    assert not needs_self_check(0x05, "C_Sign")
    assert not needs_self_check(0x40, "C_Decrypt")


def test_a_key_without_its_method_was_disabled():
    """The binding gives a key no method for which the token has cleared the flag."""
    key = type("Key", (), {})()
    with pytest.raises(AttributeError) as caught:
        key.encrypt(b"x")
    assert type(translate(caught.value, "C_EncryptInit")) is errors.KeyStateError
    with pytest.raises(AttributeError) as caught:
        key.encript(b"x")
    assert type(translate(caught.value, "C_EncryptInit")) is InternalError


def test_other_exceptions_are_defects_and_errors_of_the_tree_pass():
    """The text of a foreign exception may hold data: it is not repeated."""
    error = translate(ValueError("secret"), "C_Encrypt")
    assert type(error) is InternalError
    assert "secret" not in str(error)
    known = errors.KeyNotFound("no")
    assert translate(known, "C_Encrypt") is known
