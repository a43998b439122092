"""Signatures by a token. It gets digests: not every module hashes, and all that sign take those."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from kmscore.algorithms import SigningAlgorithm
from kmscore.errors import InternalError
from kmscore.signing import Digest, hash_message

if TYPE_CHECKING:
    from kmscore.signing import Signable
    from kmscore_pkcs11._schemes import SigningScheme
    from kmscore_pkcs11._sessions import Session


def to_be_signed(algorithm: SigningAlgorithm, data: Signable, public_key: bytes) -> bytes:
    """What the token gets for a message or digest: a digest, or Ed25519's whole message.

    Args:
        algorithm: The signature scheme.
        data: The message or digest.
        public_key: The key's SubjectPublicKeyInfo; only SM2 needs it, for Z.
    """
    if isinstance(data, Digest):
        return data.value
    if algorithm is SigningAlgorithm.ED25519:
        return data.data
    return hash_message(data, algorithm, public_key).value


def sign(session: Session, handle: int, scheme: SigningScheme, value: bytes) -> bytes:
    """Sign what `to_be_signed` returned.

    Returns:
        The signature; DER for ECDSA and SM2.

    Raises:
        NativeError: The token does not.
        InternalError: What it returned is no signature.
    """
    mechanism, parameter, prefix, coordinate = scheme
    if prefix:
        value = prefix + value
    raw = session.signatures.sign(handle, mechanism, parameter, value)
    if not coordinate:
        return raw
    if len(raw) != 2 * coordinate:
        raise InternalError(f"the token returned a signature of {len(raw)} bytes")
    return encode_dss_signature(int.from_bytes(raw[:coordinate]), int.from_bytes(raw[coordinate:]))
