"""What each token can do, as measured: the capability table that the provider must find by itself.

A version of a module that can do more, or less, fails a test until this is brought up to date.
"""

from collections.abc import Mapping
from typing import NamedTuple

OAEP_SHA_256, OAEP_SHA_1, PKCS1 = "RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1", "RSAES_PKCS1_V1_5"
RSA_SIGNING = {"RSA_PKCS1_SHA_256", "RSA_PSS_SHA_256"}
RSA_SIZES = ("RSA_2048", "RSA_3072", "RSA_4096")


class Expected(NamedTuple):
    """What a token can do.

    Attributes:
        symmetric: Kinds of key that encrypt and decrypt; they can be imported, too.
        decryption: Schemes of RSA keys that decrypt.
        signing: Kinds of key that sign, with their schemes.
        wrapping: How imported material may be wrapped.
    """

    symmetric: frozenset[str] = frozenset()
    decryption: frozenset[str] = frozenset()
    signing: Mapping[str, frozenset[str]] = {}
    wrapping: frozenset[str] = frozenset()


_RSA = {size: frozenset(RSA_SIGNING) for size in RSA_SIZES}
_CURVES = {"EC_P256": frozenset({"ECDSA_SHA_256"}), "EC_P384": frozenset({"ECDSA_SHA_384"})}
_ED25519 = {"ED25519": frozenset({"ED25519"})}
_AES = frozenset({"AES_128", "AES_256"})

EXPECTED = {
    # No OAEP with SHA-256 before 2.7.
    "softhsm": Expected(
        symmetric=_AES,
        decryption=frozenset({OAEP_SHA_1, PKCS1}),
        signing={**_RSA, **_CURVES, **_ED25519},
        wrapping=frozenset({OAEP_SHA_1, PKCS1}),
    ),
    "nss": Expected(
        symmetric=_AES,
        decryption=frozenset({OAEP_SHA_256, OAEP_SHA_1, PKCS1}),
        signing={**_RSA, **_CURVES},
        # Bad PKCS #1 v1.5 padding becomes a random key, so that nobody could tell garbage.
        wrapping=frozenset({OAEP_SHA_256, OAEP_SHA_1}),
    ),
    # p11-kit 0.24 carries neither AES-GCM nor EdDSA.
    "p11kit": Expected(
        decryption=frozenset({OAEP_SHA_1, PKCS1}),
        signing={**_RSA, **_CURVES},
    ),
    # Neither AES-GCM nor elliptic curves.
    "opencryptoki": Expected(
        decryption=frozenset({OAEP_SHA_256, OAEP_SHA_1, PKCS1}),
        signing=_RSA,
    ),
}
