"""Signatures by a token. It gets digests: not every module hashes, and all that sign take those."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pkcs11 import MGF, KeyType, Mechanism

from kmscore.algorithms import SigningAlgorithm
from kmscore.encodings import signature_from_raw
from kmscore.errors import InternalError
from kmscore.signing import Digest, hash_message

if TYPE_CHECKING:
    from kmscore.signing import Signable
    from kmscore_pkcs11._sessions import Session

_PSS: Final = (Mechanism.SHA256, MGF.SHA256, 32)
_DIGEST_INFO_SHA256: Final = bytes.fromhex("3031300d060960864801650304020105000420")
"""What precedes a SHA-256 digest in a PKCS #1 v1.5 signature (RFC 8017, 9.2, note 1)."""

_HOW: Final = {
    SigningAlgorithm.RSA_PSS_SHA_256: (KeyType.RSA, Mechanism.RSA_PKCS_PSS, _PSS, b""),
    SigningAlgorithm.RSA_PKCS1_SHA_256: (
        KeyType.RSA,
        Mechanism.RSA_PKCS,
        None,
        _DIGEST_INFO_SHA256,
    ),
    SigningAlgorithm.ECDSA_SHA_256: (KeyType.EC, Mechanism.ECDSA, None, b""),
    SigningAlgorithm.ECDSA_SHA_384: (KeyType.EC, Mechanism.ECDSA, None, b""),
    SigningAlgorithm.ED25519: (KeyType.EC_EDWARDS, Mechanism.EDDSA, None, b""),
}
"""Key type, mechanism, its parameter, and what goes before the digest."""

_COORDINATE: Final = {SigningAlgorithm.ECDSA_SHA_256: 32, SigningAlgorithm.ECDSA_SHA_384: 48}


def to_be_signed(algorithm: SigningAlgorithm, data: Signable) -> bytes:
    """What the token gets for a message or digest: a digest, or Ed25519's whole message."""
    if isinstance(data, Digest):
        return data.value
    if algorithm is SigningAlgorithm.ED25519:
        return data.data
    return hash_message(data, algorithm, b"").value


def sign(session: Session, handle: int, algorithm: SigningAlgorithm, value: bytes) -> bytes:
    """Sign what `to_be_signed` returned.

    Returns:
        The signature; DER for ECDSA.

    Raises:
        PKCS11Error: The token does not.
        InternalError: What it returned is no signature.
    """
    kind, mechanism, parameter, prefix = _HOW[algorithm]
    key = session.key(handle, kind)
    raw: bytes = key._sign(prefix + value, mechanism, parameter)  # noqa: SLF001
    if kind is not KeyType.EC:
        return raw
    size = _COORDINATE[algorithm]
    if len(raw) != 2 * size:
        raise InternalError(f"the token returned an ECDSA signature of {len(raw)} bytes")
    return signature_from_raw(raw, size)
