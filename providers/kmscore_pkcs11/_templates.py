"""Attributes of keys on a token: always complete, and checked before they reach the binding.

What is left out of a template is the token's to choose: NSS and opencryptoki make keys that can be
extracted. What has the wrong type makes python-pkcs11 free memory that it never had.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.attributes import AttributeMapper

from kmscore.algorithms import TRAITS, KeySpec, KeyState, KeyUsage
from kmscore.errors import InternalError
from kmscore_pkcs11._schemes import SM2_PARAMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Template = dict[Attribute, Any]

IDENTITY_BYTES: Final = 16
"""Length of CKA_ID: random, so that no two objects share one. NSS destroys the older of two."""

EC_PARAMS: Final = {
    KeySpec.EC_P256: bytes.fromhex("06082a8648ce3d030107"),
    KeySpec.EC_P384: bytes.fromhex("06052b81040022"),
    KeySpec.ED25519: b"\x13\x0cedwards25519",
    KeySpec.SM2: SM2_PARAMS,
}
"""CKA_EC_PARAMS: object identifiers in DER; for Ed25519 the curve's name (PKCS#11 3.0, 2.3.5)."""

PUBLIC_EXPONENT: Final = b"\x01\x00\x01"

_NEVER: Final = (
    Attribute.SIGN,
    Attribute.VERIFY,
    Attribute.WRAP,
    Attribute.UNWRAP,
    Attribute.DERIVE,
)
_RSA_SIGNING: Final = (
    Mechanism.RSA_PKCS_PSS,
    Mechanism.RSA_PKCS,
)
_RSA_DECRYPTION: Final = (Mechanism.RSA_PKCS_OAEP, Mechanism.RSA_PKCS)


def secret_key(identity: bytes, label: str, *, token: bool) -> Template:
    """A key that encrypts and decrypts, and never leaves the token.

    Not one that wraps: NSS wraps any key under such a key, extractable or not.
    """
    return {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.TOKEN: token,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.MODIFIABLE: True,
        Attribute.ENCRYPT: True,
        Attribute.DECRYPT: True,
        **dict.fromkeys(_NEVER, False),
        Attribute.ID: identity,
        Attribute.LABEL: label,
    }


def private_key(identity: bytes, label: str, flag: Attribute, *, token: bool) -> Template:
    """The private half of a pair with one purpose: SIGN, DECRYPT or UNWRAP."""
    return {
        Attribute.CLASS: ObjectClass.PRIVATE_KEY,
        Attribute.TOKEN: token,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.MODIFIABLE: True,
        Attribute.DECRYPT: flag is Attribute.DECRYPT,
        Attribute.SIGN: flag is Attribute.SIGN,
        Attribute.UNWRAP: flag is Attribute.UNWRAP,
        Attribute.DERIVE: False,
        Attribute.ID: identity,
        Attribute.LABEL: label,
    }


def public_key(identity: bytes, label: str, flag: Attribute) -> Template:
    """The public half, which lives as long as its session: the registry keeps it."""
    return {
        Attribute.CLASS: ObjectClass.PUBLIC_KEY,
        Attribute.TOKEN: False,
        Attribute.PRIVATE: False,
        Attribute.ENCRYPT: flag is Attribute.DECRYPT,
        Attribute.VERIFY: flag is Attribute.SIGN,
        Attribute.WRAP: flag is Attribute.UNWRAP,
        Attribute.ID: identity,
        Attribute.LABEL: label,
    }


def allowed_mechanisms(spec: KeySpec, usage: KeyUsage, *, raw_rsa: bool) -> tuple[Mechanism, ...]:
    """CKA_ALLOWED_MECHANISMS, where the token enforces it; empty for any.

    Without it, a key that only decrypts also signs, by decrypting an encoded digest with
    CKM_RSA_X_509.

    Args:
        spec: What the key is made of.
        usage: What it is for.
        raw_rsa: Whether OAEP padding is taken off on this machine, which needs CKM_RSA_X_509.
    """
    family = TRAITS[spec].family
    if family == "AES":
        return (Mechanism.AES_GCM,)
    if family == "RSA" and usage is KeyUsage.SIGN_VERIFY:
        return _RSA_SIGNING
    if family == "RSA":
        return (*_RSA_DECRYPTION, Mechanism.RSA_X_509) if raw_rsa else _RSA_DECRYPTION
    return ()


def usage_flags(spec: KeySpec, usage: KeyUsage, state: KeyState, *, newest: bool) -> Template:
    """The flags that mirror a key's state on the token, so that it refuses what they forbid.

    Args:
        spec: What the key is made of.
        usage: What it is for.
        state: Its state.
        newest: Whether this version is the one that encrypts.
    """
    enabled = state is KeyState.ENABLED
    if TRAITS[spec].is_symmetric:
        return {
            Attribute.ENCRYPT: enabled and newest,
            Attribute.DECRYPT: enabled or state is KeyState.ARCHIVED,
        }
    flag = Attribute.SIGN if usage is KeyUsage.SIGN_VERIFY else Attribute.DECRYPT
    return {flag: enabled}


def checked(template: Mapping[Attribute, Any]) -> Template:
    """The template, if every value has its attribute's type.

    Raises:
        InternalError: One has not, which would crash the binding.
    """
    for attribute, value in template.items():
        if not _fits(attribute, value):
            raise InternalError(f"CKA_{attribute.name} cannot be a {type(value).__name__}")
    return dict(template)


def _fits(attribute: Attribute, value: Any) -> bool:
    if attribute is Attribute.LABEL:
        return isinstance(value, str) and value.isascii() and value.isprintable()
    if attribute in _NUMBERS:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if attribute in _BYTES:
        return isinstance(value, bytes)
    if attribute is Attribute.ALLOWED_MECHANISMS:
        values: Any = value
        return isinstance(value, tuple) and all(isinstance(each, Mechanism) for each in values)
    return isinstance(value, bool)


_NUMBERS: Final = frozenset(
    {Attribute.CLASS, Attribute.KEY_TYPE, Attribute.VALUE_LEN, Attribute.MODULUS_BITS}
)
_BYTES: Final = frozenset(
    {
        Attribute.ID,
        Attribute.VALUE,
        Attribute.EC_PARAMS,
        Attribute.MODULUS,
        Attribute.PUBLIC_EXPONENT,
        Attribute.PRIVATE_EXPONENT,
        Attribute.PRIME_1,
        Attribute.PRIME_2,
        Attribute.EXPONENT_1,
        Attribute.EXPONENT_2,
        Attribute.COEFFICIENT,
    }
)


def attribute_mapper() -> AttributeMapper:
    """How attributes are packed: with lists of mechanisms, which the binding lacks."""
    mapper = AttributeMapper()
    mapper.register_handler(Attribute.ALLOWED_MECHANISMS, _pack_numbers, _unpack_numbers)
    return mapper


def _pack_numbers(values: Iterable[int]) -> bytes:
    numbers = [int(value) for value in values]
    return struct.pack(f"={len(numbers)}{_ULONG}", *numbers)


def _unpack_numbers(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"={len(data) // struct.calcsize(f'={_ULONG}')}{_ULONG}", data)


_ULONG: Final = "Q" if struct.calcsize("L") == 8 else "I"

KEY_TYPES: Final = {
    "AES": KeyType.AES,
    "RSA": KeyType.RSA,
    "EC": KeyType.EC,
    "ED25519": KeyType.EC_EDWARDS,
}
"""CKA_KEY_TYPE by family."""
