"""Keys that arrive wrapped: unwrapped inside the token, measured, and known again.

Nothing here puts material on this machine, and nothing it makes outlives its session unless the
template says so.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import KeySizeRange

from kmscore.algorithms import EncryptionAlgorithm, KeySpec, WrappingAlgorithm
from kmscore.errors import Unsupported
from kmscore.public_key import PublicKey
from kmscore_pkcs11._asymmetric import OAEP
from kmscore_pkcs11._objects import read_back
from kmscore_pkcs11._templates import IDENTITY_BYTES, Template, checked, secret_key

if TYPE_CHECKING:
    from kmscore_pkcs11._objects import Pair
    from kmscore_pkcs11._sessions import Session

VALUE_LEN: Final = "VALUE_LEN"
HMAC_LENGTH: Final = "HMAC_LENGTH"
MEASURES: Final = (VALUE_LEN, HMAC_LENGTH)
"""How the length of an unwrapped key is known: the token tells it, or which HMACs take the key."""

_CHECK_NONCE: Final = b"kmscore-kcv\x01"
_CHECK_LABEL: Final = b"kmscore key check value v1"


def unwrap(
    session: Session,
    handle: int,
    wrapping: WrappingAlgorithm,
    wrapped: bytes,
    template: Template,
    kind: KeyType = KeyType.AES,
) -> Any:
    """C_UnwrapKey: the new key, as the library's object on that session.

    Raises:
        PKCS11Error: The token fails, or the material is wrong.
    """
    mechanism, params = Mechanism.RSA_PKCS, None
    if wrapping is not WrappingAlgorithm.RSAES_PKCS1_V1_5:
        mechanism, params = Mechanism.RSA_PKCS_OAEP, OAEP[EncryptionAlgorithm(wrapping.value)]
    return session.key(handle, KeyType.RSA).unwrap_key(
        ObjectClass.SECRET_KEY,
        kind,
        wrapped,
        mechanism=mechanism,
        mechanism_param=params,
        capabilities=0,
        template=checked(template),
    )


def has_length(
    session: Session,
    handle: int,
    wrapping: WrappingAlgorithm,
    wrapped: bytes,
    key: Any,
    spec: KeySpec,
    measure: str,
) -> bool:
    """Whether an unwrapped AES key, which works, is as long as its spec says.

    SoftHSM says 0 for the length of every key that it unwrapped. But it refuses keys that are
    shorter than the hash of an HMAC, as it should (FIPS 198-1, 3), so the same material is tried as
    such a key: one of 32 bytes is taken by HMAC-SHA-256, one of 16 not even by HMAC-SHA-1.
    """
    if measure == VALUE_LEN:
        return bool(key[Attribute.VALUE_LEN] == (16 if spec is KeySpec.AES_128 else 32))
    template = secret_key(os.urandom(IDENTITY_BYTES), "kms:length", token=False) | {
        Attribute.ENCRYPT: False,
        Attribute.DECRYPT: False,
        Attribute.SIGN: True,
    }
    mac = unwrap(session, handle, wrapping, wrapped, template, KeyType.GENERIC_SECRET)
    mechanism = Mechanism.SHA_1_HMAC if spec is KeySpec.AES_128 else Mechanism.SHA256_HMAC
    try:
        session.key(mac.handle, KeyType.GENERIC_SECRET)._sign(b"length", mechanism)  # noqa: SLF001
        is_long = True
    except KeySizeRange:
        is_long = False
    finally:
        mac.destroy()
    return is_long if spec is KeySpec.AES_256 else not is_long


def check_value(session: Session, mechanism: int, handle: int) -> bytes:
    """What a key is known again by: a GCM ciphertext of zeros, which every token here can make.

    The nonce is fixed, which is safe: it comes up again among random ones of 96 bits with the
    chance that any two of them are the same. The value goes through an HMAC before it is kept.
    """
    return session.gcm.encrypt(handle, mechanism, _CHECK_NONCE, bytes(32), _CHECK_LABEL)


def prove(pair: Pair, wrapping: WrappingAlgorithm, measure: str, session: Session) -> None:
    """Unwrap known keys of the right and of a wrong length, and look what became of them.

    Raises:
        Unsupported: The token's keys are not what they should be.
        PKCS11Error: It does not unwrap.
    """
    for size in (32, 16, 24):
        value = os.urandom(size)
        wrapped = PublicKey(pair.public).encrypt(value, wrapping.value)
        template = secret_key(os.urandom(IDENTITY_BYTES), "kms:probe", token=False)
        key = unwrap(session, pair.private, wrapping, wrapped, template)
        wrong = read_back(key, template)
        if wrong:
            raise Unsupported(f"{wrong} ignored")
        expected = AESGCM(value).encrypt(_CHECK_NONCE, bytes(32), _CHECK_LABEL)
        if check_value(session, Mechanism.AES_GCM, key.handle) != expected:
            raise Unsupported("a wrong key")
        for spec, length in ((KeySpec.AES_256, 32), (KeySpec.AES_128, 16)):
            right = has_length(session, pair.private, wrapping, wrapped, key, spec, measure)
            if right is not (size == length):
                raise Unsupported("the length of a key is not known")
