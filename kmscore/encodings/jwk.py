"""Public keys as JSON Web Keys (RFC 7517; RSA and EC: RFC 7518, 6; Ed25519: RFC 8037, 2)."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Final

from kmscore.algorithms import KeySpec
from kmscore.encodings import der
from kmscore.encodings.spki import (
    EC_ALGORITHMS,
    EC_CURVES,
    ED25519,
    RSA_ENCRYPTION,
    rsa_numbers,
    spec_of_public_key,
    spki_decode,
    spki_encode,
)
from kmscore.errors import InvalidRequest, Unsupported

_CURVES: Final = {"P-256": KeySpec.EC_P256, "P-384": KeySpec.EC_P384}
# RFC 7518, 6.2.2 and 6.3.2, RFC 8037, 2, RFC 7518, 6.4: members that only private keys have.
_PRIVATE: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")


def jwk_encode(spki: bytes) -> dict[str, str]:
    """The JWK of a public key, without optional members.

    Args:
        spki: SubjectPublicKeyInfo in DER.

    Raises:
        Unsupported: It is an SM2 key: no name is registered for its curve.
        InvalidRequest: It is no valid public key.
    """
    spec = spec_of_public_key(spki)
    if spec is KeySpec.SM2:
        raise Unsupported(
            "an SM2 key cannot be a JWK: no curve name is registered for SM2 (RFC 7518, 7.6)",
            hint="Use PEM or DER",
        )
    _, key = spki_decode(spki)
    if spec is KeySpec.ED25519:
        return {"kty": "OKP", "crv": "Ed25519", "x": _text(key)}
    if spec in EC_CURVES:
        curve = EC_CURVES[spec]
        x, y = key[1 : curve.size + 1], key[curve.size + 1 :]
        return {"kty": "EC", "crv": curve.name, "x": _text(x), "y": _text(y)}
    modulus, exponent = rsa_numbers(key)
    return {"kty": "RSA", "n": _number_text(modulus), "e": _number_text(exponent)}


def jwk_decode(jwk: Mapping[str, object]) -> bytes:
    """SubjectPublicKeyInfo in DER of a JWK.

    Args:
        jwk: The members; those that say what the key is for are ignored.

    Raises:
        InvalidRequest: It is no public key, or not a valid one.
        Unsupported: It is of a kind that kmscore does not use.
    """
    # Callers without a type checker pass anything at all.
    if not isinstance(jwk, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequest(f"the JWK is a {type(jwk).__name__}", hint="Give a mapping")
    if any(name in jwk for name in _PRIVATE):
        raise InvalidRequest(
            "the JWK holds a private key",
            hint="Treat the key as known to others, and pass on only public members",
        )
    kind, name = jwk.get("kty"), jwk.get("crv")
    if kind == "RSA":
        numbers = der.sequence(der.integer(_number(jwk, "n")), der.integer(_number(jwk, "e")))
        spki = spki_encode(RSA_ENCRYPTION, numbers)
    elif kind == "EC" and isinstance(name, str) and name in _CURVES:
        spec = _CURVES[name]
        size = EC_CURVES[spec].size
        point = b"\x04" + _bytes(jwk, "x", size) + _bytes(jwk, "y", size)
        spki = spki_encode(EC_ALGORITHMS[spec], point)
    elif kind == "OKP" and name == "Ed25519":
        spki = spki_encode(ED25519, _bytes(jwk, "x", 32))
    else:
        raise Unsupported(
            "this kind of JWK is not supported",
            hint="Supported are RSA, EC on P-256 and P-384, and OKP with Ed25519",
        )
    spec_of_public_key(spki)
    return spki


def _text(data: bytes) -> str:
    """Base64url without padding (RFC 7515, 2)."""
    text = binascii.b2a_base64(data, newline=False).decode()
    return text.rstrip("=").replace("+", "-").replace("/", "_")


def _number_text(value: int) -> str:
    return _text(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _bytes(jwk: Mapping[str, object], name: str, size: int | None = None) -> bytes:
    text = jwk.get(name)
    if not isinstance(text, str):
        raise InvalidRequest(f"the member {name!r} of the JWK is missing or no string")
    standard = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
    try:
        data = binascii.a2b_base64(standard.encode("ascii"))
    except ValueError as error:
        raise InvalidRequest(f"the member {name!r} of the JWK is not base64url") from error
    # The decoder skips foreign characters and spare bits; the encoder has one way only.
    if _text(data) != text:
        raise InvalidRequest(f"the member {name!r} of the JWK is not canonical base64url")
    if size is not None and len(data) != size:
        raise InvalidRequest(
            f"the member {name!r} of the JWK has {len(data)} bytes", hint=f"It needs {size}"
        )
    return data


def _number(jwk: Mapping[str, object], name: str) -> int:
    data = _bytes(jwk, name)
    if data[:1] in (b"", b"\x00"):
        raise InvalidRequest(f"the member {name!r} of the JWK is empty or begins with a zero byte")
    return int.from_bytes(data, "big")
