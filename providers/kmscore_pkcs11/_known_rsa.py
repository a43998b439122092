"""RSA pairs that anybody can work out, lent to a token to see with which sizes it works.

A token needs seconds to make a pair of 4096 bits, and a smart card a minute; using one takes
milliseconds. So it is given one, as an object of the session.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType

from kmscore.algorithms import TRAITS, KeySpec
from kmscore_pkcs11._objects import Pair
from kmscore_pkcs11._templates import (
    IDENTITY_BYTES,
    PUBLIC_EXPONENT,
    Template,
    checked,
    private_key,
)

if TYPE_CHECKING:
    from kmscore_pkcs11._sessions import Session

_STEPS: Final = {
    KeySpec.RSA_2048: (1037, 309),
    KeySpec.RSA_3072: (1837, 3069),
    KeySpec.RSA_4096: (439, 263),
}
"""The first primes p above 3·2^(k-2) and q above 7·2^(k-3), k being half the modulus: how far."""


def lend(session: Session, spec: KeySpec, flag: Attribute, label: str) -> Pair:
    """Give a token the known pair of a size, for the time of the session.

    Args:
        session: A read-write session.
        spec: The size.
        flag: What it may be used for: SIGN or DECRYPT.
        label: CKA_LABEL.

    Raises:
        PKCS11Error: The token does not take it.
    """
    modulus, parts = _numbers(spec)
    template = private_key(os.urandom(IDENTITY_BYTES), label, flag, token=False)
    key = session.raw.create_object(
        checked(template | {Attribute.KEY_TYPE: KeyType.RSA} | parts),
    )
    public = RSAPublicNumbers(int.from_bytes(PUBLIC_EXPONENT), modulus).public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Pair(der, int(key.handle))


def _numbers(spec: KeySpec) -> tuple[int, Template]:
    """The modulus, and all numbers as attributes (PKCS#11 2.40, 2.1.3)."""
    half = TRAITS[spec].bits // 2
    above_p, above_q = _STEPS[spec]
    p, q = (3 << half - 2) + above_p, (7 << half - 3) + above_q
    exponent = pow(int.from_bytes(PUBLIC_EXPONENT), -1, (p - 1) * (q - 1))
    values = {
        Attribute.MODULUS: p * q,
        Attribute.PRIVATE_EXPONENT: exponent,
        Attribute.PRIME_1: p,
        Attribute.PRIME_2: q,
        Attribute.EXPONENT_1: exponent % (p - 1),
        Attribute.EXPONENT_2: exponent % (q - 1),
        Attribute.COEFFICIENT: pow(q, -1, p),
    }
    parts: Template = {name: _bytes(value) for name, value in values.items()}
    return p * q, parts | {Attribute.PUBLIC_EXPONENT: PUBLIC_EXPONENT}


def _bytes(value: int) -> bytes:
    """A big integer of PKCS#11: unsigned, the most significant byte first."""
    return value.to_bytes(-(-value.bit_length() // 8))
