"""SubjectPublicKeyInfo: which key a public key is, checked down to its numbers (RFC 5280, 4.1.2.7).

Strict DER, key sizes of the vocabulary, points uncompressed and on their curve: what passes here is
safe to hand to a library or a token.
"""

from __future__ import annotations

from typing import Final

from kmscore.algorithms import KeySpec
from kmscore.checks import require_bytes
from kmscore.encodings import der
from kmscore.encodings.curves import P256, P384, SM2, require_ed25519
from kmscore.errors import InvalidRequest, Unsupported

_EC: Final = der.object_identifier("1.2.840.10045.2.1")

RSA_ENCRYPTION: Final = der.sequence(der.object_identifier("1.2.840.113549.1.1.1"), der.NULL)
"""AlgorithmIdentifier of RSA keys (RFC 3279, 2.3.1)."""

ED25519: Final = der.sequence(der.object_identifier("1.3.101.112"))
"""AlgorithmIdentifier of Ed25519 keys (RFC 8410, 3)."""

EC_ALGORITHMS: Final = {
    KeySpec.EC_P256: der.sequence(_EC, der.object_identifier("1.2.840.10045.3.1.7")),
    KeySpec.EC_P384: der.sequence(_EC, der.object_identifier("1.3.132.0.34")),
    KeySpec.SM2: der.sequence(_EC, der.object_identifier("1.2.156.10197.1.301")),
}
"""AlgorithmIdentifiers of EC keys on named curves (RFC 5480, 2.1.1; SM2: GM/T 0006-2012)."""

EC_CURVES: Final = {KeySpec.EC_P256: P256, KeySpec.EC_P384: P384, KeySpec.SM2: SM2}

_RSA_SPECS: Final = {2048: KeySpec.RSA_2048, 3072: KeySpec.RSA_3072, 4096: KeySpec.RSA_4096}
_MAX_EXPONENT_BITS: Final = 64  # what OpenSSL takes for every size; 65537 has 17


def spki_encode(algorithm: bytes, key: bytes) -> bytes:
    """SubjectPublicKeyInfo in DER.

    Args:
        algorithm: AlgorithmIdentifier in DER.
        key: Contents of the BIT STRING.
    """
    return der.sequence(algorithm, der.bit_string(key))


def spki_decode(spki: bytes) -> tuple[bytes, bytes]:
    """AlgorithmIdentifier in DER and the contents of the BIT STRING.

    Raises:
        InvalidRequest: It is no SubjectPublicKeyInfo in strict DER.
    """
    outer = der.Reader(spki, "public key")
    info = outer.sequence()
    algorithm, key = info.element(), info.bit_string()
    info.end()
    outer.end()
    return algorithm, key


def rsa_numbers(key: bytes) -> tuple[int, int]:
    """Modulus and public exponent of an RSAPublicKey in DER (RFC 8017, A.1.1).

    Raises:
        InvalidRequest: It is not strict DER.
    """
    outer = der.Reader(key, "RSA public key")
    pair = outer.sequence()
    modulus, exponent = pair.integer(), pair.integer()
    pair.end()
    outer.end()
    return modulus, exponent


def spec_of_public_key(spki: bytes) -> KeySpec:
    """What kind of key a public key is.

    Args:
        spki: SubjectPublicKeyInfo in DER.

    Raises:
        InvalidRequest: It is not strict DER, a point is compressed or not on its curve, or an
            RSA number is even or out of range.
        Unsupported: It is a public key of a kind or size that kmscore does not use.
    """
    algorithm, key = spki_decode(spki)
    if algorithm == RSA_ENCRYPTION:
        return _rsa_spec(*rsa_numbers(key))
    if algorithm == ED25519:
        require_ed25519(key)
        return KeySpec.ED25519
    for spec, identifier in EC_ALGORITHMS.items():
        if algorithm == identifier:
            EC_CURVES[spec].decode(key)
            return spec
    raise Unsupported(
        "this kind of public key is not supported",
        hint="Supported are RSA, EC on P-256, P-384 and SM2, and Ed25519",
    )


def sm2_public_key(point: bytes) -> bytes:
    """SubjectPublicKeyInfo in DER of a point of the SM2 curve.

    Args:
        point: x ‖ y in 64 bytes, or 04 ‖ x ‖ y in 65: the length tells which.

    Raises:
        InvalidRequest: It has another length, or is not on the curve.
    """
    require_bytes(point, "SM2 point")
    if len(point) == 64:
        point = b"\x04" + point
    SM2.decode(point)
    return spki_encode(EC_ALGORITHMS[KeySpec.SM2], point)


def sm2_point(spki: bytes) -> bytes:
    """The point x ‖ y, 64 bytes, of an SM2 public key.

    Args:
        spki: SubjectPublicKeyInfo in DER: id-ecPublicKey with the SM2 curve, point uncompressed.

    Raises:
        InvalidRequest: It is something else, or the point is not on the curve.
    """
    algorithm, key = spki_decode(spki)
    if algorithm != EC_ALGORITHMS[KeySpec.SM2]:
        raise InvalidRequest(
            "the public key is not an SM2 key",
            hint="It must be id-ecPublicKey with the curve 1.2.156.10197.1.301",
        )
    SM2.decode(key)
    return key[1:]


def _rsa_spec(modulus: int, exponent: int) -> KeySpec:
    spec = _RSA_SPECS.get(modulus.bit_length())
    if spec is None:
        raise Unsupported(
            f"the RSA key has {modulus.bit_length()} bits",
            hint="Supported are 2048, 3072 and 4096",
        )
    if not modulus & 1 or not exponent & 1 or exponent < 3:
        raise InvalidRequest("the RSA modulus or public exponent is not valid")
    if exponent.bit_length() > _MAX_EXPONENT_BITS:
        raise Unsupported(
            f"the public exponent of the RSA key has {exponent.bit_length()} bits",
            hint=f"At most {_MAX_EXPONENT_BITS} are supported",
        )
    return spec
