"""Decryption by an RSA key on a token, and the padding that may be taken off on this machine."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from pkcs11 import MGF, KeyType, Mechanism

from kmscore.algorithms import EncryptionAlgorithm
from kmscore.encodings import SM2CiphertextFormat, sm2_ciphertext_convert
from kmscore.errors import CiphertextInvalid, InvalidRequest

if TYPE_CHECKING:
    from kmscore_pkcs11._schemes import Sm2Profile
    from kmscore_pkcs11._sessions import Session

OAEP: Final = {
    EncryptionAlgorithm.RSAES_OAEP_SHA_256: (Mechanism.SHA256, MGF.SHA256, None),
    EncryptionAlgorithm.RSAES_OAEP_SHA_1: (Mechanism.SHA_1, MGF.SHA1, None),
}
"""CK_RSA_PKCS_OAEP_PARAMS. Labels are never used: SoftHSM ignores them when it decrypts."""

_EMPTY_LABEL: Final = hashlib.sha256(b"").digest()


def decrypt(
    session: Session, handle: int, algorithm: EncryptionAlgorithm, ciphertext: bytes
) -> bytes:
    """Decrypt in the token.

    Raises:
        PKCS11Error: The token fails, or the ciphertext is wrong.
    """
    key = session.key(handle, KeyType.RSA)
    plaintext: bytes
    if algorithm is EncryptionAlgorithm.RSAES_PKCS1_V1_5:
        plaintext = key._decrypt(ciphertext, Mechanism.RSA_PKCS)  # noqa: SLF001
    else:
        plaintext = key._decrypt(ciphertext, Mechanism.RSA_PKCS_OAEP, OAEP[algorithm])  # noqa: SLF001
    return plaintext


def decrypt_sm2(session: Session, handle: int, profile: Sm2Profile, ciphertext: bytes) -> bytes:
    """Decrypt an SM2 ciphertext in DER by a vendor's mechanism.

    Raises:
        CiphertextInvalid: It is no SM2 ciphertext.
        PKCS11Error: The token fails, or the ciphertext is wrong.
    """
    try:
        given = sm2_ciphertext_convert(ciphertext, SM2CiphertextFormat.DER, profile.ciphertext)
    except InvalidRequest as error:
        raise CiphertextInvalid from error
    plaintext: bytes = session.key(handle, profile.kind)._decrypt(given, profile.decryption)  # noqa: SLF001
    return plaintext


def is_in_range(public_key: bytes, ciphertext: bytes) -> bool:
    """Whether a ciphertext is below the modulus (RFC 8017, 5.1.2): NSS calls others an argument."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    key = load_der_public_key(public_key)
    return isinstance(key, rsa.RSAPublicKey) and int.from_bytes(ciphertext) < key.public_numbers().n


def raw(session: Session, handle: int, ciphertext: bytes) -> bytes:
    """RSA without padding: as many bytes as the modulus has."""
    key = session.key(handle, KeyType.RSA)
    value: bytes = key._decrypt(ciphertext, Mechanism.RSA_X_509)  # noqa: SLF001
    return value.rjust(len(ciphertext), b"\0")


def unpad_oaep_sha256(encoded: bytes) -> bytes:
    """Take OAEP padding with SHA-256 off on this machine (RFC 8017, 7.1.2, step 3).

    Every check is made before any is judged, with no early way out and without branching on the
    padding. Python does not promise more: its integers and slices take time by their size, and the
    plaintext is in this process's memory.

    Args:
        encoded: EM, as many bytes as the modulus has.

    Raises:
        CiphertextInvalid: The padding is wrong.
    """
    size = 32
    seed = _xor(encoded[1 : 1 + size], _mgf1(encoded[1 + size :], size))
    block = _xor(encoded[1 + size :], _mgf1(seed, len(encoded) - 1 - size))
    label_is_right = hmac.compare_digest(block[:size], _EMPTY_LABEL)
    # The first byte that is not zero must be 1: looked for at every place, whatever is found.
    searching, start, marker = 1, 0, 0
    for place in range(size, len(block)):
        byte = block[place]
        is_set = (byte | -byte) >> 8 & 1
        first = searching & is_set
        start |= -first & (place + 1)
        marker |= -first & byte
        searching &= 1 - is_set
    right = label_is_right & (encoded[0] == 0) & (marker == 1)
    if not right:
        raise CiphertextInvalid
    return block[start:]


def _mgf1(seed: bytes, length: int) -> bytes:
    """MGF1 with SHA-256 (RFC 8017, B.2.1)."""
    blocks = (
        hashlib.sha256(seed + counter.to_bytes(4)).digest() for counter in range(-(-length // 32))
    )
    return b"".join(blocks)[:length]


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left) ^ int.from_bytes(right)).to_bytes(len(left))
